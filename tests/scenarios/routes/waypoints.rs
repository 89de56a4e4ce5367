//! Services and workloads behind waypoints.

use tests::lab::{Lab, Peer, Peers, Pod, Server, Speaks, eventually};

use super::super::{captured, meshed, uncaptured};
use super::{asked_for, at, give, ours, refused, told, uid, wait_service, wait_workload};

/// A waypoint that carries everything to an echo server.
struct Story {
    lab: Lab,
    client: Pod,
    waypoint: Pod,
    peer: Peer,
    _echo: Server,
}

impl Story {
    fn new() -> Self {
        let lab = meshed();
        let client = captured(&lab, "client", "a");
        let (waypoint, echo) = (uncaptured(&lab, "waypoint", "b"), uncaptured(&lab, "echo", "b"));
        let server = echo.serve(7001, Speaks::Echo);
        let peer = Peer::start(&lab, &waypoint, Peers::Forward(echo.at(7001)));
        Self { lab, client, waypoint, peer, _echo: server }
    }
}

pub(crate) fn a_service_waypoint_is_the_next_hop_however_it_is_named() {
    let story = Story::new();
    let lab = &story.lab;
    let names = [
        format!("/{}", story.waypoint.ip()),
        "/10.97.1.1".to_owned(),
        "default/waypoint.example".to_owned(),
        "default/pod.waypoint.example".to_owned(),
    ];
    let services = names.iter().enumerate().map(|(number, name)| {
        format!(
            "- {{namespace: default, hostname: svc-{number}.example, vips: [/10.97.0.{}], ports: {{80: 8080}}, \
             waypoint: {{destination: {name}}}}}\n",
            number + 1
        )
    });
    give(
        lab,
        "services",
        &format!(
            "workloads: [{{uid: {}, hostname: pod.waypoint.example, services: {{default/waypoint.example: {{}}}}}}]
services:
- {{namespace: default, hostname: waypoint.example, vips: [/10.97.1.1], ports: {{15008: 15008}}}}
{}",
            uid(&story.waypoint),
            services.collect::<String>()
        ),
    );
    wait_workload(lab, &uid(&story.waypoint), |workload| workload["hostname"] == "pod.waypoint.example");
    for (number, name) in names.iter().enumerate() {
        let hostname = format!("svc-{number}.example");
        wait_service(lab, &hostname, |service| !service["waypoint"].is_null());
        let to = at(&format!("10.97.0.{}:80", number + 1));
        let line = told(&story.client, story.client.connect(to));
        let asked = story.peer.asked().pop().expect("a request");
        let want = (&*to.to_string(), &*story.client.identity());
        assert_eq!((&*asked.authority, &*asked.by), want, "{name}");
        let forwarded = asked.header("forwarded").unwrap_or_default().to_owned();
        assert!(forwarded.ends_with(&format!(";host={hostname}")), "{name}: {forwarded}");
        assert_eq!(asked.header("x-forwarded-network"), None, "{name}");
        assert_eq!(line.text("dst.addr"), story.peer.at().to_string(), "{name}");
        assert_eq!(line.text("dst.hbone_addr"), to.to_string(), "{name}");
        assert_eq!(line.text("dst.service"), hostname, "{name}");
        assert_eq!(line.text("dst.workload"), "waypoint", "{name}");
        assert_eq!(line.text("dst.identity"), story.waypoint.identity(), "{name}");
    }
}

pub(crate) fn a_workload_waypoint_serves_who_dials_the_pod_itself() {
    let story = Story::new();
    let web = uncaptured(&story.lab, "web", "b");
    let server = web.serve(7001, Speaks::Echo);
    let service = story.lab.service("web").port(80, 7001).create();
    service.wait_endpoints(1);
    give(
        &story.lab,
        "waypoint",
        &format!("workloads: [{{uid: {}, waypoint: {{destination: /{}}}}}]", uid(&web), story.waypoint.ip()),
    );
    wait_workload(&story.lab, &uid(&web), |workload| !workload["waypoint"].is_null());
    let line = told(&story.client, story.client.connect(web.at(7001)));
    assert_eq!(asked_for(&story.peer), [web.at(7001).to_string()]);
    assert_eq!(line.text("dst.addr"), story.peer.at().to_string());
    assert_eq!(line.text("dst.identity"), story.waypoint.identity());
    assert_eq!(server.served(), [], "the waypoint of this story leads elsewhere");

    let line = told(&story.client, story.client.connect(service.at(80)));
    assert_eq!(line.text("dst.addr"), web.at(7001).to_string(), "its service has no waypoint");
    assert_eq!(story.peer.asked().len(), 1);
}

pub(crate) fn weighted_waypoints_take_their_shares() {
    let story = Story::new();
    let (other, echo) = (uncaptured(&story.lab, "other", "b"), uncaptured(&story.lab, "echo-2", "b"));
    let _echo = echo.serve(7001, Speaks::Echo);
    let most = Peer::start(&story.lab, &other, Peers::Forward(echo.at(7001)));
    give(
        &story.lab,
        "service",
        &format!(
            "services: [{{namespace: default, hostname: svc.example, vips: [/10.97.0.1], ports: {{80: 8080}},
              waypoint: {{destination: /10.97.9.9}},
              weightedWaypoints: [{{destination: {{destination: /{}}}, weight: 1}},
                                  {{destination: {{destination: /{}}}, weight: 3}}]}}]",
            story.waypoint.ip(),
            other.ip()
        ),
    );
    wait_service(&story.lab, "svc.example", |_| true);
    for _ in 0..60 {
        story.client.connect(at("10.97.0.1:80")).echo("hello");
    }
    let (few, most) = (story.peer.asked().len(), most.asked().len());
    assert_eq!(few + most, 60, "every connection takes one of them");
    assert!(few > 0 && most > few, "{few} and {most} of 60");
}

pub(crate) fn a_waypoint_comes_and_goes_without_a_failed_connection() {
    let story = Story::new();
    let web = uncaptured(&story.lab, "web", "b");
    let direct = web.serve(7001, Speaks::Echo);
    let to = at("10.97.0.1:80");
    let service = |waypoint: &str| {
        give(
            &story.lab,
            "service",
            &format!(
                "workloads: [{{uid: {}, services: {{default/svc.example: {{}}}}}}]
services: [{{namespace: default, hostname: svc.example, vips: [/{}], ports: {{80: 7001}}{waypoint}}}]",
                uid(&web),
                to.ip()
            ),
        );
    };
    let until = |what: &str, done: &dyn Fn() -> bool| {
        eventually(what, || {
            story.client.connect(to).echo("hello");
            if done() { Ok(()) } else { Err("not yet".to_owned()) }
        });
    };
    service("");
    wait_service(&story.lab, "svc.example", |service| !service["endpoints"][uid(&web)].is_null());
    for _ in 0..3 {
        let (before, asked) = (direct.served().len(), story.peer.asked().len());
        until("connections go to the service", &|| direct.served().len() > before);
        service(&format!(", waypoint: {{destination: /{}}}", story.waypoint.ip()));
        until("connections take the waypoint", &|| story.peer.asked().len() > asked);
        service("");
        let before = direct.served().len();
        until("connections go to the service again", &|| direct.served().len() > before);
    }
}

pub(crate) fn a_waypoint_goes_straight_to_what_it_fronts() {
    let lab = meshed();
    let (gate, web) = (captured(&lab, "gate", "a"), uncaptured(&lab, "web", "b"));
    let _echo = web.serve(7001, Speaks::Echo);
    give(
        &lab,
        "waypoint",
        &format!(
            "workloads: [{{uid: {}, waypoint: {{destination: /{}}}, services: {{default/svc.example: {{}}}}}}]
services: [{{namespace: default, hostname: svc.example, vips: [/10.97.0.1], ports: {{80: 7001}},
             waypoint: {{destination: /{}}}}}]",
            uid(&web),
            gate.ip(),
            gate.ip()
        ),
    );
    wait_workload(&lab, &uid(&web), |workload| !workload["waypoint"].is_null());
    wait_service(&lab, "svc.example", |service| !service["waypoint"].is_null());
    let line = told(&gate, gate.connect(web.at(7001)));
    assert_eq!((line.text("dst.addr"), line.text("dst.hbone_addr")), (&*web.at(7001).to_string(), ""));
    if ours() {
        let line = told(&gate, gate.connect(at("10.97.0.1:80")));
        assert_eq!(line.text("dst.addr"), web.at(7001).to_string());
    }
}

pub(crate) fn an_unknown_waypoint_is_never_passed_by() {
    let lab = meshed();
    let (client, web) = (captured(&lab, "client", "a"), uncaptured(&lab, "web", "b"));
    let server = web.serve(7001, Speaks::Echo);
    for (name, destination) in [("by-address", "/10.97.9.9"), ("by-hostname", "default/nowhere.example")] {
        give(
            &lab,
            "waypoint",
            &format!(
                "workloads: [{{uid: {}, waypoint: {{destination: {destination}}},
                  services: {{default/{name}.example: {{}}}}}}]
services: [{{namespace: default, hostname: {name}.example, vips: [/10.97.0.1], ports: {{80: 7001}},
             waypoint: {{destination: {destination}}}}}]",
                uid(&web)
            ),
        );
        wait_service(&lab, &format!("{name}.example"), |service| !service["waypoint"].is_null());
        wait_workload(&lab, &uid(&web), |workload| {
            workload["waypoint"]["destination"].as_str() == Some(destination)
        });
        for to in [web.at(7001), at("10.97.0.1:80")] {
            let capture = lab.capture();
            let line = refused(&client, to);
            let seen = capture.finish().between(&[client.ip(), web.ip()]);
            assert!(line.text("error").contains("unknown waypoint"), "{name} {to}: {line:?}");
            assert_eq!(seen.server_ports().into_iter().collect::<Vec<_>>(), [0; 0], "{name} {to}");
        }
    }
    assert_eq!(server.served(), []);
}
