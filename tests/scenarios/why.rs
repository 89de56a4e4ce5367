//! `/why` of the proxies: it says what a connection then meets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;
use tests::lab::{Lab, Node, Pod, Program, Speaks, binaries, http};

use super::policy::{DENY, Story};
use super::{captured, meshed, uncaptured};

const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);

/// What the proxy of a node says of a query.
#[track_caller]
fn ask(node: &Node, query: &str) -> (u16, String) {
    let path = format!("/why?{query}");
    http::request(node.netns(), ADMIN, "GET", &path).unwrap_or_else(|why| panic!("{path}: {why}"))
}

#[track_caller]
fn why(node: &Node, source: &Pod, destination: &str) -> Value {
    let (status, text) = ask(node, &format!("source=default/{}&destination={destination}", source.name()));
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Asks the proxies of both nodes, expects their verdict, and then that a request of the client's ends like that.
#[track_caller]
fn agree(story: &Story, client: &Pod, to: &str, want: Result<(), &str>) -> Value {
    let [near, far] = ["a", "b"].map(|node| why(&story.lab.node(node), client, to));
    for told in [&near, &far] {
        let verdict = (told["verdict"].as_str(), told["reason"].as_str());
        let wanted = match want {
            Ok(()) => (Some("allowed"), None),
            Err(reason) => (Some("refused"), Some(reason)),
        };
        assert_eq!(verdict, wanted, "{to}: {told:#}");
    }
    let met = client.curl(&[&format!("http://{to}/")]);
    match want {
        Ok(()) => assert_eq!((met.exit, met.status), (0, 200), "{to}: {met:?}"),
        Err(_) => assert!(met.status == 0 && matches!(met.exit, 7 | 56), "{to}: {met:?}"),
    }
    near
}

pub(crate) fn what_is_said_of_policies_is_what_a_connection_meets() {
    let story = Story::on("a", "b");
    let outside = uncaptured(&story.lab, "outside", "a");
    let service = story.service.at(8080).to_string();
    let pod = story.app.at(8080).to_string();

    let told = agree(&story, &story.deny, &service, Ok(()));
    assert_eq!(told["route"]["kind"], "direct", "{told:#}");
    assert_eq!(told["route"]["protocol"], "HBONE", "{told:#}");
    assert_eq!(told["end"]["policies"], serde_json::json!([]), "{told:#}");
    assert_eq!(told["change"][0]["kind"], "add", "{told:#}");
    let told = agree(&story, &outside, &pod, Ok(()));
    assert_eq!(told["route"]["kind"], "uncaptured", "{told:#}");

    story.lab.apply_policy(DENY, "default/layer4-authz");
    let told = agree(&story, &story.deny, &service, Err("DENY"));
    let end = &told["end"];
    assert_eq!(end["decidedBy"], "default/layer4-authz", "{told:#}");
    assert_eq!(end["policies"][0]["matches"], true, "{told:#}");
    assert_eq!(end["connection"]["identity"], story.deny.identity(), "{told:#}");
    assert_eq!(told["change"][0]["policies"], serde_json::json!(["default/layer4-authz"]), "{told:#}");
    let told = agree(&story, &story.allow, &service, Ok(()));
    assert_eq!(told["end"]["policies"][0]["matches"], false, "{told:#}");
    agree(&story, &story.allow, &pod, Ok(()));
    agree(&story, &outside, &pod, Ok(()));

    story.lab.apply_policy(super::policy::STRICT, "istio-system/istio_converted_static_strict");
    for node in ["a", "b"] {
        story.lab.node(node).proxy().wait_dump("the application is strict", |dump| {
            let named = |w: &&Value| w["name"] == "handson-blue" && w.to_string().contains("static_strict");
            let found = dump["workloads"].as_array().is_some_and(|all| all.iter().any(|w| named(&w)));
            if found { Ok(()) } else { Err("not yet".to_owned()) }
        });
    }
    let told = agree(&story, &outside, &pod, Err("DENY"));
    assert_eq!(told["end"]["peerAuthentication"], "STRICT", "{told:#}");
    assert_eq!(told["change"][0]["kind"], "enroll", "{told:#}");
    let told = agree(&story, &story.allow, &service, Ok(()));
    assert_eq!(told["end"]["plaintext"]["allowed"], false, "{told:#}");
}

pub(crate) fn what_is_said_of_routes_is_what_a_connection_meets() {
    let story = Story::on("a", "b");
    let idle = story.lab.service("idle").port(8080, "http").select("app", "nobody").create();
    idle.wait_endpoints(0);
    let told = agree(&story, &story.allow, &idle.at(8080).to_string(), Err("NO_ENDPOINT"));
    assert_eq!(told["change"][0]["kind"], "route", "{told:#}");
    // The name is understood as in the pod.
    let told = why(&story.lab.node("a"), &story.allow, "handson:8080");
    assert_eq!(told["destination"], story.service.at(8080).to_string(), "{told:#}");
    let choice = &told["route"]["turns"][1];
    assert_eq!((&choice["of"], &choice["endpoints"][0]["fit"]), (&1.into(), &"chosen".into()), "{told:#}");
    agree(&story, &story.allow, &format!("{}:15001", story.app.ip()), Err("SELF_CALL"));

    // Nobody knows it, so it is passed through to who really is there.
    let outside = story.lab.node("b").ip();
    let told = why(&story.lab.node("a"), &story.allow, &format!("{outside}:7001"));
    assert_eq!((&told["route"]["kind"], &told["verdict"]), (&"passthrough".into(), &"allowed".into()));
    assert_eq!(told["end"]["guard"], "none", "{told:#}");
}

pub(crate) fn a_waypoint_is_said_to_be_taken_as_it_is() {
    let lab = meshed();
    let (client, web) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let _echo = web.serve(7001, Speaks::Echo);
    let service = lab.service("web").port(80, 7001).create();
    service.wait_endpoints(1);
    unknown_waypoint(&lab, &web);
    let to = web.at(7001);
    let told = why(&lab.node("a"), &client, &to.to_string());
    assert_eq!((&told["verdict"], &told["reason"]), (&"refused".into(), &"NO_ROUTE".into()), "{told:#}");
    assert!(told["route"]["error"].as_str().is_some_and(|e| e.contains("unknown waypoint")), "{told:#}");
    assert_eq!(told["route"]["turns"][0]["waypoint"], "/10.97.9.9:15008", "{told:#}");
    super::routes::refused(&client, to);
    // Its service has none, and is reached.
    assert_eq!(why(&lab.node("a"), &client, "web:80")["verdict"], "allowed");
    client.connect(service.at(80)).echo("past no waypoint");
}

fn unknown_waypoint(lab: &Lab, web: &Pod) {
    let uid = super::routes::uid(web);
    let document = format!("workloads: [{{uid: {uid}, waypoint: {{destination: /10.97.9.9}}}}]");
    super::routes::give(lab, "waypoint", &document);
    super::routes::wait_workload(lab, &uid, |workload| !workload["waypoint"].is_null());
}

pub(crate) fn a_query_that_cannot_be_answered_is_told_by_its_parameter() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let node = lab.node("a");
    for (query, status, word) in [
        ("", 400, "source"),
        ("source=default/client", 400, "destination"),
        ("source=default/client&destination=web", 400, "destination"),
        ("source=default/client&destination=web:80", 404, "destination"),
        ("source=default/nobody&destination=10.0.0.1:80", 404, "source"),
        ("source=default/client&destination=10.0.0.1:80&arrives=late", 400, "arrives"),
        ("source=default/client&destination=10.0.0.1:80&colour=blue", 400, "colour"),
    ] {
        let (got, text) = ask(&node, query);
        assert_eq!(got, status, "{query}: {text}");
        assert!(text.lines().next().is_some_and(|line| line.contains(word)), "{query}: {text}");
        assert!(text.contains("GET /why?source="), "{query}: {text}");
    }
    // Long values are answered, if at all, in few words.
    let (status, text) = ask(&node, &format!("source={}&destination=web:80", "x".repeat(4000)));
    assert!(status == 400 && text.len() < 2000, "{status} {text}");
    let told = why(&node, &client, &format!("{}:80", client.ip()));
    assert_eq!(told["node"], "a", "{told:#}");
    assert_eq!(told["source"]["workload"]["proxy"], "Up", "{told:#}");
}

/// Runs the command-line tool on the node; its exit code, and what it prints.
#[track_caller]
fn adit(node: &Node, args: &[&str]) -> (Option<i32>, String) {
    let program = Program::new(binaries::find("adit"))
        .args(args.iter().copied())
        .args(["--admin-address".to_owned(), ADMIN.to_string()]);
    let output = node.netns().run(|| program.command().output()).expect("adit runs");
    let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.code(), told.concat())
}

pub(crate) fn the_tool_tells_the_story_and_ends_with_its_verdict() {
    let story = Story::on("a", "b");
    let node = story.lab.node("a");
    let why = |client: &Pod, to: &str| adit(&node, &["why", client.name(), to]);
    let (exit, told) = why(&story.deny, "handson:8080");
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains(": allowed") && told.contains("HBONE to handson-blue.default on b"), "{told}");
    story.lab.apply_policy(DENY, "default/layer4-authz");
    let (exit, told) = why(&story.deny, "handson:8080");
    assert_eq!(exit, Some(1), "{told}");
    for words in [
        "refused (DENY)",
        "Deny default/layer4-authz (WorkloadSelector) matches",
        "without default/layer4-authz",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let (exit, told) = adit(&node, &["why", "curl-deny", "handson:8080", "-o", "json"]);
    let parsed: Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"));
    assert_eq!((exit, &parsed["verdict"]), (Some(1), &"refused".into()), "{told}");
    let (exit, told) = why(&story.deny, "nobody:8080");
    assert!(exit == Some(2) && told.contains("parameter destination"), "{exit:?} {told}");

    let (exit, told) = adit(&node, &["inspect", "workloads", "--workload-node", "b"]);
    assert!(exit == Some(0) && told.contains("handson-blue") && !told.contains("curl-deny"), "{told}");
    let (exit, told) = adit(&node, &["inspect", "all", "-o", "yaml"]);
    assert!(exit == Some(0) && told.contains("policies:") && told.contains("layer4-authz"), "{told}");
}
