//! The API server goes away, comes back, and refuses: what that does to pods, and what the agent says of it.

use std::time::Duration;

use tests::lab::{always, eventually, within};

use super::{assert_tunnelled, enrolled, one_node};

pub(crate) fn an_agent_that_restarts_while_the_server_is_away_serves_its_pods() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let server = enrolled(&lab, "default", "web");
    server.sample_app("blue");
    let node = lab.node("a");
    lab.kubernetes().stop();
    node.agent().kill();
    node.begin_agent();
    always(Duration::from_secs(5), "traffic goes on while nobody knows better", || {
        node.agent().assert_running();
        assert_tunnelled(&client, &server);
        Ok::<(), String>(())
    });
    // A proxy that comes now is told of the pods too: nothing else would serve them.
    node.restart_proxy(|spec| spec);
    assert_tunnelled(&client, &server);
    lab.kubernetes().start_again();
    node.wait_agent();
    enrolled(&lab, "default", "late");
    assert_tunnelled(&client, &server);
}

pub(crate) fn an_outage_changes_nothing_for_pods_and_what_it_missed_is_made_up_for() {
    let lab = one_node().start();
    lab.create_namespace("elsewhere");
    let client = lab.pod("client").in_namespace("elsewhere").create();
    lab.enroll_namespace("default");
    let server = enrolled(&lab, "default", "web");
    server.sample_app("blue");
    lab.kubernetes().stop();
    assert_eq!(client.curl(&[&format!("http://{}/", server.at(8080))]).status, 200);
    lab.kubernetes().start_again();
    lab.enroll_namespace("elsewhere");
    client.wait_enrolled();
    assert_tunnelled(&client, &server);
}

pub(crate) fn a_token_that_is_refused_is_replaced_by_the_one_the_kubelet_wrote() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    enrolled(&lab, "default", "early");
    let server = lab.kubernetes();
    server.revoke_tokens();
    server.mount_account("istio-system", "istio-cni");
    // Clients read the file again once a minute, as those of Go do.
    let late = lab.pod("late").patience(ROTATION).create();
    within(ROTATION, "the pod is annotated", || match late.redirection().as_deref() {
        Some("enabled") => Ok(()),
        other => Err(format!("annotation {other:?}")),
    });
}

pub(crate) fn a_right_that_is_missing_is_told_by_its_name_and_used_once_granted() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let node = lab.node("a");
    lab.kubernetes().delete("ClusterRoleBinding", "", "istio-cni-ambient");
    let refused = lab.pod("web").try_create().err();
    eventually("the log names the right", || {
        let log = node.agent().log();
        if log.contains("pods/status") { Ok(()) } else { Err(format!("no word of pods/status; {refused:?}")) }
    });
    lab.kubernetes().apply(BINDING);
    enrolled(&lab, "default", "web-2");
}

const ROTATION: Duration = Duration::from_secs(100);

const BINDING: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: istio-cni-ambient}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: istio-cni-ambient}
subjects: [{kind: ServiceAccount, name: istio-cni, namespace: istio-system}]
";
