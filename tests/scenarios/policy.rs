//! Authorization at the destination: who is denied sees a reset, who is not notices nothing.

use tests::lab::http::Curl;
use tests::lab::{End, Lab, Pod, Service, Speaks, eventually};

use super::{captured, meshed, uncaptured, url};

/// Denies `curl-deny` at port 8080 of `handson`.
pub(crate) const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: layer4-authz, namespace: default, labels: {content: layer4-authz}}
spec:
  selector: {matchLabels: {app: handson}}
  action: DENY
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/curl-deny]}}]
    to: [{operation: {ports: ['8080']}}]
";

/// Allows only `curl-allow` at port 8080 of `handson`.
const ALLOW: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: layer4-authz, namespace: default}
spec:
  selector: {matchLabels: {app: handson}}
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/curl-allow]}}]
    to: [{operation: {ports: ['8080']}}]
";

/// No plaintext into the namespace.
pub(crate) const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {mtls: {mode: STRICT}}
";

/// Denies everything to the whole namespace.
const LOCKED: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: locked, namespace: default}
spec:
  action: DENY
  rules:
  - to: [{operation: {ports: ['8080']}}]
";

/// Denies all callers to pods with the label `guarded`.
const GUARD: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: guard, namespace: default}
spec:
  selector: {matchLabels: {guarded: 'yes'}}
  action: DENY
  rules: [{}]
";

/// Plaintext only at port 7001 of `handson`.
const STRICT_BUT_ONE: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict-but-one, namespace: default}
spec:
  selector: {matchLabels: {app: handson}}
  mtls: {mode: STRICT}
  portLevelMtls: {7001: {mode: PERMISSIVE}}
";

/// Would deny everybody, and would allow only somebody else.
const DRY: &str = "
apiVersion: adit.dev/v1alpha1
kind: MeshResources
metadata: {name: dry}
policies:
- name: would-deny
  namespace: default
  scope: Namespace
  action: Deny
  dryRun: true
  rules: [[[{destinationPorts: [8080]}]]]
- name: would-allow
  namespace: default
  scope: Namespace
  action: Allow
  dryRun: true
  rules: [[[{principals: [{Exact: cluster.local/ns/default/sa/other}]}]]]
";

const NAME: &str = "default/layer4-authz";

pub(crate) fn a_denied_client_is_reset_and_others_are_served() {
    let story = Story::on("a", "b");
    story.expect(&story.allow, SERVED);
    story.expect(&story.deny, SERVED);
    story.lab.apply_policy(DENY, NAME);
    for way in [story.service.at(8080), story.app.at(8080)] {
        // So often because the reset must never overtake the client's connect, not even now and then.
        for _ in 0..50 {
            let denied = story.deny.curl(&[&url(way, "/")]);
            assert_eq!((denied.exit, denied.status), DENIED, "{way}: {denied:?}");
            let served = story.allow.curl(&[&url(way, "/")]);
            assert_eq!((served.exit, served.status), SERVED, "{way}: {served:?}");
        }
    }
    // Another port of the same pod is not the policy's concern.
    let _echo = story.app.serve(7001, Speaks::Echo);
    story.deny.connect(story.app.at(7001)).echo("hello");
}

pub(crate) fn an_allow_policy_admits_only_whom_it_names() {
    let story = Story::on("a", "a");
    let outside = uncaptured(&story.lab, "outside", "b");
    story.lab.apply_policy(ALLOW, NAME);
    story.expect(&story.allow, SERVED);
    story.expect(&story.deny, DENIED);
    let plain = outside.curl(&[&url(story.app.at(8080), "/")]);
    assert!(reset(&plain), "plaintext has no identity: {plain:?}");
}

pub(crate) fn strict_refuses_plaintext_and_admits_the_mesh() {
    let story = Story::on("a", "b");
    let outside = uncaptured(&story.lab, "outside", "a");
    let at = url(story.app.at(8080), "/");
    assert_eq!(outside.curl(&[&at]).status, 200, "permissive to begin with");
    story.lab.apply(STRICT);
    eventually("plaintext is refused", || {
        let answer = outside.curl(&[&at]);
        if reset(&answer) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    story.expect(&story.allow, SERVED);
    story.lab.delete("PeerAuthentication", "default", "strict");
    eventually("plaintext is admitted again", || {
        let answer = outside.curl(&[&at]);
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

pub(crate) fn a_changed_policy_cuts_an_open_connection() {
    let story = Story::on("a", "b");
    // The policy is about port 8080, so the echo server is there.
    story.stop_app();
    let _echo = story.app.serve(8080, Speaks::Echo);
    let mut denied = story.deny.connect(story.service.at(8080));
    let mut allowed = story.allow.connect(story.service.at(8080));
    denied.echo("before");
    allowed.echo("before");
    story.lab.apply_policy(DENY, NAME);
    assert_eq!(denied.rest(), (String::new(), End::Reset));
    allowed.echo("after");
}

pub(crate) fn a_policy_of_the_namespace_cuts_open_connections() {
    let story = Story::on("a", "b");
    story.stop_app();
    let _echo = [8080, 7001].map(|port| story.app.serve(port, Speaks::Echo));
    let mut denied = story.deny.connect(story.service.at(8080));
    let mut other = story.deny.connect(story.app.at(7001));
    denied.echo("before");
    other.echo("before");
    story.lab.apply_policy(LOCKED, "default/locked");
    let (rest, _) = denied.rest();
    assert_eq!(rest, "", "nothing more arrives");
    other.echo("after");
}

pub(crate) fn a_policy_that_begins_to_select_a_pod_cuts_its_open_connections() {
    let story = Story::on("a", "b");
    story.stop_app();
    let _echo = story.app.serve(8080, Speaks::Echo);
    // The policy is there all along; only the workload's own list changes.
    story.lab.apply_policy(GUARD, "default/guard");
    let mut open = story.allow.connect(story.service.at(8080));
    open.echo("before");
    story.app.relabel("guarded", Some("yes"));
    assert_eq!(open.rest(), (String::new(), End::Reset));
    story.app.relabel("guarded", None);
    eventually("the pod is reached again", || {
        let mut again = story.allow.try_connect(story.service.at(8080)).map_err(|e| e.to_string())?;
        again.try_say("once more").map_err(|e| e.to_string())?;
        again.finish();
        let (heard, end) = again.rest();
        if heard == "once more" { Ok(()) } else { Err(format!("{heard:?}, {end:?}")) }
    });
}

pub(crate) fn a_refusal_is_told_with_what_came_closest() {
    let story = Story::in_lab(talkative(), "a", "b");
    story.lab.apply_policy(ALLOW, NAME);
    let proxy = story.lab.node("b").proxy();
    let before = proxy.access_log().len();
    story.expect(&story.deny, DENIED);
    let line = eventually("the refusal is told", || {
        let mut lines = proxy.access_log().split_off(before);
        lines.pop().filter(|line| !line.text("error").is_empty()).ok_or_else(|| "no line".to_owned())
    });
    let error = line.text("error");
    let verdict = "connection closed due to policy rejection: allow policies exist, but none allowed; ";
    let evidence = error.strip_prefix(verdict).unwrap_or_else(|| panic!("{error}"));
    let principal = |name: &str| format!("cluster.local/ns/default/sa/{name}");
    let (seen, wanted) = (principal("curl-deny"), principal("curl-allow"));
    for word in [
        "cause=service-account".to_owned(),
        format!("policy={NAME}"),
        "at=0/1/0".to_owned(),
        "field=principals".to_owned(),
        format!("seen='{seen}'"),
        format!("wanted='{wanted}'"),
    ] {
        assert!(evidence.split(' ').any(|found| found == word), "no {word} in {evidence}");
    }
    // Nothing of it leaves the node.
    let told = story.lab.node("a").proxy().process().log();
    assert!(!told.contains("cause="), "{told}");
}

pub(crate) fn a_dry_run_policy_only_tells() {
    let story = Story::in_lab(talkative(), "a", "b");
    story.lab.apply_policy(DRY, "default/would-deny");
    story.lab.wait_policy("default/would-allow", true);
    story.expect(&story.deny, SERVED);
    let proxy = story.lab.node("b").proxy();
    eventually("the dry run is told at info", || {
        let log = proxy.process().log();
        let mut lines = log.lines().filter(|line| line.contains("\"info\"") && line.contains("dry-run"));
        if lines.any(|line| line.contains("default/would-deny")) { Ok(()) } else { Err(log) }
    });
}

pub(crate) fn a_dry_run_says_what_would_become_of_the_connection() {
    let story = Story::in_lab(talkative(), "a", "b");
    story.lab.apply_policy(DRY, "default/would-deny");
    story.lab.wait_policy("default/would-allow", true);
    story.expect(&story.allow, SERVED);
    let proxy = story.lab.node("b").proxy();
    for (policy, would, evidence) in [
        (
            "default/would-deny",
            "deny",
            "cause=meant policy=default/would-deny at=0/0/0 field=destinationPorts",
        ),
        (
            "default/would-allow",
            "not allow",
            "cause=service-account policy=default/would-allow at=0/0/0 field=principals",
        ),
    ] {
        eventually(format_args!("{policy} is told"), || {
            let log = proxy.process().log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let mut of_policy =
                lines.filter(|line| line["message"] == "dry-run policy" && line["policy"] == policy);
            let line = of_policy.next().ok_or(log.clone())?;
            let told = line["evidence"].as_str().unwrap_or_default();
            if line["would"] == would && told.starts_with(evidence) { Ok(()) } else { Err(line.to_string()) }
        });
    }
}

pub(crate) fn a_port_may_be_exempt_from_strict() {
    let story = Story::on("a", "b");
    let outside = uncaptured(&story.lab, "outside", "a");
    let _echo = story.app.serve(7001, Speaks::Echo);
    let strict = url(story.app.at(8080), "/");
    assert_eq!(outside.curl(&[&strict]).status, 200, "permissive to begin with");
    story.lab.apply(STRICT_BUT_ONE);
    eventually("plaintext is refused", || {
        let answer = outside.curl(&[&strict]);
        if reset(&answer) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    outside.connect(story.app.at(7001)).echo("in plain text");
    story.expect(&story.allow, SERVED);
}

/// A mesh whose proxies tell their policy decisions.
fn talkative() -> Lab {
    let lab = Lab::new().proxy_env("AUTHZ_POLICY_INFO_LOGGING", "true").start();
    lab.enroll_namespace("default");
    lab
}

pub(crate) fn a_lifted_policy_lets_traffic_pass_again() {
    let story = Story::on("a", "a");
    story.lab.apply_policy(DENY, NAME);
    story.expect(&story.deny, DENIED);
    story.lab.delete("AuthorizationPolicy", "default", "layer4-authz");
    story.lab.wait_policy(NAME, false);
    story.expect(&story.deny, SERVED);
}

/// Whether a plaintext client was reset. Without a proxy of its own in between, the reset may overtake the answer to
/// its connect; curl calls that 7.
fn reset(answer: &Curl) -> bool {
    answer.status == 0 && matches!(answer.exit, 7 | 56)
}

/// The pods of the tutorial's chapter on layer 4.
pub(crate) struct Story {
    pub(crate) lab: Lab,
    pub(crate) app: Pod,
    pub(crate) allow: Pod,
    pub(crate) deny: Pod,
    pub(crate) service: Service,
    server: tests::lab::Process,
}

impl Story {
    /// Clients on one node, the application on the same or another.
    pub(crate) fn on(clients: &str, server: &str) -> Self {
        Self::in_lab(meshed(), clients, server)
    }

    /// The same in a lab whose namespace `default` is in the mesh.
    fn in_lab(lab: Lab, clients: &str, server: &str) -> Self {
        let app = lab.pod("handson-blue").on(server).label("app", "handson").create();
        app.wait_enrolled();
        let running = app.sample_app("blue");
        let service = lab.service("handson").port(8080, "http").create();
        let allow = captured(&lab, "curl-allow", clients);
        let deny = captured(&lab, "curl-deny", clients);
        service.wait_endpoints(1);
        Self { lab, app, allow, deny, service, server: running }
    }

    /// Asks for the page by the service and expects curl's exit code and the status.
    #[track_caller]
    pub(crate) fn expect(&self, client: &Pod, want: (i32, u16)) {
        let answer = client.curl(&[&url(self.service.at(8080), "/")]);
        assert_eq!((answer.exit, answer.status), want, "{}: {answer:?}", client.name());
    }

    fn stop_app(&self) {
        self.server.kill();
    }
}

/// Exit code and status of a request that was served.
pub(crate) const SERVED: (i32, u16) = (0, 200);
/// Of one whose connection was reset before an answer.
pub(crate) const DENIED: (i32, u16) = (56, 0);
