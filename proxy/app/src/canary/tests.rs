use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::captured;

fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that nobody listens on.
fn refused() -> SocketAddr {
    bound().1
}

#[test]
fn one_connection_that_is_taken_is_enough() {
    let (_listener, taken) = bound();
    assert_eq!(captured(&[refused(), taken]).unwrap(), taken);
}

#[test]
fn each_connection_that_nobody_took_is_told_with_what_became_of_it() {
    let (one, other) = (refused(), refused());
    let said = captured(&[one, other]).unwrap_err().to_string();
    for part in
        [one.to_string(), other.to_string(), "refused".to_owned(), "dataplane-mode=ambient".to_owned()]
    {
        assert!(said.contains(&part), "{said}");
    }
}
