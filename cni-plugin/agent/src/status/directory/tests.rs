use super::*;
use crate::netns::tests::TempDir;

fn pod(uid: &str) -> Arc<Pod> {
    let mut pod = Pod::default();
    pod.metadata.name = "web".to_owned();
    pod.metadata.namespace = "shop".to_owned();
    pod.metadata.uid = uid.to_owned();
    pod.ensure_uid();
    Arc::new(pod)
}

fn files(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_status_is_a_merge_patch_in_a_file_of_the_pods_name() {
    let dir = TempDir::new();
    let sink = Directory::new(dir.path().join("new")).unwrap();
    sink.record(pod("u1"), Some(Redirection::Enabled)).await.unwrap();
    let text = fs::read_to_string(dir.path().join("new/shop_web.json")).unwrap();
    let want = r#"{"metadata":{"uid":"u1","annotations":{"ambient.istio.io/redirection":"enabled"}}}"#;
    assert_eq!(text, want);
    sink.record(pod(""), Some(Redirection::Pending)).await.unwrap();
    let text = fs::read_to_string(dir.path().join("new/shop_web.json")).unwrap();
    assert_eq!(text, r#"{"metadata":{"annotations":{"ambient.istio.io/redirection":"pending"}}}"#);
}

#[tokio::test]
async fn a_status_that_is_taken_back_leaves_no_file() {
    let dir = TempDir::new();
    let sink = Directory::new(dir.path().to_owned()).unwrap();
    sink.record(pod("u1"), Some(Redirection::Enabled)).await.unwrap();
    assert_eq!(sink.recorded(pod("u1")).await.unwrap(), Some(Redirection::Enabled));
    sink.record(pod("u1"), None).await.unwrap();
    sink.record(pod("u1"), None).await.unwrap();
    assert_eq!(files(&dir), Vec::<String>::new());
    assert_eq!(sink.recorded(pod("u1")).await.unwrap(), None);
}

#[tokio::test]
async fn a_pod_that_went_does_not_take_its_successors_status_along() {
    let dir = TempDir::new();
    let sink = Directory::new(dir.path().to_owned()).unwrap();
    sink.record(pod("u2"), Some(Redirection::Enabled)).await.unwrap();
    assert_eq!(sink.recorded(pod("u1")).await.unwrap(), None);
    sink.record(pod("u1"), None).await.unwrap();
    assert_eq!(sink.recorded(pod("u2")).await.unwrap(), Some(Redirection::Enabled));
}

#[tokio::test]
async fn a_file_that_somebody_broke_is_told_and_can_be_taken_back() {
    let dir = TempDir::new();
    let sink = Directory::new(dir.path().to_owned()).unwrap();
    fs::write(dir.path().join("shop_web.json"), "{").unwrap();
    assert!(matches!(sink.recorded(pod("u1")).await, Err(StatusError::Malformed { .. })));
    sink.record(pod("u1"), None).await.unwrap();
    assert_eq!(files(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn statuses_of_pods_that_are_gone_are_pruned() {
    let dir = TempDir::new();
    let sink = Directory::new(dir.path().to_owned()).unwrap();
    let named = |name: &str, uid: &str| {
        let mut pod = Pod::clone(&pod(uid));
        pod.metadata.name = name.to_owned();
        Arc::new(pod)
    };
    for pod in [pod("u1"), named("hand_made", "shop/hand_made"), named("gone", "u9")] {
        sink.record(pod, Some(Redirection::Enabled)).await.unwrap();
    }
    fs::write(dir.path().join("README"), "not ours").unwrap();
    sink.prune(BTreeSet::from([PodUid("u1".to_owned()), PodUid("shop/hand_made".to_owned())])).await.unwrap();
    let mut left = files(&dir);
    left.sort();
    assert_eq!(left, ["README", "shop_hand_made.json", "shop_web.json"]);
}
