//! Workloads that are known by a DNS name alone.

use tests::lab::Speaks;

use super::super::{captured, meshed, uncaptured};
use super::{at, give, line_of, refused, wait_service};

pub(crate) fn a_workload_known_by_a_hostname_is_resolved_when_a_connection_is_made() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let (first, second) = (uncaptured(&lab, "first", "b"), uncaptured(&lab, "second", "b"));
    let _servers = [first.serve(7001, Speaks::First("first_")), second.serve(7001, Speaks::First("second"))];
    give(
        &lab,
        "service",
        "workloads:
- {uid: dns/db, namespace: default, name: db, hostname: db.example.net, services: {default/db.example: {}}}
- {uid: dns/gone, namespace: default, name: gone, hostname: gone.example.net, services: {default/gone.example: {}}}
services:
- {namespace: default, hostname: db.example, vips: [/10.97.0.1], ports: {80: 7001}}
- {namespace: default, hostname: gone.example, vips: [/10.97.0.2], ports: {80: 7001}}",
    );
    for (hostname, workload) in [("db.example", "dns/db"), ("gone.example", "dns/gone")] {
        wait_service(&lab, hostname, |service| !service["endpoints"][workload].is_null());
    }
    lab.names().set("db.example.net", &[first.ip()]);
    let mut conn = client.connect(at("10.97.0.1:80"));
    conn.hear("first_").echo("hello");
    let local = conn.local();
    drop(conn);
    let line = line_of(&client.node().proxy(), local);
    assert_eq!(line.text("dst.addr"), first.at(7001).to_string(), "{line:?}");
    assert_eq!((line.text("dst.workload"), line.text("dst.service")), ("db", "db.example"), "{line:?}");

    // What has no address is told, and nothing else is tried.
    let line = refused(&client, at("10.97.0.2:80"));
    assert!(line.text("error").contains("no ip addresses were resolved"), "{line:?}");
    assert!(lab.names().received().iter().any(|got| got.name() == "gone.example.net."));
}
