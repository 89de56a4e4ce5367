//! The lab itself, without a mesh: what the other scenarios stand on.

use tests::lab::{End, Families, Lab, Speaks};
use tests::sample_app;

pub(crate) fn pods_reach_each_other_on_two_nodes_and_on_one() {
    let lab = Lab::new().without_mesh().start();
    let client = lab.pod("client").on("a").create();
    let near = lab.pod("near").on("a").create();
    let far = lab.pod("far").on("b").create();
    for server in [&near, &far] {
        server.sample_app("blue");
        let answer = client.curl(&[&format!("http://{}/peer", server.at(8080))]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.starts_with(&client.ip().to_string()), "the source address is kept: {answer:?}");
    }
    far.delete();
    assert_eq!(client.curl(&["--connect-timeout", "1", &format!("http://{}/", far.at(8080))]).status, 0);
}

pub(crate) fn a_capture_sees_plain_text_on_the_wire() {
    let lab = Lab::new().without_mesh().start();
    let client = lab.pod("client").on("a").create();
    let server = lab.pod("server").on("b").create();
    server.sample_app("blue");
    let capture = lab.capture();
    let page = client.curl(&[&format!("http://{}/", server.at(8080))]);
    let seen = capture.finish().between(&[client.ip()]);
    assert_eq!(page.body, sample_app::page("blue"));
    assert!(seen.holds("sample-app is blue"), "{} bytes seen", seen.bytes());
    assert_eq!(seen.server_ports().into_iter().collect::<Vec<_>>(), [8080]);
}

pub(crate) fn every_manner_of_server_is_what_it_says() {
    let lab = Lab::new().without_mesh().start();
    let client = lab.pod("client").on("a").create();
    let server = lab.pod("server").on("b").create();

    let echo = server.serve(7001, Speaks::Echo);
    let mut conn = client.connect(server.at(7001));
    conn.echo("hello").finish();
    assert_eq!(conn.rest(), (String::new(), End::Fin));
    assert_eq!(echo.served()[0].peer, conn.local());

    let _first = server.serve(7002, Speaks::First("welcome"));
    client.connect(server.at(7002)).hear("welcome").echo("thanks");

    let _counts = server.serve(7003, Speaks::Counts);
    let mut conn = client.connect(server.at(7003));
    conn.say("12345").finish();
    assert_eq!(conn.rest(), ("5".to_owned(), End::Fin));

    let half = server.serve(7004, Speaks::HalfCloses("all I have"));
    let mut conn = client.connect(server.at(7004));
    assert_eq!(conn.rest(), ("all I have".to_owned(), End::Fin));
    conn.say("and I").finish();
    tests::lab::eventually_is("the server heard the client out", Some((5, Some(End::Fin))), || {
        half.served().first().map(|s| (s.received, s.end))
    });

    let _resets = server.serve(7005, Speaks::Resets);
    let mut conn = client.connect(server.at(7005));
    conn.say("go away");
    assert_eq!(conn.rest().1, End::Reset);

    let mut conn = client.connect(server.at(7001));
    conn.echo("and");
    conn.reset();
    tests::lab::eventually_is("the server sees the reset", Some(Some(End::Reset)), || {
        echo.served().get(1).map(|s| s.end)
    });
}

pub(crate) fn ipv6_pods_reach_each_other() {
    let lab = Lab::new().without_mesh().families(Families::Dual).start();
    let client = lab.pod("client").on("a").create();
    let server = lab.pod("server").on("b").create();
    server.sample_app("green");
    for address in server.ips() {
        let at = std::net::SocketAddr::new(address, 8080);
        let answer = client.curl(&["-g", &format!("http://{at}/color")]);
        assert_eq!((answer.status, answer.body.as_str()), (200, "green"), "at {at}: {answer:?}");
    }
}
