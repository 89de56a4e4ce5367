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
const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {mtls: {mode: STRICT}}
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
        let lab = meshed();
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
