use std::fs::File;

use proptest::prelude::*;

use super::*;

#[test]
fn the_bytes_are_those_of_the_protocol() {
    assert_eq!(encode_hello(), [0x08, 0x01]);
    assert_eq!(Answer::Done.encode(), [0x0a, 0x00]);
    assert_eq!(Request::<OwnedFd>::SnapshotSent.encode().unwrap(), [0x1a, 0x00]);
    // In a Delete the uid is field 2; in a Keep, which is field 5, it is field 1.
    assert_eq!(delete("u").encode().unwrap(), [0x12, 3, 0x12, 1, b'u']);
    assert_eq!(keep("u").encode().unwrap(), [0x2a, 3, 0x0a, 1, b'u']);
    let bytes = add("u").encode().unwrap();
    let info = [0x12, 9, 0x0a, 1, b'n', 0x12, 1, b's', 0x1a, 1, b'a'];
    assert_eq!(bytes, [[0x0a, 14, 0x0a, 1, b'u'].as_slice(), &info].concat());
}

#[test]
fn every_request_survives_the_way() {
    let packet = |request: &Request, fds| Packet { bytes: request.encode().unwrap(), fds };
    match Request::decode(packet(&add("u"), vec![null()])).unwrap() {
        Request::Add { uid, info, netns: _ } => {
            assert_eq!(uid, PodUid("u".to_owned()));
            let WorkloadInfo { name, namespace, service_account } = info;
            assert_eq!((name.as_str(), namespace.as_str(), service_account.as_str()), ("n", "s", "a"));
        }
        other @ (Request::Keep { .. } | Request::Delete { .. } | Request::SnapshotSent) => {
            panic!("{other:?}")
        }
    }
    assert!(matches!(Request::decode(packet(&keep("u"), vec![])), Ok(Request::Keep { uid }) if uid.0 == "u"));
    let deleted = Request::decode(packet(&delete("u"), vec![]));
    assert!(matches!(deleted, Ok(Request::Delete { uid }) if uid.0 == "u"));
    assert!(matches!(Request::decode(packet(&Request::SnapshotSent, vec![])), Ok(Request::SnapshotSent)));
}

#[test]
fn only_an_add_has_a_descriptor_to_send() {
    assert!(add("u").descriptor().is_some());
    for request in [keep("u"), delete("u"), Request::SnapshotSent] {
        assert!(request.descriptor().is_none());
    }
}

#[test]
fn an_add_without_a_descriptor_is_refused() {
    let error = Request::decode(Packet { bytes: add("u").encode().unwrap(), fds: vec![] }).unwrap_err();
    assert!(matches!(error, ZdsError::MissingDescriptor), "{error:?}");
}

#[test]
fn an_add_with_two_descriptors_is_refused() {
    let packet = Packet { bytes: add("u").encode().unwrap(), fds: vec![null(), null()] };
    let error = Request::decode(packet).unwrap_err();
    assert!(matches!(error, ZdsError::TooManyDescriptors), "{error:?}");
}

#[test]
fn a_descriptor_with_any_other_request_is_refused() {
    let rows = [(keep("u"), "keep"), (delete("u"), "delete"), (Request::SnapshotSent, "snapshot sent")];
    for (request, name) in rows {
        let error =
            Request::decode(Packet { bytes: request.encode().unwrap(), fds: vec![null()] }).unwrap_err();
        assert!(matches!(error, ZdsError::UnexpectedDescriptor { message } if message == name), "{error:?}");
    }
}

#[test]
fn an_add_without_names_is_refused() {
    // Field 1 (add) holding only field 1 (uid).
    let bytes = vec![0x0a, 3, 0x0a, 1, b'u'];
    let error = Request::decode(Packet { bytes, fds: vec![null()] }).unwrap_err();
    assert!(matches!(error, ZdsError::MissingField("workload_info")), "{error:?}");
}

#[test]
fn a_request_about_no_pod_is_refused() {
    for (bytes, fds) in
        [(add("").encode(), vec![null()]), (keep("").encode(), vec![]), (delete("").encode(), vec![])]
    {
        let error = Request::decode(Packet { bytes: bytes.unwrap(), fds }).unwrap_err();
        assert!(matches!(error, ZdsError::MissingField("uid")), "{error:?}");
    }
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    // A length that points past the end, and a field of the wrong wire type.
    for bytes in [vec![0x0a, 0xff, 0x01], vec![0x08]] {
        let error = Request::decode(Packet { bytes, fds: vec![] }).unwrap_err();
        assert!(matches!(error, ZdsError::Undecodable(_)), "{error:?}");
    }
}

#[test]
fn a_request_of_a_kind_we_do_not_know_is_refused() {
    // Field 9, empty.
    let error = Request::decode(Packet { bytes: vec![0x4a, 0x00], fds: vec![] }).unwrap_err();
    assert!(matches!(error, ZdsError::NoPayload), "{error:?}");
}

#[test]
fn names_that_do_not_fit_are_not_sent() {
    let error = add(&"u".repeat(1024)).encode().unwrap_err();
    assert!(matches!(error, ZdsError::TooLong { limit: 1024, .. }), "{error:?}");
}

#[test]
fn a_long_reason_is_cut_to_what_the_peer_reads() {
    // Two bytes a character, so that some cut would fall inside one.
    for text in ["é".repeat(2000), "x".repeat(2000), "x".to_owned() + &"é".repeat(2000)] {
        let bytes = Answer::Failed(text.clone()).encode();
        assert!(bytes.len() < DATAGRAM_LIMIT && bytes.len() >= DATAGRAM_LIMIT - 2, "{}", bytes.len());
        match Answer::decode(Packet { bytes, fds: vec![] }).unwrap() {
            Answer::Failed(cut) => assert!(text.starts_with(&cut)),
            Answer::Done => panic!("a refusal became a success"),
        }
    }
}

#[test]
fn a_refusal_without_a_reason_is_still_a_refusal() {
    let bytes = Answer::Failed(String::new()).encode();
    assert!(matches!(Answer::decode(Packet { bytes, fds: vec![] }), Ok(Answer::Failed(_))));
}

#[test]
fn an_answer_with_a_descriptor_is_refused() {
    let error = Answer::decode(Packet { bytes: Answer::Done.encode(), fds: vec![null()] }).unwrap_err();
    assert!(matches!(error, ZdsError::UnexpectedDescriptor { .. }), "{error:?}");
}

#[test]
fn an_answer_without_a_payload_is_refused() {
    let error = Answer::decode(Packet { bytes: vec![0x4a, 0x00], fds: vec![] }).unwrap_err();
    assert!(matches!(error, ZdsError::NoPayload), "{error:?}");
}

#[tokio::test]
async fn a_proxy_and_an_agent_talk() {
    let (proxy, agent) = pair();
    send_hello(&proxy).await.unwrap();
    assert_eq!(receive_hello(&agent).await.unwrap(), 1);
    let netns = null();
    let (uid, info) = (PodUid("u".to_owned()), info());
    send_request(&agent, &Request::Add { uid, info, netns: netns.as_fd() }).await.unwrap();
    assert!(matches!(receive_request(&proxy).await, Ok(Request::Add { .. })));
    send_answer(&proxy, &Answer::Failed("no".to_owned())).await.unwrap();
    assert_eq!(receive_answer(&agent).await.unwrap(), Answer::Failed("no".to_owned()));
}

#[tokio::test]
async fn a_datagram_out_of_range_is_told_apart_from_one_that_does_not_decode() {
    let (proxy, agent) = pair();
    agent.send(&[0; 1025], None).await.unwrap();
    let error = receive_request(&proxy).await.unwrap_err();
    assert!(matches!(error, ZdsError::Truncated { limit: 1024 }), "{error:?}");
}

#[tokio::test]
async fn the_end_of_the_conversation_is_told_as_such() {
    let (proxy, agent) = pair();
    drop(agent);
    assert!(matches!(receive_request(&proxy).await, Err(ZdsError::Closed)));
}

proptest! {
    #[test]
    fn no_packet_panics_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200), fds in 0_usize..3) {
        let _ = Request::decode(Packet { bytes: bytes.clone(), fds: (0..fds).map(|_| null()).collect() });
        let _ = Answer::decode(Packet { bytes: bytes.clone(), fds: vec![] });
        let _ = decode_hello(Packet { bytes, fds: vec![] });
    }

    #[test]
    fn a_cut_is_a_beginning_of_the_text(text in ".*", limit in 0_usize..40) {
        let cut = cut(&text, limit);
        prop_assert!(text.starts_with(cut) && cut.len() <= limit);
        prop_assert!(cut.len() + 4 > limit || cut.len() == text.len());
    }
}

fn add(uid: &str) -> Request {
    Request::Add { uid: PodUid(uid.to_owned()), info: info(), netns: null() }
}

fn keep(uid: &str) -> Request {
    Request::Keep { uid: PodUid(uid.to_owned()) }
}

fn delete(uid: &str) -> Request {
    Request::Delete { uid: PodUid(uid.to_owned()) }
}

fn info() -> WorkloadInfo {
    WorkloadInfo { name: "n".to_owned(), namespace: "s".to_owned(), service_account: "a".to_owned() }
}

fn pair() -> (Connection, Connection) {
    Connection::pair(DATAGRAM_LIMIT).unwrap()
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}
