use super::*;
use crate::netns::tests::TempDir;

fn pod(name: &str, phase: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, uid: u-{name}}}\nstatus: {{phase: {phase}}}\n---\n"
    )
}

fn write(dir: &TempDir, file: &str, text: &str) {
    // Replacing gives a new inode, so that a quick rewrite is seen whatever the clock's grain.
    let aside = dir.path().join(".aside");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, dir.path().join(file)).unwrap();
}

/// What changed, in words.
fn told(changes: Vec<Change>) -> Vec<String> {
    changes
        .into_iter()
        .map(|change| match change {
            Change::NamespaceSeen(namespace) => format!("namespace {}", namespace.metadata.name),
            Change::NamespaceGone(name) => format!("no namespace {name}"),
            Change::PodSeen(pod) => format!("pod {} {}", pod.metadata.name, pod.status.phase),
            Change::PodGone(uid) => format!("no pod {uid}"),
            Change::Synced => "synced".to_owned(),
        })
        .collect()
}

#[test]
fn the_first_look_tells_all_and_later_looks_tell_what_changed() {
    let dir = TempDir::new();
    write(&dir, "a.yaml", &(pod("one", "Running") + &pod("two", "Running")));
    write(&dir, "b.yml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    write(&dir, "notes.txt", "not yaml: [");
    write(&dir, ".hidden.yaml", "not yaml: [");
    let mut source = Directory::new(dir.path().to_owned());
    assert_eq!(told(source.poll()), ["namespace shop", "pod one Running", "pod two Running", "synced"]);
    assert_eq!(told(source.poll()), Vec::<String>::new());
    write(&dir, "a.yaml", &pod("one", "Succeeded"));
    assert_eq!(told(source.poll()), ["no pod u-two", "pod one Succeeded"]);
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    fs::remove_file(dir.path().join("b.yml")).unwrap();
    assert_eq!(told(source.poll()), ["no pod u-one", "no namespace shop"]);
}

#[test]
fn a_broken_file_keeps_its_last_good_version() {
    let dir = TempDir::new();
    write(&dir, "a.yaml", &pod("one", "Running"));
    let mut source = Directory::new(dir.path().to_owned());
    assert_eq!(told(source.poll()), ["pod one Running", "synced"]);
    write(&dir, "a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: [\n");
    assert_eq!(told(source.poll()), Vec::<String>::new());
    write(&dir, "a.yaml", &pod("one", "Failed"));
    assert_eq!(told(source.poll()), ["pod one Failed"]);
}

#[test]
fn a_file_that_was_never_good_holds_the_rest_up_only_for_a_while() {
    let dir = TempDir::new();
    write(&dir, "a.yaml", &pod("one", "Running"));
    write(&dir, "b.yaml", "{");
    let mut source = Directory::new(dir.path().to_owned());
    assert_eq!(told(source.poll()), ["pod one Running"]);
    let later: Vec<String> = (1..PATIENCE).flat_map(|_| told(source.poll())).collect();
    assert_eq!(later, ["synced"]);
}

#[test]
fn a_directory_that_goes_away_takes_nothing_along() {
    let dir = TempDir::new();
    write(&dir, "a.yaml", &pod("one", "Running"));
    let mut source = Directory::new(dir.path().to_owned());
    assert_eq!(told(source.poll()).len(), 2);
    fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(told(source.poll()), Vec::<String>::new());
}

#[test]
fn of_two_files_with_one_pod_the_last_counts() {
    let dir = TempDir::new();
    write(&dir, "a.yaml", &pod("one", "Running"));
    write(&dir, "b.yaml", &pod("one", "Failed"));
    let mut source = Directory::new(dir.path().to_owned());
    assert_eq!(told(source.poll()), ["pod one Failed", "synced"]);
    fs::remove_file(dir.path().join("b.yaml")).unwrap();
    assert_eq!(told(source.poll()), ["pod one Running"]);
}

#[tokio::test]
async fn following_ends_when_nobody_listens() {
    let dir = TempDir::new();
    let (changes, mut inbox) = mpsc::channel(1);
    let run = tokio::spawn(Box::new(Directory::new(dir.path().to_owned())).run(changes));
    assert_eq!(inbox.recv().await, Some(Change::Synced));
    drop(inbox);
    write(&dir, "a.yaml", &pod("one", "Running"));
    run.await.unwrap();
}
