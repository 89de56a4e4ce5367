//! The tables of a dump, cell by cell as istioctl shows the same dump, and what is said of what is no dump.

use std::path::PathBuf;

use serde_json::json;

use super::dump::{Dump, Filters};
use super::reach::{Target, named};
use super::{Direction, Error, Kind, Which, agent, certificates, connections, tables};
use crate::Exit;
use crate::output::Table;

const DUMP: &str = include_str!("tests/dump.json");
/// 2026-11-22T22:00:00Z
const NOW: i64 = 1_795_384_800;

fn dump() -> Dump {
    Dump::parse(DUMP, "the test's").unwrap()
}

#[track_caller]
fn shows(table: &Table, want: &str) {
    let cells = |text: &str| {
        let lines = text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>()
    };
    let got = table.render(false);
    assert_eq!(cells(&got), cells(want), "{got}");
}

#[test]
fn workloads_are_shown_as_istioctl_shows_them() {
    shows(
        &tables::workloads(&dump(), &Filters::default()),
        "NAMESPACE POD NAME ADDRESS          NODE WAYPOINT PROTOCOL
         aaa       none                      b    None     TCP
         default   web-a    10.0.0.2         a    wp       HBONE
         default   web-b    10.0.1.2,fd00::2 b    wp       TCP",
    );
}

#[test]
fn services_are_shown_with_their_healthy_endpoints() {
    shows(
        &tables::services(&dump(), &Filters::default()),
        "NAMESPACE SERVICE NAME SERVICE VIP       WAYPOINT ENDPOINTS
         default   hl                             None     0/0
         default   web          10.96.0.1,fd01::1 wp       1/2
         default   wp           10.96.0.9         None     0/0",
    );
}

#[test]
fn policies_are_shown_by_namespace() {
    shows(
        &tables::policies(&dump(), &Filters::default()),
        "NAMESPACE POLICY NAME ACTION SCOPE
         aaa       p2          Deny   Global
         default   p           Allow  Namespace",
    );
}

#[test]
fn certificates_are_shown_chain_by_chain() {
    shows(
        &certificates::table(&dump(), NOW),
        "CERTIFICATE NAME TYPE STATUS VALID CERT SERIAL NUMBER NOT AFTER NOT BEFORE
         spiffe://cluster.local/ns/default/sa/web-a Leaf Available true 103 2026-11-23T20:00:00Z 2026-11-22T20:00:00Z
         spiffe://cluster.local/ns/default/sa/web-a Intermediate Available true 11 2026-11-23T20:00:00Z 2026-11-22T20:00:00Z
         spiffe://cluster.local/ns/default/sa/web-a Root Available false ffffffffffffffffffffffffffffffff 2021-11-23T20:00:00Z 2020-11-22T20:00:00Z
         spiffe://cluster.local/ns/default/sa/bad NA Unavailable false NA NA NA
         spiffe://cluster.local/ns/default/sa/init NA Initializing false NA NA NA",
    );
}

#[test]
fn a_serial_number_of_any_length_is_hexadecimal() {
    for (decimal, want) in
        [("0", "0"), ("15", "f"), ("16", "10"), ("65535", "ffff"), ("", "0"), ("12x", "12x")]
    {
        assert_eq!(certificates::hexadecimal(decimal), want, "{decimal}");
    }
}

#[test]
fn connections_are_shown_by_name_or_as_they_are() {
    shows(
        &connections::table(&dump(), &Filters::default()),
        "WORKLOAD      DIRECTION LOCAL               REMOTE              REMOTE TARGET                    PROTOCOL
         web-a.default Inbound   web-a.default:7001  web-b.default:33333 10.0.0.2:7001                    HBONE
         web-a.default Outbound  web-a.default:40000 web-b.default:15008 web.default.svc.cluster.local:80 HBONE
         web-a.default Outbound  web-a.default:40001 192.0.2.1:80        192.0.2.1:80                     TCP",
    );
    let filters = Filters { raw: true, direction: Some(Direction::Outbound), ..Filters::default() };
    shows(
        &connections::table(&dump(), &filters),
        "WORKLOAD      DIRECTION LOCAL          REMOTE         REMOTE TARGET PROTOCOL
         web-a.default Outbound  10.0.0.2:40000 10.0.1.2:15008 10.96.0.1:80  HBONE
         web-a.default Outbound  10.0.0.2:40001 192.0.2.1:80   192.0.2.1:80  TCP",
    );
}

#[test]
fn every_filter_leaves_what_it_names() {
    let some = |text: &str| Some(text.to_owned());
    for (filters, kind, want) in [
        (Filters { workload_namespace: some("aaa"), ..Filters::default() }, Kind::Workloads, 1),
        (Filters { workload_node: some("b"), ..Filters::default() }, Kind::Workloads, 2),
        (Filters { workload_name: some("web-a"), ..Filters::default() }, Kind::Workloads, 1),
        (Filters { address: some("fd00::2"), ..Filters::default() }, Kind::Workloads, 1),
        (Filters { service_namespace: some("nobody"), ..Filters::default() }, Kind::Services, 0),
        (Filters { policy_namespace: some("default"), ..Filters::default() }, Kind::Policies, 1),
        (Filters { workload_namespace: some("default"), ..Filters::default() }, Kind::Connections, 2),
    ] {
        let part = dump().part(kind, &filters);
        assert_eq!(part.as_array().map(Vec::len), Some(want), "{filters:?}");
    }
}

#[test]
fn lists_may_be_maps_and_anything_may_be_missing() {
    let dump =
        Dump::parse(r#"{"workloads": {"a": {"name": "web"}}, "services": null}"#, "the test's").unwrap();
    shows(
        &tables::workloads(&dump, &Filters::default()),
        "NAMESPACE POD NAME ADDRESS NODE WAYPOINT PROTOCOL\nweb None",
    );
    shows(
        &tables::services(&dump, &Filters::default()),
        "NAMESPACE SERVICE NAME SERVICE VIP WAYPOINT ENDPOINTS",
    );
    for kind in Kind::ALL {
        assert!(dump.part(kind, &Filters::default()).is_array());
    }
}

#[test]
fn what_is_no_dump_is_said_to_be_none() {
    for (text, want) in [
        ("not found", "the test's is not JSON"),
        ("{}", "the test's is not a proxy's /config_dump"),
        ("[1]", "the test's is not a proxy's /config_dump"),
    ] {
        let error = Dump::parse(text, "the test's").expect_err(text);
        assert!(error.to_string().starts_with(want), "{error}");
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.hint().is_some_and(|hint| hint.contains("config_dump")));
    }
    assert_eq!(Error::NoProxy("none".to_owned()).exit(), Exit::Failed);
}

#[test]
fn the_proxy_is_named_in_one_way() {
    let which = Which { pod: None, node: None, file: None, admin_address: None, proxy_admin_port: 15000 };
    let of = |which: &Which, of_one| Target::of(which.clone(), of_one);
    assert_eq!(of(&which, false), Target::Any { port: 15000 });
    assert_eq!(of(&which, true), Target::TheOne { port: 15000 });
    assert_eq!(of(&Which { file: Some(PathBuf::from("-")), ..which.clone() }, true), Target::Stdin);
    let node = Which { node: Some("n".to_owned()), ..which };
    assert_eq!(of(&node, true), Target::Node { name: "n".to_owned(), port: 15000 });
    for (text, want) in [
        ("ztunnel-x", ("ztunnel-x", None)),
        ("pod/ztunnel-x.istio-system", ("ztunnel-x", Some("istio-system"))),
        ("a.b.ns", ("a.b", Some("ns"))),
    ] {
        let (name, namespace) = named(text);
        assert_eq!((&*name, namespace.as_deref()), want);
    }
}

#[test]
fn an_agent_s_pods_are_shown_with_what_failed() {
    let told = json!([
        {"name": "default/web", "goal": "in", "verdict": "selected", "enrolled": false, "rules": "absent",
         "step": "program", "failures": 2, "last_failure": "no such namespace"},
        {"name": "default/out", "goal": "out", "verdict": "not selected", "enrolled": false, "rules": "absent",
         "step": null, "failures": 0, "last_failure": null},
    ]);
    shows(
        &agent::table(&told),
        "POD GOAL WHY ENROLLED RULES STEP FAILURES LAST FAILURE
         default/web in selected false absent program 2 no such namespace
         default/out out not selected false absent - 0 -",
    );
}
