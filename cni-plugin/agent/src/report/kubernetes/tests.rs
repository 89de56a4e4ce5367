use super::*;

fn note(told: Told) -> Note {
    let mut pod = Pod::default();
    pod.metadata.name = "web".to_owned();
    pod.metadata.namespace = "shop".to_owned();
    pod.metadata.uid = "u1".to_owned();
    Note { pod: Arc::new(pod), told, at: Timestamp::UNIX_EPOCH }
}

fn failure(why: &str, times: u32) -> Told {
    Told::NotEnrolled { why: why.to_owned(), times }
}

#[test]
fn an_event_names_its_pod_and_the_reason() {
    let event = serde_json::to_value(note(failure("no proxy serves it", 1)).event("n1")).unwrap();
    let want = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event["metadata"]["name"], "namespace": "shop"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "shop", "uid": "u1"},
        "reason": "MeshEnrollmentFailed",
        "message": "The pod is not in the mesh: no proxy serves it",
        "type": "Warning",
        "source": {"component": "adit-node-agent", "host": "n1"},
        "reportingComponent": "adit-node-agent",
        "reportingInstance": "n1",
        "firstTimestamp": "1970-01-01T00:00:00Z",
        "lastTimestamp": "1970-01-01T00:00:00Z",
        "count": 1,
    });
    assert_eq!(event, want);
}

#[test]
fn good_news_are_no_warnings() {
    for (told, reason) in [(Told::Recovered, "MeshEnrolled"), (Told::Withdrawn, "MeshWithdrawn")] {
        let event = note(told).event("n1");
        assert_eq!((event.reason.as_deref(), event.type_.as_deref()), (Some(reason), Some("Normal")));
    }
}

#[test]
fn one_pod_has_one_event_per_reason() {
    let name = |told| note(told).event("n1").metadata.name.unwrap();
    assert_eq!(name(failure("a", 1)), name(failure("b", 2)));
    assert_ne!(name(failure("a", 1)), name(Told::Recovered));
    let long = event_name(&"x".repeat(253), "u", "r");
    assert!(long.len() <= 253, "{}", long.len());
}

#[test]
fn a_long_reason_is_cut_where_the_api_server_would_refuse_it() {
    let message = note(failure(&"\u{e9}".repeat(5000), 3)).event("n1").message.unwrap();
    assert_eq!(message.chars().count(), LONGEST_MESSAGE);
}
