use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::objects::kube::{Pod, REDIRECTION};

#[test]
fn yaml_files_of_the_directory_and_its_folders_count() {
    let dir = Dir::new();
    dir.write("a.yaml", &pod("a"));
    dir.write("b.yml", &pod("b"));
    dir.write("sub/c.yaml", &pod("c"));
    dir.write("sub/deeper/d.yaml", &pod("d"));
    dir.write(".hidden.yaml", &pod("e"));
    dir.write(".folder/f.yaml", &pod("f"));
    dir.write("g.json", &pod("g"));
    let mut folder = Folder::new(&dir.path);
    let scan = folder.scan();
    assert!(scan.changed && scan.problems.is_empty());
    assert_eq!(pods(&folder), ["a", "b", "c"]);
}

#[test]
fn a_change_a_new_file_and_a_file_gone_are_seen() {
    let dir = Dir::new();
    dir.write("a.yaml", &pod("a"));
    let mut folder = Folder::new(&dir.path);
    assert!(folder.scan().changed);
    assert!(!folder.scan().changed, "nothing happened");
    dir.write("a.yaml", &pod("a2"));
    dir.write("b.yaml", &pod("b"));
    assert!(folder.scan().changed);
    assert_eq!(pods(&folder), ["a2", "b"]);
    fs::remove_file(dir.path.join("a.yaml")).unwrap();
    assert!(folder.scan().changed);
    assert_eq!(pods(&folder), ["b"]);
}

#[test]
fn a_broken_file_keeps_its_last_good_version_and_harms_no_other() {
    let dir = Dir::new();
    dir.write("a.yaml", &pod("a"));
    dir.write("b.yaml", &pod("b"));
    let mut folder = Folder::new(&dir.path);
    folder.scan();
    dir.write(
        "a.yaml",
        &format!("{}\n---\n{{apiVersion: v1, kind: Pod, metadata: {{name: x}}, spec: 3}}", pod("a2")),
    );
    dir.write("b.yaml", &pod("b2"));
    let scan = folder.scan();
    assert!(scan.changed);
    match scan.problems.as_slice() {
        [FollowError::Object(ObjectError::Field { file, document: 2, name, field, .. })] => {
            assert!(file.ends_with("a.yaml"), "{file}");
            assert_eq!((name.as_str(), field.as_str()), ("x", "spec"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pods(&folder), ["a", "b2"]);
    assert!(folder.scan().problems.is_empty(), "a problem is said once");

    dir.write("a.yaml", &pod("a3"));
    assert!(folder.scan().changed);
    assert_eq!(pods(&folder), ["a3", "b2"]);
}

#[test]
fn a_file_that_was_never_good_counts_for_nothing() {
    let dir = Dir::new();
    dir.write("a.yaml", "kind: [");
    dir.write("b.yaml", &pod("b"));
    let mut folder = Folder::new(&dir.path);
    let scan = folder.scan();
    assert!(matches!(scan.problems.as_slice(), [FollowError::Object(ObjectError::Yaml { .. })]));
    assert_eq!(pods(&folder), ["b"]);
}

#[test]
fn of_two_files_with_one_object_the_later_path_counts() {
    let dir = Dir::new();
    let labeled =
        |v: &str| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a, labels: {{v: {v}}}}}}}");
    dir.write("2.yaml", &labeled("two"));
    dir.write("1.yaml", &labeled("one"));
    let mut folder = Folder::new(&dir.path);
    folder.scan();
    assert_eq!(folder.objects().pod("default", "a").unwrap().metadata.labels["v"], "two");
}

#[test]
fn a_directory_that_goes_away_takes_nothing_along_and_is_said_once() {
    let dir = Dir::new();
    dir.write("a.yaml", &pod("a"));
    let mut folder = Folder::new(&dir.path);
    folder.scan();
    fs::remove_dir_all(&dir.path).unwrap();
    let scan = folder.scan();
    assert!(!scan.changed);
    assert!(matches!(scan.problems.as_slice(), [FollowError::List { .. }]));
    assert!(folder.scan().problems.is_empty());
    assert_eq!(pods(&folder), ["a"]);
}

#[test]
fn a_status_is_laid_over_its_pod_for_as_long_as_its_file_is_there() {
    let (dir, status) = (Dir::new(), Dir::new());
    dir.write("a.yaml", &pod("a"));
    let mut folder = Folder::new(&dir.path).with_statuses([&status.path]);
    folder.scan();
    assert_eq!(redirections(&folder), ["a: -"]);
    status.write("default_a.json", &says("enabled"));
    status.write("default_a.json.half", &says("pending"));
    let scan = folder.scan();
    assert!(scan.changed && scan.problems.is_empty(), "{scan:?}");
    assert_eq!(redirections(&folder), ["a: enabled"]);
    assert!(!folder.scan().changed, "nothing happened");
    fs::remove_file(status.path.join("default_a.json")).unwrap();
    assert!(folder.scan().changed);
    assert_eq!(redirections(&folder), ["a: -"]);
}

#[test]
fn a_status_waits_for_its_pod_and_outlives_a_new_version_of_it() {
    let (dir, status) = (Dir::new(), Dir::new());
    status.write("default_a.json", &says("enabled"));
    let mut folder = Folder::new(&dir.path).with_statuses([&status.path]);
    assert!(folder.scan().problems.is_empty());
    assert!(redirections(&folder).is_empty());
    for labels in ["{}", "{v: two}"] {
        dir.write(
            "a.yaml",
            &format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a, labels: {labels}}}}}"),
        );
        folder.scan();
        assert_eq!(redirections(&folder), ["a: enabled"]);
    }
}

#[test]
fn a_broken_status_keeps_its_last_good_version_and_is_said_once() {
    let (dir, status) = (Dir::new(), Dir::new());
    dir.write("a.yaml", &format!("{}\n---\n{}", pod("a"), pod("b")));
    status.write("default_a.json", &says("enabled"));
    let mut folder = Folder::new(&dir.path).with_statuses([&status.path]);
    folder.scan();
    status.write("default_a.json", "{");
    status.write("default_b.json", &says("pending"));
    let scan = folder.scan();
    assert!(
        matches!(scan.problems.as_slice(), [FollowError::Status(StatusError::Json { file, .. })] if file.ends_with("default_a.json")),
        "{scan:?}"
    );
    assert!(folder.scan().problems.is_empty(), "a problem is said once");
    assert_eq!(redirections(&folder), ["a: enabled", "b: pending"]);
    status.write("default_a.json", &says("pending"));
    assert!(folder.scan().changed);
    assert_eq!(redirections(&folder), ["a: pending", "b: pending"]);
}

#[test]
fn of_two_directories_with_a_status_for_one_pod_the_later_given_counts() {
    let (dir, early, late) = (Dir::new(), Dir::new(), Dir::new());
    dir.write("a.yaml", &pod("a"));
    early.write("default_a.json", &says("enabled"));
    late.write("default_a.json", &says("pending"));
    let mut folder = Folder::new(&dir.path).with_statuses([&late.path, &early.path]);
    folder.scan();
    assert_eq!(redirections(&folder), ["a: enabled"]);
}

#[test]
fn a_status_directory_that_goes_away_takes_nothing_along() {
    let (dir, status) = (Dir::new(), Dir::new());
    dir.write("a.yaml", &pod("a"));
    status.write("default_a.json", &says("enabled"));
    let mut folder = Folder::new(&dir.path).with_statuses([&status.path]);
    folder.scan();
    fs::remove_dir_all(&status.path).unwrap();
    dir.write("b.yaml", &pod("b"));
    let scan = folder.scan();
    assert!(scan.changed, "the other directory is followed on");
    assert!(
        matches!(scan.problems.as_slice(), [FollowError::List { path, .. }] if *path == status.path),
        "{scan:?}"
    );
    assert_eq!(redirections(&folder), ["a: enabled", "b: -"]);
}

#[test]
fn causes_are_joined() {
    let dir = Dir::new();
    dir.write("a.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {hostNetwork: 3}}");
    let problem = Folder::new(&dir.path).scan().problems.remove(0);
    assert!(problem.to_string().contains("Pod \"x\": field spec.hostNetwork"), "{problem}");
    assert!(cause(&problem).contains("expected a boolean"), "{}", cause(&problem));
}

fn pods(folder: &Folder) -> Vec<String> {
    folder.objects().pods().map(|pod| pod.metadata.name.clone()).collect()
}

/// `<pod>: <its annotation>` of every pod.
fn redirections(folder: &Folder) -> Vec<String> {
    let said = |pod: &Pod| pod.metadata.annotations.get(REDIRECTION).map_or("-", String::as_str).to_owned();
    folder.objects().pods().map(|pod| format!("{}: {}", pod.metadata.name, said(pod))).collect()
}

fn says(value: &str) -> String {
    format!(r#"{{"metadata": {{"annotations": {{"{REDIRECTION}": "{value}"}}}}}}"#)
}

fn pod(name: &str) -> String {
    format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}}}")
}

/// A directory of its own, gone at the end.
struct Dir {
    path: PathBuf,
}

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("xds-server-follow-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    /// Replaces the file as an editor does, so that its inode tells the versions apart.
    fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, &path).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
