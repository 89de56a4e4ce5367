//! What a tunnel stream may reach, as a table: what the world holds, what is asked for, where it lands.

mod landing;

use super::{AdmitError, InboundRequest, admit, admit_plain};
use crate::{
    Moment, Reason,
    decide::{Flow, Step, guard::OwnPorts},
    fixtures::{node, service, workload, world},
    model::Workload,
    world::{Change, NodeContext, World},
};

const POD: &str = "10.0.0.2";
const PEER: &str = "10.0.0.1:40000";

fn pod() -> Workload {
    workload("web").at(POD).hbone()
}

fn request(authority: &str, host: Option<&str>) -> InboundRequest {
    InboundRequest {
        authority: authority.parse().unwrap(),
        source: PEER.parse().unwrap(),
        local: format!("{POD}:15008").parse().unwrap(),
        forwarded_host: host.map(Into::into),
    }
}

/// The address a stream lands at, and the service it counts for.
fn ask(
    world: &World,
    local: &Workload,
    authority: &str,
    host: Option<&str>,
) -> Result<(String, String), AdmitError> {
    let request = request(authority, host);
    let Step::Done(got) = admit(world, local, &request) else { panic!("an inbound decision lacks nothing") };
    got.map(|admission| {
        let service = admission.service.map_or_else(String::new, |service| service.hostname().to_string());
        (admission.target.to_string(), service)
    })
}

#[track_caller]
fn check<const N: usize>(
    changes: [Change; N],
    local: &Workload,
    authority: &str,
    want: Result<&str, AdmitError>,
) {
    let world = world([local.clone().into()].into_iter().chain(changes));
    assert_eq!(ask(&world, local, authority, None).map(|(target, _)| target), want.map(Into::into));
}

#[test]
fn a_connect_for_the_pod_is_admitted() {
    check([], &pod(), "10.0.0.2:8080", Ok("10.0.0.2:8080"));
    check([], &pod(), "[::ffff:10.0.0.2]:8080", Ok("10.0.0.2:8080"));
}

#[test]
fn a_connect_for_another_address_is_refused() {
    let error = AdmitError::IpMismatch { asked: "10.0.0.3".parse().unwrap(), local: POD.parse().unwrap() };
    assert_eq!(error.to_string(), "ip mismatch: 10.0.0.3 != 10.0.0.2");
    assert_eq!(error.reason(), Reason::BadRequest);
    check([], &pod(), "10.0.0.3:8080", Err(error.clone()));
    check([workload("other").at("10.0.0.3").into()], &pod(), "10.0.0.3:8080", Err(error));
}

#[test]
fn our_own_ports_are_not_a_destination() {
    let refused = |world: &World, port: u16| {
        let at: std::net::SocketAddr = format!("{POD}:{port}").parse().unwrap();
        let flow = Flow::new("10.0.0.9:1".parse().unwrap(), at);
        let plain = admit_plain(world, &pod(), flow).err();
        let tunneled = ask(world, &pod(), &at.to_string(), None).err();
        assert_eq!(plain, tunneled, "port {port}");
        plain == Some(AdmitError::SelfCall(at))
    };
    let without = world([pod().into()]);
    let mut with = World::new(NodeContext { own_ports: OwnPorts { socks5: true }, ..node() });
    with.apply(vec![pod().into()], Moment::default());
    for (port, ours, ours_with_socks5) in [
        (15001, true, true),
        (15006, true, true),
        (15008, true, true),
        (15080, false, true),
        (15053, false, false),
        (15000, false, false),
        (15020, false, false),
        (15021, false, false),
    ] {
        assert_eq!((refused(&without, port), refused(&with, port)), (ours, ours_with_socks5), "port {port}");
    }
    let error = AdmitError::SelfCall("10.0.0.2:15001".parse().unwrap());
    assert!(error.to_string().starts_with("attempted recursive call to ourselves"));
    assert_eq!(error.reason().status(), Some(503));
}

#[test]
fn a_hostname_means_the_port_of_this_workload() {
    let named = |ports: &[(u16, u16)]| {
        let mut pod = pod();
        pod.services.insert("ns/svc".parse().unwrap(), std::sync::Arc::new(ports.iter().copied().collect()));
        pod
    };
    check([service("svc").into()], &named(&[]), "svc:80", Ok("10.0.0.2:8080"));
    check([service("svc").mapping(80, 0).into()], &named(&[(80, 1234)]), "svc:80", Ok("10.0.0.2:1234"));
    let no_port = |port| AdmitError::NoPort { service: "svc".into(), port };
    check([service("svc").mapping(80, 0).into()], &named(&[]), "svc:80", Err(no_port(80)));
    check([service("svc").into()], &named(&[]), "svc:81", Err(no_port(81)));
    check([], &named(&[]), "svc:80", Err(AdmitError::UnknownHost("svc".into())));
    assert_eq!(no_port(80).reason().status(), Some(503));
}

#[test]
fn a_hostname_is_one_of_the_workload_s_namespace_first() {
    let local = pod().serving("ns/svc", []);
    check(
        [service("svc").in_namespace("other").canonical().mapping(80, 1).into(), service("svc").into()],
        &local,
        "svc:80",
        Ok("10.0.0.2:8080"),
    );
}

#[test]
fn a_stream_counts_for_the_service_that_the_peer_names_if_it_is_one_of_ours() {
    let local = pod().serving("ns/a", []).serving("ns/b", []).serving("ns/c", [(80, 9)]);
    let world = world([
        local.clone().into(),
        service("a").into(),
        service("b").into(),
        service("c").into(),
        service("foreign").into(),
    ]);
    let of = |authority, host| ask(&world, &local, authority, host).unwrap().1;
    assert_eq!(of("10.0.0.2:8080", Some("b")), "b");
    assert_eq!(of("10.0.0.2:8080", Some("foreign")), "a", "the first that maps to the port");
    assert_eq!(of("10.0.0.2:8080", None), "a");
    assert_eq!(of("10.0.0.2:9", None), "c");
    assert_eq!(of("10.0.0.2:7", None), "");
}

#[test]
fn a_plaintext_connection_lands_where_it_was_going() {
    let world = world([pod().into()]);
    let flow = Flow::new("10.0.0.9:1".parse().unwrap(), "[::ffff:10.0.0.2]:8080".parse().unwrap());
    let target = admit_plain(&world, &pod(), flow).map(|admission| admission.target.to_string());
    assert_eq!(target.as_deref(), Ok("10.0.0.2:8080"));
}
