//! A proxy ends, another begins, and the pods hardly notice.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::lab::{Lab, Speaks, always, eventually, within};

use super::{captured, meshed};

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

pub(crate) fn a_rolling_update_of_both_nodes_refuses_no_new_connection() {
    let lab = Lab::new().proxy_env("TERMINATION_GRACE_PERIOD_SECONDS", "4").start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    let _echo = server.serve(7001, Speaks::Echo);
    client.connect(server.at(7001)).echo("before");

    let (over, served) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                client.connect(server.at(7001)).echo("new");
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let more = |phase: &str| {
            let so_far = served.load(Ordering::Relaxed);
            eventually(format_args!("connections are served while {phase}"), || {
                assert!(!calls.is_finished(), "a connection was refused while {phase}");
                let now = served.load(Ordering::Relaxed);
                if now >= so_far + 20 { Ok(()) } else { Err(format!("{} of 20", now - so_far)) }
            });
        };
        for name in ["b", "a"] {
            let node = lab.node(name);
            let ending = node.proxy();
            node.start_successor();
            more("two proxies listen");
            ending.terminate();
            more("the old one drains");
            within(Duration::from_secs(20), "the old proxy ends", || {
                ending.process().ended().ok_or("still running")
            });
            more("the new one is alone");
        }
        over.store(true, Ordering::Relaxed);
        calls.join().expect("every connection is served");
    });
}

pub(crate) fn a_deleted_pod_ends_its_connections_at_both_ends_at_once() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open = client.connect(server.at(7001));
    open.echo("before");
    let gone = server.at(7001);
    server.delete();
    // No keepalive has to run out: the peer is told while the pod still has a network.
    open.rest();
    let line = eventually("the client's proxy has it on record", || {
        let lines = client.node().proxy().access_log();
        lines.into_iter().find(|l| !l.is_inbound() && l.text("src.workload") == "client").ok_or("no line")
    });
    assert_eq!(line.text("dst.workload"), "web", "{line:?}");
    client.node().proxy().wait_no_workload("default", "web");
    let nobody = client.try_connect(gone).map(|mut connection| {
        let said = connection.try_say("anyone?");
        said.map(|()| connection.rest().0)
    });
    assert!(!matches!(&nobody, Ok(Ok(text)) if !text.is_empty()), "{nobody:?}");
}
