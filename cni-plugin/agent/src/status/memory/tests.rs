use super::*;

fn pod(uid: &str) -> Arc<Pod> {
    let mut pod = Pod::default();
    pod.metadata.uid = uid.to_owned();
    Arc::new(pod)
}

#[tokio::test]
async fn memory_keeps_what_it_was_told() {
    let sink = InProcess::default();
    sink.record(pod("u1"), Some(Redirection::Pending)).await.unwrap();
    assert_eq!(sink.said("u1"), Some(Redirection::Pending));
    assert_eq!(sink.recorded(pod("u2")).await.unwrap(), None);
    sink.prune(BTreeSet::new()).await.unwrap();
    assert_eq!(sink.said("u1"), None);
}
