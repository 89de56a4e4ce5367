//! FIN stays FIN and RST stays RST, through the tunnel and back, on two nodes, on one, and in plaintext.

use std::io::ErrorKind;

use tests::lab::{Conn, End, Lab, Pod, Server, Speaks, eventually, eventually_is};

use super::{captured, meshed, uncaptured};

pub(crate) fn a_half_closed_connection_carries_the_other_half() {
    each_pair(|row, client, server| {
        let counts = server.serve(7001, Speaks::Counts);
        let mut conn = client.connect(server.at(counts.port()));
        conn.say("12345").finish();
        assert_eq!(conn.rest(), ("5".to_owned(), End::Fin), "{row}: the client finished first");

        let half = server.serve(7002, Speaks::HalfCloses("all I have"));
        let mut conn = client.connect(server.at(half.port()));
        assert_eq!(conn.rest(), ("all I have".to_owned(), End::Fin), "{row}: the server finished first");
        conn.say("and I").finish();
        ends(row, &half, (5, Some(End::Fin)));
    });
}

pub(crate) fn a_reset_by_the_server_is_a_reset_at_the_client() {
    each_pair(|row, client, server| {
        let resets = server.serve(7003, Speaks::Resets);
        let mut conn = client.connect(server.at(resets.port()));
        conn.say("go away");
        assert_eq!(conn.rest(), (String::new(), End::Reset), "{row}");
    });
}

pub(crate) fn a_reset_by_the_client_is_a_reset_at_the_server() {
    each_pair(|row, client, server| {
        let echo = server.serve(7004, Speaks::Echo);
        let mut conn: Conn = client.connect(server.at(echo.port()));
        conn.echo("hello");
        conn.reset();
        ends(row, &echo, (5, Some(End::Reset)));
    });
}

pub(crate) fn a_refused_connection_is_reset_not_closed() {
    each_pair(|row, client, server| {
        // Nobody listens there. A captured client is accepted by its own proxy first.
        match client.try_connect(server.at(7999)) {
            // Told at once, or by a reset that overtook the answer to connect.
            Err(why) => assert!(
                matches!(why.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset),
                "{row}: {why}"
            ),
            Ok(mut conn) => {
                let _ = conn.try_say("anybody there?");
                assert_eq!(conn.rest(), (String::new(), End::Reset), "{row}");
            }
        }
    });
}

pub(crate) fn a_tunnel_to_nobody_is_answered_with_503() {
    let lab = meshed();
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "far", "b"));
    // Nobody listens there.
    if let Ok(mut conn) = client.try_connect(server.at(7999)) {
        let _ = conn.try_say("anybody there?");
        conn.rest();
    }
    eventually("the client's side tells the answer", || {
        let lines = lab.node("a").proxy().access_log();
        let told = lines.iter().find(|line| line.text("direction") == "outbound");
        let error = told.map(|line| line.text("error").to_owned()).unwrap_or_default();
        if error.contains("http status: 503") { Ok(()) } else { Err(format!("{lines:?}")) }
    });
}

#[track_caller]
fn ends(row: &str, server: &Server, want: (usize, Option<End>)) {
    eventually_is(format_args!("{row}: how the server saw it end"), Some(want), || {
        server.served().first().map(|s| (s.received, s.end))
    });
}

/// Checks one promise for every kind of pair, all in one lab.
fn each_pair(check: impl Fn(&str, &Pod, &Pod)) {
    let lab: Lab = meshed();
    let client = captured(&lab, "client", "a");
    let plain = uncaptured(&lab, "plain", "a");
    let (near, far) = (captured(&lab, "near", "a"), captured(&lab, "far", "b"));
    let outside = uncaptured(&lab, "outside", "b");
    for (row, client, server) in [
        ("tunnel between nodes", &client, &far),
        ("tunnel on one node", &client, &near),
        ("into the mesh", &plain, &far),
        ("out of the mesh", &client, &outside),
    ] {
        check(row, client, server);
    }
}
