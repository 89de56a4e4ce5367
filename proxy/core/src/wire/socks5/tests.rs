//! What is understood, what is refused, and that a message in pieces reads as one that came whole.

use proptest::prelude::*;

use super::{Heard, LONGEST, ProtocolError, Reply, Target, greeting, request};

/// Reads the bytes as a socket would give them: as many as are said to be lacking, and no more.
#[track_caller]
fn asked(bytes: &[u8]) -> Result<Target, ProtocolError> {
    let mut end = 0;
    loop {
        match request(&bytes[..end])? {
            Heard::All(target) => {
                assert_eq!(end, bytes.len(), "nothing was read beyond the request");
                return Ok(target);
            }
            Heard::Lacks(more) => end += more,
        }
    }
}

fn connect(address: &[u8]) -> Vec<u8> {
    [&[5, 1, 0], address, &[0x1f, 0x90]].concat()
}

fn hostname(name: &[u8]) -> Vec<u8> {
    connect(&[&[3, u8::try_from(name.len()).unwrap()], name].concat())
}

fn address(text: &str) -> Target {
    Target::Addr(text.parse().unwrap())
}

#[test]
fn a_greeting_offers_to_go_without_authentication() {
    assert_eq!(greeting(&[5, 1, 0]), Ok(Heard::All(())));
    assert_eq!(greeting(&[5, 3, 2, 1, 0]), Ok(Heard::All(())));
    for (few, lacks) in [(&[][..], 2), (&[5], 1), (&[5, 2], 2), (&[5, 2, 1], 1)] {
        assert_eq!(greeting(few), Ok(Heard::Lacks(lacks)));
    }
    assert_eq!(greeting(&[4, 1]), Err(ProtocolError::Version(4)));
    assert_eq!(greeting(&[5, 0]), Err(ProtocolError::Authentication(0)));
    assert_eq!(greeting(&[5, 2, 1, 2]), Err(ProtocolError::Authentication(2)));
}

#[test]
fn a_request_names_an_address_or_a_host() {
    assert_eq!(asked(&connect(&[1, 10, 0, 0, 2])), Ok(address("10.0.0.2:8080")));
    let mut v6 = [0; 17];
    (v6[0], v6[16]) = (4, 1);
    assert_eq!(asked(&connect(&v6)), Ok(address("[::1]:8080")));
    (v6[11], v6[12], v6[13]) = (0xff, 0xff, 10);
    assert_eq!(asked(&connect(&v6)), Ok(address("10.0.0.1:8080")), "a mapped address is IPv4");
    assert_eq!(asked(&hostname(b"web.ns")), Ok(Target::Host("web.ns".into(), 8080)));
    assert_eq!(asked(&hostname(b"10.0.0.2")), Ok(address("10.0.0.2:8080")));
    assert_eq!(asked(&hostname(b"::1")), Ok(address("[::1]:8080")));
    let longest = hostname(&[b'x'; 254]);
    assert!(longest.len() < LONGEST && asked(&longest).is_ok());
}

#[test]
fn what_is_not_offered_is_refused_as_soon_as_it_shows() {
    assert_eq!(asked(&[4, 1, 0, 1]), Err(ProtocolError::Version(4)));
    assert_eq!(asked(&[5, 2, 0, 1]), Err(ProtocolError::Command(2)));
    assert_eq!(asked(&[5, 3, 0, 1]), Err(ProtocolError::Command(3)));
    assert_eq!(asked(&[5, 1, 0, 2]), Err(ProtocolError::AddressType(2)));
    for name in [&b""[..], b"a b", b"\xff", b"a\0b", &[b'x'; 255]] {
        assert_eq!(asked(&hostname(name)), Err(ProtocolError::Hostname));
    }
}

#[test]
fn an_answer_tells_no_address() {
    assert_eq!(Reply::Granted.encode(), [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Reply::NotSupported.encode(), [5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
}

proptest! {
    #[test]
    fn no_message_is_longer_than_the_longest(bytes: Vec<u8>) {
        if let Ok(Heard::Lacks(more)) = greeting(&bytes) {
            prop_assert!(more > 0 && bytes.len() + more <= LONGEST);
        }
        if let Ok(Heard::Lacks(more)) = request(&bytes) {
            prop_assert!(more > 0 && bytes.len() + more <= LONGEST);
        }
    }
}
