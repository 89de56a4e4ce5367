use super::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn line(local: &str, state: &str, uid: u32) -> String {
    format!(
        "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 23153 1"
    )
}

#[test]
#[cfg(target_endian = "little")]
fn the_proxys_sockets_are_known_by_address_state_and_owner() {
    assert!(is_socket(&line("0100007F:3ACD", "0A", 0), V4, TCP_LISTEN, 0));
    assert!(is_socket(&line("0100007F:3ACD", "07", 0), V4, UDP_UNCONNECTED, 0));
    assert!(is_socket(&line("00000000000000000000000001000000:3ACD", "0A", 0), V6, TCP_LISTEN, 0));
    for (local, state, uid) in [
        ("00000000:3ACD", "0A", 0),
        ("0100007F:3ACC", "0A", 0),
        ("0100007F:3ACD", "01", 0),
        ("0100007F:3ACD", "0A", 1000),
        ("0200007F:3ACD", "0A", 0),
    ] {
        assert!(!is_socket(&line(local, state, uid), V4, TCP_LISTEN, 0), "{local} {state} {uid}");
    }
    assert!(!is_socket("  sl  local_address rem_address   st tx_queue", V4, TCP_LISTEN, 0));
    assert!(!is_socket("", V4, TCP_LISTEN, 0));
}
