//! Applications that ask for their connections by SOCKS5.

use tests::lab::{Conn, Families, Lab, Pod, Speaks, binaries, eventually};

use super::{captured, url};

pub(crate) fn an_application_that_asks_by_socks5_is_carried_like_any_other() {
    let lab = Lab::new()
        .families(Families::Dual)
        .proxy_env("UNSTABLE_ENABLE_SOCKS5", "true")
        .proxy_env("ISTIO_META_DNS_CAPTURE", "true")
        .start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    server.sample_app("blue");
    let service = lab.service("web").port(80, 8080).create();
    service.wait_endpoints(1);
    let proxy = ["--socks5", "127.0.0.1:15080"];
    let mut ways: Vec<_> = server.ips().into_iter().map(|ip| std::net::SocketAddr::new(ip, 8080)).collect();
    ways.push(service.at(80));
    for at in ways {
        let answer = client.curl(&[&proxy[..], &["-g", &url(at, "/color")]].concat());
        assert_eq!((answer.status, answer.body.as_str()), (200, "blue"), "{at}: {answer:?}");
    }
    let name = format!("http://{}/color", service.host());
    let answer = client.curl(&["--socks5-hostname", "127.0.0.1:15080", &name]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "blue"), "by name: {answer:?}");
    eventually("each went through the tunnel", || {
        let lines = lab.node("b").proxy().access_log();
        let tunneled = lines.iter().filter(|line| line.text("src.identity") == client.identity()).count();
        if tunneled == 4 { Ok(()) } else { Err(format!("{tunneled} lines")) }
    });
}

pub(crate) fn what_is_no_socks5_is_refused_by_its_code() {
    let lab = with_socks5();
    let client = captured(&lab, "client", "a");
    let refused = |code: u8| [&[5, code, 0, 1][..], &[0; 6]].concat();
    let greeted = |rest: &[u8]| [&[5, 0][..], rest].concat();
    // Nobody resolves in this lab. To ztunnel a hostname then is a violation, to us it is unknown.
    let unresolved = refused(if binaries::is_ours("a") { 4 } else { 7 });
    for (what, said, heard) in [
        ("another version", &[4, 1][..], refused(7)),
        ("no method", &[5, 0], refused(7)),
        ("authentication alone", &[5, 1, 2], refused(7)),
        ("another command", &[5, 1, 0, 5, 2, 0, 1], greeted(&refused(7))),
        ("another address type", &[5, 1, 0, 5, 1, 0, 2], greeted(&refused(7))),
        ("a host that is none", &[5, 1, 0, 5, 1, 0, 3, 1, b' ', 0, 80], greeted(&refused(7))),
        (
            "a host that nobody knows",
            b"\x05\x01\x00\x05\x01\x00\x03\x07nowhere\x00\x50",
            greeted(&unresolved),
        ),
    ] {
        let mut conn = open(&client);
        conn.say_bytes(said);
        assert_eq!(conn.hear_bytes(heard.len()), heard, "{what}");
        assert_eq!(conn.rest().0, "", "{what}: nothing follows");
    }
}

pub(crate) fn the_socks5_port_leads_to_no_port_of_the_proxy() {
    let lab = with_socks5();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    for (host, port) in [
        ([127, 0, 0, 1], 15001_u16),
        ([127, 0, 0, 1], 15006),
        ([127, 0, 0, 1], 15008),
        ([127, 0, 0, 1], 15080),
    ] {
        let mut conn = ask(&client, host, port);
        let _ = conn.try_say("hello");
        assert_eq!(conn.rest().0, "", "port {port}");
    }
    // It is the pod's alone.
    let mut conn = client.connect(server.at(15080));
    let _ = conn.try_say("\u{5}\u{1}\0");
    assert_eq!(conn.rest().0, "");
    let app = server.serve(7001, Speaks::Echo);
    let mut conn = ask(&client, ip(&server), 7001);
    conn.echo("hello");
    drop(conn);
    assert_eq!(app.served().len(), 1);
}

fn with_socks5() -> Lab {
    let lab = Lab::new().proxy_env("UNSTABLE_ENABLE_SOCKS5", "true").start();
    lab.enroll_namespace("default");
    lab
}

#[track_caller]
fn open(client: &Pod) -> Conn {
    client.connect(std::net::SocketAddr::from(([127, 0, 0, 1], 15080)))
}

/// Asks for a connection, and is told that it is there.
#[track_caller]
fn ask(client: &Pod, host: [u8; 4], port: u16) -> Conn {
    let mut conn = open(client);
    conn.say_bytes(&[5, 1, 0]);
    assert_eq!(conn.hear_bytes(2), [5, 0]);
    conn.say_bytes(&[&[5, 1, 0, 1][..], &host, &port.to_be_bytes()].concat());
    assert_eq!(conn.hear_bytes(10), [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    conn
}

fn ip(pod: &Pod) -> [u8; 4] {
    match pod.ip() {
        std::net::IpAddr::V4(ip) => ip.octets(),
        std::net::IpAddr::V6(ip) => panic!("{ip} is not IPv4"),
    }
}
