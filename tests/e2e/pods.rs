//! Pods of a real API server come into the mesh and leave it by what their objects say.

use std::process::Stdio;

use tests::lab::{Pod, Program, always, eventually, eventually_is};

use super::{assert_plain, assert_tunnelled, enrolled, one_node};

pub(crate) fn a_namespace_s_label_enrolls_the_pods_it_has_and_those_that_come() {
    let lab = one_node().start();
    let before = lab.pod("before").create();
    before.sample_app("blue");
    assert_eq!(before.redirection(), None);
    lab.enroll_namespace("default");
    before.wait_enrolled();
    let after = enrolled(&lab, "default", "after");
    // A chain that has answered is a pod that is captured: the runtime starts its programs now.
    assert!(rules(&after).contains("REDIRECT"), "{}", rules(&after));
    assert_tunnelled(&after, &before);
}

pub(crate) fn a_pod_s_own_label_decides_over_its_namespace_s() {
    let lab = one_node().start();
    lab.create_namespace("elsewhere");
    let in_by_itself =
        lab.pod("in").in_namespace("elsewhere").label("istio.io/dataplane-mode", "ambient").create();
    in_by_itself.wait_enrolled();
    in_by_itself.sample_app("blue");
    lab.enroll_namespace("default");
    let out_by_itself = lab.pod("out").label("istio.io/dataplane-mode", "none").create();
    out_by_itself.wait_known("TCP");
    assert_eq!((out_by_itself.redirection(), rules(&out_by_itself)), (None, String::new()));
    assert_plain(&out_by_itself, &in_by_itself);

    out_by_itself.relabel("istio.io/dataplane-mode", None);
    out_by_itself.wait_enrolled();
    assert_tunnelled(&out_by_itself, &in_by_itself);
    out_by_itself.relabel("istio.io/dataplane-mode", Some("none"));
    out_by_itself.wait_withdrawn();
    eventually_is("rules in the pod", String::new(), || rules(&out_by_itself));
    assert_plain(&out_by_itself, &in_by_itself);
}

pub(crate) fn a_namespace_that_loses_its_label_loses_its_pods_to_plain_text() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let server = enrolled(&lab, "default", "web");
    server.sample_app("blue");
    assert_tunnelled(&client, &server);
    lab.withdraw_namespace("default");
    for pod in [&client, &server] {
        pod.wait_withdrawn();
        eventually_is("rules in the pod", String::new(), || rules(pod));
    }
    assert_plain(&client, &server);
}

pub(crate) fn a_successor_of_the_same_name_is_annotated_for_itself() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let first = enrolled(&lab, "default", "web-0");
    let (uid, address) = (first.uid().to_owned(), first.ip());
    // As a stateful set does: the next of that name is there the moment the last one is gone.
    first.delete();
    let second = enrolled(&lab, "default", "web-0");
    assert_ne!((second.uid(), second.ip()), (uid.as_str(), address));
    second.sample_app("blue");
    assert_tunnelled(&client, &second);
    // Nothing that is still on its way for the first pod reaches the second.
    always(std::time::Duration::from_secs(3), "the second pod stays enrolled", || {
        match second.redirection().as_deref() {
            Some("enabled") => Ok(()),
            other => Err(format!("annotation {other:?}")),
        }
    });
}

pub(crate) fn a_status_that_another_hand_removes_is_written_again() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let server = enrolled(&lab, "default", "web");
    server.sample_app("blue");
    server.annotate("ambient.istio.io/redirection", None);
    server.wait_enrolled();
    assert_tunnelled(&client, &server);
}

pub(crate) fn a_deleted_namespace_leaves_nothing_of_its_pods() {
    let lab = one_node().start();
    lab.create_namespace("short-lived");
    lab.enroll_namespace("short-lived");
    lab.enroll_namespace("default");
    let stays = enrolled(&lab, "default", "stays");
    let goes = enrolled(&lab, "short-lived", "goes");
    let uid = goes.uid().to_owned();
    lab.kubernetes()
        .request(tests::lab::kube::Verb::Delete, "/api/v1/namespaces/short-lived", None)
        .expect("a deletion");
    goes.delete();
    lab.delete("Namespace", "", "short-lived");
    let node = lab.node("a");
    eventually("the proxy has let the pod go", || {
        let dump = node.proxy().config_dump()?.to_string();
        if dump.contains(&uid) { Err("still in the dump".to_owned()) } else { Ok(()) }
    });
    stays.wait_enrolled();
    node.wait_agent();
}

pub(crate) fn an_excluded_namespace_is_never_enrolled_whatever_its_labels() {
    let lab = one_node().agent_env("EXCLUDE_NAMESPACES", "kube-system,ours").start();
    lab.create_namespace("ours");
    lab.enroll_namespace("ours");
    let labelled =
        lab.pod("labelled").in_namespace("ours").label("istio.io/dataplane-mode", "ambient").create();
    let outside = |when: &str| {
        always(std::time::Duration::from_secs(2), format_args!("the pod is left alone {when}"), || {
            match (labelled.redirection(), rules(&labelled)) {
                (None, rules) if rules.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    };
    outside("while the agent runs");
    lab.node("a").restart_agent();
    outside("once it has started again");
}

pub(crate) fn without_a_proxy_a_selected_pod_waits_and_is_told_why() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let node = lab.node("a");
    node.proxy().process().kill();
    let refused = lab.pod("web").try_create().err().expect("a pod that waits for a proxy");
    assert!(refused.message.contains("proxy"), "{refused}");
    eventually("the pod's events tell of it", || {
        let events = lab.kubernetes().events("default", "web");
        if events.iter().any(|event| event.contains("proxy")) { Ok(()) } else { Err(format!("{events:?}")) }
    });
    let plain = lab.pod("plain").label("istio.io/dataplane-mode", "none").create();
    assert_eq!(plain.redirection(), None);
    node.restart_proxy(|spec| spec);
    let pod = lab.pod("web-2").create();
    pod.wait_enrolled();
}

/// The redirection rules inside a pod; empty without any.
pub(crate) fn rules(pod: &Pod) -> String {
    let output = pod.run(|| {
        let mut save = Program::new("iptables-save").command();
        save.stdin(Stdio::null()).output().expect("start iptables-save")
    });
    let all = String::from_utf8_lossy(&output.stdout);
    all.lines().filter(|line| line.contains("ISTIO") && line.starts_with("-A")).collect::<Vec<_>>().join("\n")
}
