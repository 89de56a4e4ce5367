//! Services of another network, behind its gateway.

use tests::lab::{End, Lab, Peer, Peers, Pod, Speaks, binaries, eventually, eventually_is};

use super::super::{captured, meshed, uncaptured};
use super::{at, give, ours, refused, told, uid, wait_service, wait_workload};

/// A client here, a gateway, and a pod that lives, as far as the client is told, in the gateway's network.
struct Story {
    lab: Lab,
    client: Pod,
    gateway: Pod,
    web: Pod,
}

const SERVICE: &str = "svc.example";
const VIP: &str = "10.97.0.1";

impl Story {
    fn new() -> Self {
        let lab = meshed();
        let (client, web) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
        let gateway = uncaptured(&lab, "gateway", "b");
        Self { lab, client, gateway, web }
    }

    /// Tells of the service, whose remote workloads prove to be `identity`, and of the gateway, named by `destination`.
    fn tell(&self, identity: &str, destination: &str, port: u16) {
        give(
            &self.lab,
            "remote",
            &format!(
                "workloads:
- {{uid: {}, network: remote, protocol: HBONE, services: {{default/gateway.example: {{}}}}}}
- {{uid: remote/far, namespace: default, name: far, network: remote, protocol: HBONE,
    networkGateway: {{destination: {destination}, hboneMtlsPort: {port}}}, services: {{default/{SERVICE}: {{}}}}}}
services:
- {{namespace: default, hostname: gateway.example, vips: [/10.97.1.1], ports: {{15009: 15008}}}}
- {{namespace: default, hostname: {SERVICE}, vips: [/{VIP}], ports: {{80: 7001, 81: 7002, 82: 7003}},
    subjectAltNames: [{identity}]}}",
                uid(&self.gateway)
            ),
        );
        wait_service(&self.lab, SERVICE, |service| {
            service["endpoints"].as_object().is_some_and(|e| e.len() == 1)
                && service["subjectAltNames"][0] == identity
        });
        wait_workload(&self.lab, &uid(&self.gateway), |workload| workload["network"] == "remote");
        wait_workload(&self.lab, "remote/far", |workload| {
            workload["networkGateway"]["destination"].as_str() == Some(destination)
        });
    }

    fn by_address(&self) -> String {
        format!("remote/{}", self.gateway.ip())
    }

    fn service(&self, port: u16) -> std::net::SocketAddr {
        at(&format!("{VIP}:{port}"))
    }
}

pub(crate) fn another_network_is_reached_by_a_tunnel_inside_a_tunnel() {
    let story = Story::new();
    let _echo = story.web.serve(7001, Speaks::Echo);
    let peer = Peer::start(&story.lab, &story.gateway, Peers::Forward(story.web.at(15008)));
    for (destination, port) in [(story.by_address(), 15008), ("default/gateway.example".to_owned(), 15009)] {
        story.tell(&story.web.identity(), &destination, port);
        let mut conn = story.client.connect(story.service(80));
        conn.echo("hello");
        let proxy = story.lab.node("a").proxy();
        let dump = proxy.config_dump().unwrap_or_else(|e| panic!("{e}"));
        let open = &dump["workloadState"][story.client.uid()]["connections"]["outbound"][0];
        assert_eq!(open["protocol"], "DOUBLEHBONE", "{open}");
        let line = told(&story.client, conn);
        let asked = peer.asked().pop().expect("a request");
        assert_eq!(
            (asked.authority.as_str(), asked.by.as_str()),
            ("svc.example:80", &*story.client.identity())
        );
        assert_eq!(asked.header("x-forwarded-network"), None, "the gateway needs no hint");
        for (field, want) in [
            ("src.identity", story.client.identity()),
            ("dst.addr", peer.at().to_string()),
            ("dst.hbone_addr", "svc.example:80".to_owned()),
            ("dst.service", SERVICE.to_owned()),
            ("dst.workload", "web".to_owned()),
            ("dst.namespace", "default".to_owned()),
            ("dst.identity", story.web.identity()),
        ] {
            assert_eq!(line.text(field), want, "{destination}: {line:?}");
        }
    }
    assert_eq!(
        peer.connections(),
        if ours() { 1 } else { peer.connections() },
        "the way to the gateway is shared"
    );
    let labels = [
        ("reporter", "source"),
        ("source_workload", "client"),
        ("destination_workload", "web"),
        ("destination_principal", &*story.web.identity()),
        ("destination_service", SERVICE),
        ("connection_security_policy", "mutual_tls"),
    ];
    for name in ["istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"] {
        eventually_is(name, Some("2".to_owned()), || {
            Some(story.lab.node("a").proxy().metrics().sum(name, &labels).to_string())
        });
    }
}

pub(crate) fn endings_cross_both_tunnels_as_they_are() {
    let story = Story::new();
    let echo = story.web.serve(7001, Speaks::Echo);
    let _counts = story.web.serve(7002, Speaks::Counts);
    let _resets = story.web.serve(7003, Speaks::Resets);
    let _peer = Peer::start(&story.lab, &story.gateway, Peers::Forward(story.web.at(15008)));
    story.tell(&story.web.identity(), &story.by_address(), 15008);

    let mut conn = story.client.connect(story.service(81));
    conn.say("12345").finish();
    assert_eq!(conn.rest(), ("5".to_owned(), End::Fin), "a half-closed connection carries the other half");

    let mut conn = story.client.connect(story.service(80));
    conn.echo("hello").finish();
    assert_eq!(conn.rest(), (String::new(), End::Fin));
    eventually_is("the server sees FIN", Some((5, Some(End::Fin))), || {
        echo.served().first().map(|s| (s.received, s.end))
    });
    if !ours() || !binaries::is_ours("b") {
        // ztunnel ends a reset connection in order.
        return;
    }
    let mut conn = story.client.connect(story.service(82));
    conn.say("go away");
    assert_eq!(conn.rest(), (String::new(), End::Reset), "a reset by the server");

    let mut conn = story.client.connect(story.service(80));
    conn.echo("hello");
    conn.reset();
    eventually_is("the server sees RST", Some((5, Some(End::Reset))), || {
        echo.served().get(1).map(|s| (s.received, s.end))
    });
}

pub(crate) fn the_peer_behind_the_gateway_is_told_whence_and_for_what() {
    let story = Story::new();
    let (far, echo) = (uncaptured(&story.lab, "elsewhere", "b"), uncaptured(&story.lab, "echo", "b"));
    let _echo = echo.serve(7001, Speaks::Echo);
    let outer = Peer::start(&story.lab, &story.gateway, Peers::Forward(far.at(15008)));
    let inner = Peer::start(&story.lab, &far, Peers::Forward(echo.at(7001)));
    story.tell(&far.identity(), &story.by_address(), 15008);
    for _ in 0..2 {
        story.client.connect(story.service(80)).echo("hello");
    }
    let (outer_asked, inner_asked) = (outer.asked(), inner.asked());
    assert_eq!((outer_asked.len(), inner_asked.len()), (2, 2));
    for (outer, inner) in outer_asked.iter().zip(&inner_asked) {
        assert_eq!((&*inner.authority, &*inner.by), ("svc.example:80", &*story.client.identity()));
        // The name of this network is empty, and said all the same: it is not that of another.
        assert_eq!(inner.header("x-forwarded-network"), Some(""));
        for header in ["baggage", "forwarded", "traceparent"] {
            assert!(inner.header(header).is_some_and(|value| !value.is_empty()), "{header}");
            assert_eq!(inner.header(header), outer.header(header), "{header} is the same on both");
        }
        let forwarded = inner.header("forwarded").unwrap_or_default();
        assert!(
            forwarded.contains(&story.client.ip().to_string()) && forwarded.ends_with(";host=svc.example")
        );
    }
    assert_eq!(inner.connections(), 2, "each connection meets the far side anew");
    assert_eq!(outer.connections(), 1, "over one way to the gateway");
}

pub(crate) fn traffic_fails_over_to_another_network_and_back() {
    let story = Story::new();
    let near = uncaptured(&story.lab, "near", "b");
    let _servers = [story.web.serve(7001, Speaks::First("far_")), near.serve(7001, Speaks::First("near"))];
    let peer = Peer::start(&story.lab, &story.gateway, Peers::Forward(story.web.at(15008)));
    story.tell(&story.web.identity(), &story.by_address(), 15008);
    let near_is = |status: &str| {
        give(
            &story.lab,
            "near",
            &format!(
                "workloads: [{{uid: {}, status: {status}, services: {{default/{SERVICE}: {{}}}}}}]
services: [{{namespace: default, hostname: {SERVICE},
             loadBalancer: {{mode: Failover, routingPreferences: [Network, Region, Zone]}}}}]",
                uid(&near)
            ),
        );
        wait_workload(&story.lab, &uid(&near), |workload| {
            workload["status"] == status && !workload["services"].is_null()
        });
    };
    for (status, serves) in [("Healthy", "near"), ("Unhealthy", "far_"), ("Healthy", "near")] {
        near_is(status);
        wait_service(&story.lab, SERVICE, |service| service["loadBalancer"]["mode"] == "Failover");
        for _ in 0..4 {
            story.client.connect(story.service(80)).hear(serves);
        }
    }
    assert_eq!(peer.asked().len(), 4);
}

pub(crate) fn a_gateway_that_is_no_way_is_told_and_resets_the_client() {
    let story = Story::new();
    story.tell(&story.web.identity(), &story.by_address(), 15008);
    let line = refused(&story.client, story.service(80));
    assert_eq!(line.text("dst.addr"), story.gateway.at(15008).to_string());
    assert!(line.text("error").contains("Connection refused"), "nobody listens: {line:?}");

    let gateway = Peer::start(&story.lab, &story.gateway, Peers::Refuse(503));
    let line = refused(&story.client, story.service(80));
    assert!(line.text("error").contains("http status: 503"), "it refuses: {line:?}");
    drop(gateway);

    let far = uncaptured(&story.lab, "impostor", "b");
    let impostor = Peer::start(&story.lab, &far, Peers::Refuse(418));
    let gateway = eventually("the gateway's port is free", || {
        let peer = || Peer::start(&story.lab, &story.gateway, Peers::Forward(far.at(15008)));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(peer)).map_err(|_| "taken".to_owned())
    });
    let line = refused(&story.client, story.service(80));
    assert!(line.text("error").contains("expected SAN"), "somebody else answers behind it: {line:?}");
    assert_eq!((gateway.asked().len(), impostor.asked().len()), (1, 0));
}

pub(crate) fn an_unknown_gateway_is_never_passed_by() {
    let story = Story::new();
    let server = story.web.serve(7001, Speaks::Echo);
    for destination in ["remote/10.97.9.9", "default/nowhere.example"] {
        story.tell(&story.web.identity(), destination, 15008);
        let line = refused(&story.client, story.service(80));
        assert!(line.text("error").contains("unknown network gateway"), "{destination}: {line:?}");
    }
    assert_eq!(server.served(), []);
}
