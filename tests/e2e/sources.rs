//! What the API server shows of pods that are no ordinary ones, or shows in the middle of something.

use std::time::Duration;

use serde_json::json;
use tests::lab::kube::Verb;
use tests::lab::{always, eventually};

use super::pods::rules;
use super::{enrolled, one_node};

pub(crate) fn a_job_that_has_ended_leaves_the_mesh() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let stays = enrolled(&lab, "default", "stays");
    let job = enrolled(&lab, "default", "job");
    let (uid, node) = (job.uid().to_owned(), lab.node("a"));
    let served = || node.proxy().config_dump().map(|dump| dump.to_string().contains(&uid));
    assert!(served().expect("a dump"), "the proxy serves the pod");
    let ended = json!({ "status": { "phase": "Succeeded" } });
    lab.kubernetes()
        .request(Verb::Merge, "/api/v1/namespaces/default/pods/job/status", Some(&ended))
        .expect("a patch of the status");
    eventually("the pod says that it is not in the mesh", || match job.redirection() {
        None => Ok(()),
        other => Err(format!("annotation {other:?}")),
    });
    eventually("the proxy has let the pod go", || {
        if served()? { Err("still in the dump".to_owned()) } else { Ok(()) }
    });
    assert_eq!(stays.redirection().as_deref(), Some("enabled"));
}

pub(crate) fn a_pod_on_the_host_s_network_is_never_annotated() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    lab.kubernetes().apply(
        "
apiVersion: v1
kind: Pod
metadata:
  name: host
  namespace: default
  labels: {istio.io/dataplane-mode: ambient}
spec:
  nodeName: a
  hostNetwork: true
  containers: [{name: app, image: app}]
",
    );
    let at = "/api/v1/namespaces/default/pods/host";
    let address = lab.node("a").ip().to_string();
    let running =
        json!({ "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] } });
    lab.kubernetes()
        .request(Verb::Merge, &format!("{at}/status"), Some(&running))
        .expect("a patch of the status");
    // Whatever was shown before this pod has been acted upon once this pod is in.
    enrolled(&lab, "default", "later");
    always(Duration::from_secs(2), "the pod is left alone", || {
        let pod = lab.kubernetes().request(Verb::Get, at, None).map_err(|error| error.to_string())?;
        let annotation = &pod["metadata"]["annotations"]["ambient.istio.io/redirection"];
        if annotation.is_null() { Ok(()) } else { Err(annotation.to_string()) }
    });
}

pub(crate) fn an_outage_in_the_middle_of_an_enrollment_only_delays_what_is_written() {
    let lab = one_node().start();
    let pod = lab.pod("web").create();
    lab.enroll_namespace("default");
    // The label is known by now, or is read once the server is back; the annotation can hardly have been written.
    lab.kubernetes().stop();
    always(Duration::from_secs(2), "the agent goes on", || {
        lab.node("a").agent().assert_running();
        Ok::<(), String>(())
    });
    lab.kubernetes().start_again();
    pod.wait_enrolled();
    assert!(rules(&pod).contains("REDIRECT"), "{}", rules(&pod));
}
