//! Without a cluster: the program `adit-control`, a directory of YAML, and what the agents write.

use std::time::Duration;

use tests::lab::pod::REDIRECTION;
use tests::lab::{Lab, Pod, Service, Standalone, always, eventually};
use tests::sample_app;

use super::policy::{DENIED, DENY, SERVED};
use super::{captured, url};

pub(crate) fn pods_on_two_nodes_talk_over_hbone_by_what_the_agents_wrote() {
    let story = Story::new();
    // Only the agents say that the pods are captured.
    assert_eq!(story.control().mentions(REDIRECTION), [] as [std::path::PathBuf; 0]);
    for pod in [&story.app, &story.allow, &story.deny] {
        let file = pod.node().home().join("status").join(format!("default_{}.json", pod.name()));
        let said = std::fs::read_to_string(&file).expect("the agent's word");
        assert!(said.contains("enabled"), "{}: {said}", file.display());
    }
    let capture = story.lab.capture();
    let page = story.allow.curl(&[&story.page()]);
    let seen = capture.finish().between(&[story.allow.ip(), story.app.ip()]);
    assert_eq!((page.status, page.body), (200, sample_app::page("blue")));
    assert_eq!(seen.server_ports().into_iter().collect::<Vec<_>>(), [15008]);
    let proxy = story.lab.node("b").proxy();
    eventually("the destination knows who asked", || {
        let log = proxy.access_log();
        let inbound = log.iter().filter(|line| line.is_inbound());
        let identities: Vec<_> = inbound.map(|line| line.text("src.identity").to_owned()).collect();
        if identities.contains(&story.allow.identity()) { Ok(()) } else { Err(format!("{identities:?}")) }
    });
}

pub(crate) fn a_withdrawn_pod_is_reached_in_plain_text() {
    let story = Story::new();
    story.app.relabel("istio.io/dataplane-mode", Some("none"));
    story.app.wait_withdrawn();
    let capture = story.lab.capture();
    story.expect(&story.allow, SERVED);
    let seen = capture.finish().between(&[story.allow.ip(), story.app.ip()]);
    assert_eq!(seen.server_ports().into_iter().collect::<Vec<_>>(), [8080]);
    story.app.relabel("istio.io/dataplane-mode", None);
    story.app.wait_enrolled();
    story.expect(&story.allow, SERVED);
}

pub(crate) fn a_policy_file_refuses_a_client_until_it_is_removed() {
    let story = Story::new();
    story.expect(&story.deny, SERVED);
    story.control().drop_file("policy.yaml", DENY);
    story.lab.wait_policy(POLICY, true);
    story.expect(&story.deny, DENIED);
    story.expect(&story.allow, SERVED);
    story.control().remove_file("policy.yaml");
    story.lab.wait_policy(POLICY, false);
    story.expect(&story.deny, SERVED);
}

pub(crate) fn a_broken_file_changes_nothing_for_traffic() {
    let story = Story::new();
    story.control().drop_file("policy.yaml", DENY);
    story.lab.wait_policy(POLICY, true);
    story.control().drop_file("broken.yaml", "kind: [\n");
    story.control().drop_file("policy.yaml", "apiVersion: security.istio.io/v1\nkind: Authoriz: ation\n");
    for file in ["broken.yaml", "policy.yaml"] {
        eventually(format_args!("{file} is complained of"), || {
            let log = story.control().process().log();
            if log.lines().any(|line| line.contains("ERROR") && line.contains(file)) {
                Ok(())
            } else {
                Err(log)
            }
        });
    }
    always(Duration::from_secs(1), "the policy stays, and so does everything else", || {
        story.as_the_policy_says()
    });
    let log = story.control().process().log();
    let complaints = |file: &str| log.lines().filter(|line| line.contains(file)).count();
    assert_eq!((complaints("broken.yaml"), complaints("policy.yaml")), (1, 1), "each is said once:\n{log}");
    // Mended, it counts again.
    story.control().drop_file("policy.yaml", &DENY.replace("curl-deny", "nobody"));
    eventually("the mended policy is about somebody else", || {
        let answer = story.deny.curl(&[&story.page()]);
        if (answer.exit, answer.status) == SERVED { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

pub(crate) fn without_the_control_plane_traffic_goes_on() {
    let story = Story::new();
    story.control().drop_file("policy.yaml", DENY);
    story.lab.wait_policy(POLICY, true);
    // Both nodes have every certificate that the two requests take.
    story.as_the_policy_says().expect("the policy at work");
    story.control().process().kill();
    always(Duration::from_secs(1), "nothing changes", || story.as_the_policy_says());
}

/// Two clients on one node, an application behind a service on the other.
struct Story {
    lab: Lab,
    app: Pod,
    allow: Pod,
    deny: Pod,
    service: Service,
}

impl Story {
    fn new() -> Self {
        let lab = Lab::new().standalone().start();
        lab.enroll_namespace("default");
        let app = captured(&lab, "handson", "b");
        app.sample_app("blue");
        let service = lab.service("handson").port(8080, "http").create();
        let allow = captured(&lab, "curl-allow", "a");
        let deny = captured(&lab, "curl-deny", "a");
        service.wait_endpoints(1);
        Self { lab, app, allow, deny, service }
    }

    fn control(&self) -> &Standalone {
        self.lab.control().standalone()
    }

    /// The page behind the service's virtual address.
    fn page(&self) -> String {
        url(self.service.at(8080), "/")
    }

    /// Asks for the page from both: one is served, the other is refused, at whatever moment the reset reaches it.
    fn as_the_policy_says(&self) -> Result<(), String> {
        let (served, refused) = (self.allow.curl(&[&self.page()]), self.deny.curl(&[&self.page()]));
        let reset = refused.status == 0 && matches!(refused.exit, 7 | 55 | 56);
        if served.status == 200 && reset { Ok(()) } else { Err(format!("{served:?} and {refused:?}")) }
    }

    /// Asks for the page and expects curl's exit code and the status.
    #[track_caller]
    fn expect(&self, client: &Pod, want: (i32, u16)) {
        let answer = client.curl(&[&self.page()]);
        assert_eq!((answer.exit, answer.status), want, "{}: {answer:?}", client.name());
    }
}

/// The policy of [`DENY`].
const POLICY: &str = "default/layer4-authz";
