use std::os::unix::fs::PermissionsExt;

use xds_client::{Refusal, ResourceUpdate};

use super::*;

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("adit-snapshot-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn keeper(&self, node: &str) -> Arc<Keeper> {
        let config =
            SnapshotConfig { dir: self.0.clone(), wait: Duration::ZERO, max_age: Duration::from_secs(60) };
        let node = NodeConfig {
            name: node.to_owned(),
            network: String::new(),
            cluster_id: "c".to_owned(),
            cluster_domain: String::new(),
            istio_version: String::new(),
        };
        Keeper::new(config, &node, SnapshotMetrics::default())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn push(names: &[&str], removed: &[&str]) -> Update {
    let resource = |name: &&str| ResourceUpdate {
        name: (*name).to_owned(),
        version: "1".to_owned(),
        value: name.as_bytes().to_vec(),
    };
    Update {
        type_url: TypeUrl::Address,
        resources: names.iter().map(resource).collect(),
        removed: removed.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.resources.keys().map(|(_, name)| name.as_str()).collect()
}

#[test]
fn what_was_pushed_and_taken_is_what_the_next_process_finds() {
    let folder = Folder::new("kept");
    let keeper = folder.keeper("n");
    keeper.note(&push(&["a", "b", "bad"], &[]), &[Refusal { name: "bad".to_owned(), why: String::new() }]);
    keeper.note(&push(&["c"], &["a"]), &[]);
    keeper.write().unwrap();
    let next = folder.keeper("n");
    assert_eq!(names(&next.load().unwrap()), ["b", "c"]);
    let mode = fs::metadata(next.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    next.write().unwrap();
    assert_eq!(names(&next.load().unwrap()), ["b", "c"], "what was loaded is kept on");
}

#[test]
fn a_snapshot_that_cannot_be_trusted_is_not_used() {
    let folder = Folder::new("refused");
    let keeper = folder.keeper("n");
    assert!(matches!(keeper.load(), Err(SnapshotError::Read { .. })));
    keeper.note(&push(&["a"], &[]), &[]);
    keeper.write().unwrap();
    assert!(matches!(folder.keeper("other").load(), Err(SnapshotError::Elsewhere { .. })));
    let old = format::encode("c//n", unix_now() - 61, &BTreeMap::new());
    fs::write(keeper.path(), old).unwrap();
    assert!(matches!(keeper.load(), Err(SnapshotError::Old { .. })));
    fs::write(keeper.path(), b"half").unwrap();
    assert!(matches!(keeper.load(), Err(SnapshotError::Format { .. })));
}
