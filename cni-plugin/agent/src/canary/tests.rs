use super::*;
use crate::sockets::Socket;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn socket(local: &str, remote: &str, state: State, uid: u32) -> Socket {
    Socket { local: at(local), remote: at(remote), state, uid, inode: 1 }
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn judged(listed: &[Socket]) -> Landing {
    judge(canary::V4, at("10.0.0.5:40000"), listed)
}

#[test]
fn a_connection_whose_other_end_is_the_proxys_is_captured() {
    let listens = socket("0.0.0.0:15001", "0.0.0.0:0", State::Listen, own_uid());
    for state in [State::Established, State::Other] {
        let end = socket("127.0.0.1:15001", "10.0.0.5:40000", state, 0);
        assert_eq!(judged(&[listens, end]), Landing::Proxy);
    }
}

#[test]
fn a_connection_answered_by_somebody_else_is_not() {
    let listens = socket("0.0.0.0:15001", "0.0.0.0:0", State::Listen, own_uid());
    let other = socket("192.0.2.1:9", "10.0.0.5:40000", State::Established, 0);
    let another = socket("127.0.0.1:15001", "10.0.0.5:40001", State::Established, 0);
    assert!(matches!(judged(&[listens, other, another]), Landing::Missed(_)));
}

#[test]
fn an_application_that_took_the_proxys_port_is_not_the_proxy() {
    let listens = socket("0.0.0.0:15001", "0.0.0.0:0", State::Listen, own_uid() + 1);
    let end = socket("127.0.0.1:15001", "10.0.0.5:40000", State::Established, own_uid() + 1);
    let Landing::Missed(why) = judged(&[listens, end]) else { panic!("it landed") };
    assert!(why.contains(&(own_uid() + 1).to_string()), "{why}");
}
