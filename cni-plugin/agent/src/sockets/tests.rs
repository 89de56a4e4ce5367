use std::net::TcpListener;

use super::*;

#[test]
fn a_table_of_the_kernel_is_read() {
    let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3A99 0500000A:C350 01 00000000:00000000 00:00000000 00000000  1337        0 4711 1 0 20 4 30 10 -1
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
";
    let read = parse(table);
    let told: Vec<_> =
        read.iter().map(|s| (s.local.to_string(), s.remote.to_string(), s.state, s.uid, s.inode)).collect();
    let at = |text: &str| text.to_owned();
    assert_eq!(
        told,
        [
            (at("127.0.0.1:15001"), at("10.0.0.5:50000"), State::Established, 1337, 4711),
            (at("0.0.0.0:80"), at("0.0.0.0:0"), State::Listen, 0, 12)
        ]
    );
}

#[test]
fn addresses_of_the_sixth_version_are_read_and_mapped_ones_are_of_the_fourth() {
    assert_eq!(address("0000000000000000FFFF00000100007F:3A99"), "127.0.0.1:15001".parse().ok());
    assert_eq!(address("B80D0120000000000000000001000000:0009"), "[2001:db8::1]:9".parse().ok());
}

#[test]
fn lines_that_are_no_socket_are_left_out() {
    for line in [
        "",
        "x",
        "0: 01:02 03:04 01",
        "0: 0100007F 0100007F:0001 01 0:0 0:0 0 0 0 1",
        "0: é:1 é:1 01 0 0 0 0 0 0",
    ] {
        assert_eq!(parse(line), []);
    }
}

#[test]
fn a_socket_of_this_process_is_listed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    assert!(listed().unwrap().iter().any(|socket| socket.local == local && socket.state == State::Listen));
}
