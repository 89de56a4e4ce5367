//! A proxy ends, another begins, and the pods hardly notice.

use std::time::{Duration, Instant};

use tests::lab::{Lab, Speaks, always, within};

use super::captured;

pub(crate) fn an_ending_proxy_keeps_connections_to_the_deadline_and_its_successor_takes_new_ones() {
    // Grace periods up to ten seconds drain for one second less.
    let lab = Lab::new().proxy_env("TERMINATION_GRACE_PERIOD_SECONDS", "6").start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    let _echo = server.serve(7001, Speaks::Echo);
    let mut old = client.connect(server.at(7001));
    old.echo("before");

    let node = lab.node("b");
    let ending = node.proxy();
    let successor = node.start_successor();
    old.echo("two proxies listen");
    let began = Instant::now();
    ending.terminate();
    always(Duration::from_secs(3), "old and new connections are served", || {
        old.echo("still here");
        let mut new = client.try_connect(server.at(7001)).map_err(|e| e.to_string())?;
        new.echo("new");
        Ok::<_, String>(())
    });
    assert!(ending.process().ended().is_none(), "it left before its deadline");
    let status = within(Duration::from_secs(10), "the old proxy ends", || {
        ending.process().ended().ok_or("still running")
    });
    let took = began.elapsed();
    assert!(status.success(), "{status}");
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "it ended after {took:?}");
    let cut = "connection closed due to connection drain";
    let recorded = ending.access_log().iter().filter(|line| line.text("error") == cut).count();
    assert_eq!(recorded, 1, "the connection it cut is on record: {:?}", ending.access_log());
    // What it kept is over, whichever way; what the successor took is not.
    let _ = old.try_say("hello?");
    let _ = old.rest();
    client.connect(server.at(7001)).echo("the successor serves");
    successor.wait_ready();
}

pub(crate) fn an_ending_proxy_without_connections_ends_at_once() {
    let lab = Lab::new().one_node().start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "a");
    let _echo = server.serve(7001, Speaks::Echo);
    // Leaves a tunnel behind that carries nothing, of which this proxy has both ends.
    client.connect(server.at(7001)).echo("before");
    let proxy = lab.node("a").proxy();
    within(Duration::from_secs(5), "the connection is over", || {
        let lines = proxy.access_log();
        if lines.len() == 2 { Ok(()) } else { Err(format!("{lines:?}")) }
    });
    proxy.terminate();
    let status = within(Duration::from_secs(5), "it ends", || proxy.process().ended().ok_or("still running"));
    assert!(status.success(), "{status}");
}
