//! Where a tunnel stream lands behind waypoints and application tunnels, and what its PROXY protocol header says.

use crate::{
    Reason, Str,
    decide::{AdmitError, InboundRequest, ProxyTunnel, Step, admit},
    fixtures::{by_address, by_hostname, node, service, workload},
    model::{GatewayAddress, NetworkAddress, Service, TunnelProtocol, Workload},
    wire::proxy_header::ProxyHeader,
    world::{Change, NodeContext, World},
};

const CLIENT: &str = "10.0.0.1";
const SERVER: &str = "10.0.0.2";
const WAYPOINT: &str = "10.0.0.3";
const SERVER_VIP: &str = "10.10.0.1";
const WAYPOINT_VIP: &str = "10.10.0.2";
/// The peer's end of the tunnel.
const PEER: &str = "10.0.0.1:40000";

/// The server's waypoint, and what that one takes.
#[derive(Clone, Default)]
struct Behind {
    workload: Option<GatewayAddress>,
    service: Option<GatewayAddress>,
    /// The service's waypoint takes this share and leaves the rest to another.
    shared: bool,
    tunnel: Option<(TunnelProtocol, Option<u16>)>,
}

impl Behind {
    fn workload(waypoint: GatewayAddress) -> Self {
        Self { workload: Some(waypoint), ..Self::default() }
    }

    fn service(waypoint: GatewayAddress) -> Self {
        Self { service: Some(waypoint), ..Self::default() }
    }

    fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    fn tunneled(self, protocol: TunnelProtocol, port: Option<u16>) -> Self {
        Self { tunnel: Some((protocol, port)), ..self }
    }

    fn workloads(&self) -> [Workload; 3] {
        let pod = |name: &str, at: &str| workload(name).at(at).hbone().serving(&format!("ns/{name}"), []);
        let mut server = pod("server", SERVER);
        server.waypoint.clone_from(&self.workload);
        let mut waypoint = pod("waypoint", WAYPOINT);
        if let Some((protocol, port)) = self.tunnel {
            waypoint = waypoint.tunneled(protocol, port);
        }
        [waypoint, pod("client", CLIENT), server]
    }

    fn services(&self) -> [Service; 2] {
        let mut server = service("server").at(SERVER_VIP);
        match self.service.clone() {
            Some(waypoint) if self.shared => {
                server = server.behind(by_address("10.0.0.77")).sharing(waypoint, 1);
            }
            waypoint => server.waypoint = waypoint,
        }
        [service("waypoint").at(WAYPOINT_VIP), server]
    }

    fn world(&self, node: NodeContext) -> World {
        let mut world = World::new(node);
        let workloads = self.workloads().map(Change::from);
        world.apply(
            workloads.into_iter().chain(self.services().map(Change::from)).collect(),
            Default::default(),
        );
        world
    }
}

/// Where a stream for `asked` lands that arrived at `local`, and the destination that a header tells.
fn land(world: &World, local: &str, asked: &str) -> Result<(String, Option<ProxyTunnel>), AdmitError> {
    let (workload, request) = request(world, local, asked);
    let Step::Done(got) = admit(world, workload, &request) else {
        panic!("an inbound decision lacks nothing")
    };
    got.map(|admission| (admission.target.to_string(), admission.tunnel))
}

fn request<'w>(world: &'w World, local: &str, asked: &str) -> (&'w Workload, InboundRequest) {
    let request = InboundRequest {
        authority: asked.parse().unwrap(),
        source: PEER.parse().unwrap(),
        local: format!("{local}:15008").parse().unwrap(),
        forwarded_host: None,
    };
    (world.workload_at("", local.parse().unwrap()).unwrap(), request)
}

/// A header's destination, from the one peer that the table has.
fn told(tunnel: ProxyTunnel) -> String {
    let ProxyHeader { source, destination } = tunnel.header;
    assert_eq!(source.to_string(), PEER);
    destination.to_string()
}

/// The target and the header's destination; none where the stream is refused.
type Lands = Option<(&'static str, Option<&'static str>)>;

#[test]
fn each_stream_lands_where_it_is_meant_and_no_other() {
    let proxy = |behind: Behind| behind.tunneled(TunnelProtocol::Proxy, Some(15088));
    let (none, pod, vip) = (Behind::default(), by_address(WAYPOINT), by_address(WAYPOINT_VIP));
    let name = || by_hostname("ns/waypoint");
    let workload = |by: &GatewayAddress| Behind::workload(by.clone());
    let service = |by: &GatewayAddress| Behind::service(by.clone());
    #[rustfmt::skip]
    let rows: Vec<(&str, Behind, &str, &str, Lands)> = vec![
        ("a workload", none.clone(), SERVER, "10.0.0.2:8080", Some(("10.0.0.2:8080", None))),
        ("a service by name", none.clone(), SERVER, "server:80", Some(("10.0.0.2:8080", None))),

        ("a workload behind a waypoint by address", workload(&pod), WAYPOINT, "10.0.0.2:8080", Some(("10.0.0.3:8080", None))),
        ("a workload behind a waypoint by service address", workload(&vip), WAYPOINT, "10.0.0.2:8080", Some(("10.0.0.3:8080", None))),
        ("a workload behind a waypoint by name", workload(&name()), WAYPOINT, "10.0.0.2:8080", Some(("10.0.0.3:8080", None))),
        ("a workload behind a waypoint with a tunnel", proxy(workload(&vip)), WAYPOINT, "10.0.0.2:8080", Some(("10.0.0.3:15088", Some("10.0.0.2:8080")))),

        ("a service behind a waypoint by address", service(&pod), WAYPOINT, "10.10.0.1:80", Some(("10.0.0.3:80", None))),
        ("a service behind a waypoint by service address", service(&vip), WAYPOINT, "10.10.0.1:80", Some(("10.0.0.3:80", None))),
        ("a service behind a waypoint by name", service(&name()), WAYPOINT, "10.10.0.1:80", Some(("10.0.0.3:80", None))),
        ("a service behind a waypoint with a tunnel", proxy(service(&vip)), WAYPOINT, "10.10.0.1:80", Some(("10.0.0.3:15088", Some("10.10.0.1:80")))),

        ("a service that shares a waypoint by address", service(&pod).shared(), WAYPOINT, "10.10.0.1:80", Some(("10.0.0.3:80", None))),
        ("a service that shares a waypoint by service address", service(&vip).shared(), WAYPOINT, "10.10.0.1:80", Some(("10.0.0.3:80", None))),
        ("a service that shares a waypoint by name", service(&name()).shared(), WAYPOINT, "10.10.0.1:80", Some(("10.0.0.3:80", None))),

        ("another workload", none.clone(), SERVER, "10.0.0.1:8080", None),
        ("what nobody knows", none.clone(), SERVER, "10.0.0.99:8080", None),
        ("a workload that is not attached", none, WAYPOINT, "10.0.0.1:8080", None),
        ("a workload of an attached service", service(&pod), WAYPOINT, "10.0.0.2:8080", None),
        ("a service of an attached workload", workload(&pod), WAYPOINT, "10.10.0.1:80", None),
        ("a workload behind an unknown waypoint", workload(&by_hostname("ns/gone")), WAYPOINT, "10.0.0.2:8080", None),
    ];
    for (name, behind, local, asked, want) in rows {
        let got = land(&behind.world(node()), local, asked);
        match want {
            Some((target, header)) => {
                let (landed, tunnel) = got.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(landed, target, "{name}");
                assert_eq!(tunnel.map(told).as_deref(), header, "{name}");
            }
            None => {
                let mismatch = AdmitError::IpMismatch {
                    asked: asked.split_once(':').unwrap().0.parse().unwrap(),
                    local: local.parse().unwrap(),
                };
                assert_eq!(got, Err(mismatch), "{name}");
            }
        }
    }
}

#[test]
fn an_application_tunnel_takes_any_address_and_may_move_the_port() {
    let at = |protocol, port| {
        let world = Behind::default().tunneled(protocol, port).world(node());
        land(&world, WAYPOINT, "10.0.0.99:8080").unwrap()
    };
    let moved = |tunnel: Option<ProxyTunnel>| tunnel.map(told);
    let (target, tunnel) = at(TunnelProtocol::None, None);
    assert_eq!((&*target, moved(tunnel)), ("10.0.0.3:8080", None));
    let (target, tunnel) = at(TunnelProtocol::None, Some(15088));
    assert_eq!((&*target, moved(tunnel)), ("10.0.0.3:15088", None));
    let (target, tunnel) = at(TunnelProtocol::Proxy, None);
    assert_eq!((&*target, moved(tunnel).as_deref()), ("10.0.0.3:8080", Some("10.0.0.99:8080")));
}

#[test]
fn policies_see_the_pod_and_loopback_is_only_dialed() {
    let behind = Behind::default().tunneled(TunnelProtocol::Proxy, Some(15088));
    for (loopback_tunnels, dialed) in [(true, "127.0.0.1:15088"), (false, "10.0.0.3:15088")] {
        let world = behind.world(NodeContext { loopback_tunnels, ..node() });
        let (target, tunnel) = land(&world, WAYPOINT, "10.10.0.1:80").unwrap();
        assert_eq!(target, "10.0.0.3:15088");
        assert_eq!(tunnel.unwrap().dials(target.parse().unwrap()).to_string(), dialed);
    }
    let header = ProxyHeader { source: PEER.parse().unwrap(), destination: PEER.parse().unwrap() };
    let tunnel = ProxyTunnel { header, loopback: true };
    assert_eq!(tunnel.dials("[2001:db8::3]:15088".parse().unwrap()).to_string(), "[::1]:15088");
}

#[test]
fn a_service_by_name_is_told_by_its_nearest_address() {
    let vip = |network: &str, address: &str| NetworkAddress {
        network: network.into(),
        address: address.parse().unwrap(),
    };
    let told = |vips: Vec<NetworkAddress>| {
        let behind = Behind::default().tunneled(TunnelProtocol::Proxy, Some(15088));
        let mut world = behind.world(node());
        let named = Service { vips, ..service("waypoint") };
        world.apply(vec![named.into()], Default::default());
        land(&world, WAYPOINT, "waypoint:80").map(|(_, tunnel)| told(tunnel.unwrap()))
    };
    for (vips, want) in [
        (vec![vip("", "10.10.0.2")], "10.10.0.2:80"),
        (vec![vip("", "10.10.0.2"), vip("", "2001:db8::2")], "10.10.0.2:80"),
        (vec![vip("", "2001:db8::2"), vip("far", "10.10.0.2")], "[2001:db8::2]:80"),
        (vec![vip("far", "10.10.0.2")], "10.10.0.2:80"),
    ] {
        assert_eq!(told(vips), Ok(want.to_owned()));
    }
    let without = AdmitError::NoVip(Str::from("waypoint"));
    assert_eq!(told(Vec::new()), Err(without.clone()));
    assert_eq!(without.reason(), Reason::NoRoute);
    assert_eq!(without.reason().status(), Some(503));
}

#[test]
fn our_own_ports_are_judged_before_the_tunnel_moves_the_port() {
    let behind = Behind::default().tunneled(TunnelProtocol::Proxy, Some(15001));
    let world = behind.world(node());
    let refused = land(&world, WAYPOINT, "10.0.0.3:15006").map(|(target, _)| target);
    assert_eq!(refused, Err(AdmitError::SelfCall("10.0.0.3:15006".parse().unwrap())));
}
