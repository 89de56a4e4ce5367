//! Carries what the agents write to their status folders to the cluster's Pod objects, as the API server would.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};

use super::cluster::{Cluster, Key};
use super::pod::REDIRECTION;

/// Follows the folders for the rest of the lab's life.
pub(super) fn follow(folders: Vec<PathBuf>, cluster: &Arc<Cluster>) {
    let cluster = Arc::clone(cluster);
    let mut known = BTreeMap::new();
    thread::spawn(move || {
        loop {
            let now = read(&folders);
            // A file that went away takes its annotation with it.
            for (key, said) in known.iter().filter(|(key, _)| !now.contains_key(*key)) {
                tell(&cluster, key, said, &Value::Null);
            }
            for (key, said) in now.iter().filter(|(key, said)| known.get(*key) != Some(*said)) {
                tell(&cluster, key, said, &said.value);
            }
            known = now;
            thread::sleep(PAUSE);
        }
    });
}

/// What a file says, and of which pod of that name.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    uid: Option<String>,
    value: Value,
}

/// Patches the Pod object unless it is another pod's by now, as the API server checks `metadata.uid`.
fn tell(cluster: &Cluster, key: &Key, said: &Said, value: &Value) {
    let Some(object) = cluster.get(key) else { return };
    if said.uid.as_ref().is_none_or(|uid| object["metadata"]["uid"] == json!(uid)) {
        cluster.patch(key, &json!({ "metadata": { "annotations": { REDIRECTION: value } } }));
    }
}

/// What the files say: `<namespace>_<pod>.json`, each a merge patch.
fn read(folders: &[PathBuf]) -> BTreeMap<Key, Said> {
    let mut all = BTreeMap::new();
    for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten()) {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let pod = path.file_stem().and_then(|stem| stem.to_str()?.split_once('_'));
        let patch = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        if let (Some((namespace, name)), Some(patch)) = (pod, patch) {
            let meta = &patch["metadata"];
            let said = Said {
                uid: meta["uid"].as_str().map(str::to_owned),
                value: meta["annotations"][REDIRECTION].clone(),
            };
            all.insert(Key::new("Pod", namespace, name), said);
        }
    }
    all
}

const PAUSE: Duration = Duration::from_millis(10);
