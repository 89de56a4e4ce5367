//! Frames are read whole or passed over, never past their end.

use super::{Seen, TCP, parse};

/// An Ethernet frame with IPv4 and TCP: 10.0.0.1:1234 to 10.0.0.2:80, RST, payload `hi`.
const FRAME: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x00, // Ethernet
    0x45, 0, 0, 42, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    0x04, 0xd2, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x04, 0, 0, 0, 0, 0, 0, // TCP
    b'h', b'i', 0, 0, 0, 0, // and what pads a short frame
];

#[test]
fn a_segment_is_read_without_the_padding() {
    let packet = parse(FRAME).expect("a packet");
    assert_eq!((packet.protocol, packet.reset), (TCP, true));
    assert_eq!(
        (packet.source.to_string(), packet.destination.to_string()),
        ("10.0.0.1:1234".into(), "10.0.0.2:80".into())
    );
    assert_eq!(packet.payload, b"hi");
    let seen = Seen(vec![packet]);
    assert!(seen.holds("hi") && !seen.holds("ho"));
    assert_eq!(seen.server_ports().into_iter().collect::<Vec<_>>(), [80]);
    assert_eq!(seen.between(&["10.0.0.3".parse().expect("an address")]).0.len(), 0);
}

#[test]
fn a_cut_frame_is_passed_over() {
    for length in 0..FRAME.len() {
        if let Some(packet) = parse(&FRAME[..length]) {
            assert!(packet.payload.len() <= 2, "{length} bytes");
        }
    }
    assert_eq!(parse(&FRAME[..40]), None);
}
