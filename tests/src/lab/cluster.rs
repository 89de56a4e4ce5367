//! The Kubernetes objects of a lab: what the API server holds, or would hold, and who is told of a change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::eventually::eventually;
use super::kube::{ApiServer, MIRRORED, Refused};

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `Pod`, `Service` and so on.
    pub kind: String,
    /// Empty for what has no namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    /// The key that an object names itself.
    pub fn of(object: &Value) -> Self {
        let meta = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self { kind: text(&object["kind"]), namespace: text(&meta["namespace"]), name: text(&meta["name"]) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Is told of every change, in order.
pub trait Follower: Send + Sync {
    /// `new` is `None` for an object that went away.
    fn changed(&self, key: &Key, new: Option<&Value>);
}

/// The objects and their followers.
#[derive(Default)]
pub struct Cluster {
    objects: Mutex<BTreeMap<Key, Value>>,
    followers: Mutex<Vec<Box<dyn Follower>>>,
    /// Keeps the kinds that agents read; what is here of them is its copy.
    server: Option<ApiServer>,
}

impl Cluster {
    /// One whose pods, namespaces and accounts are those of a real API server.
    #[track_caller]
    pub(super) fn on(server: ApiServer) -> Arc<Self> {
        let cluster = Arc::new(Self { server: Some(server), ..Self::default() });
        if let Some(server) = &cluster.server {
            server.feed(&Arc::downgrade(&cluster));
        }
        cluster
    }

    /// The API server of a lab on Kubernetes.
    pub const fn server(&self) -> Option<&ApiServer> {
        self.server.as_ref()
    }

    fn keeper(&self, key: &Key) -> Option<&ApiServer> {
        self.server.as_ref().filter(|_| MIRRORED.contains(&key.kind.as_str()))
    }

    /// Adds a follower; it is told of what exists already.
    pub fn follow(&self, follower: Box<dyn Follower>) {
        let objects = self.objects.lock();
        for (key, object) in &*objects {
            follower.changed(key, Some(object));
        }
        self.followers.lock().push(follower);
    }

    /// Creates or replaces an object.
    #[track_caller]
    pub fn set(&self, object: Value) {
        let key = Key::of(&object);
        match self.keeper(&key) {
            Some(server) => self.followed(&key, server.put(&key, object)),
            None => self.put(object),
        }
    }

    /// Waits until the copy here is as new as what the server answered.
    #[track_caller]
    fn followed(&self, key: &Key, answer: Result<Value, Refused>) {
        let stored = answer.unwrap_or_else(|e| panic!("the API server keeps {key}: {e}"));
        eventually(format_args!("the lab has heard of {key}"), || {
            let heard = self.get(key).map_or(0, |object| version(&object));
            if heard >= version(&stored) { Ok(()) } else { Err(format!("version {heard}")) }
        });
    }

    /// As [`Cluster::set`], for this copy.
    pub(super) fn put(&self, object: Value) {
        let mut objects = self.objects.lock();
        let key = Key::of(&object);
        self.tell(&key, Some(&object));
        objects.insert(key, object);
    }

    /// Creates or replaces every document of a YAML text.
    #[track_caller]
    pub fn apply(&self, yaml: &str) -> Vec<Key> {
        let documents = documents(yaml);
        let keys = documents.iter().map(Key::of).collect();
        documents.into_iter().for_each(|document| self.set(document));
        keys
    }

    /// Removes an object; one that is gone already is fine.
    #[track_caller]
    pub fn remove(&self, key: &Key) {
        match self.keeper(key) {
            Some(server) => {
                server.remove(key).unwrap_or_else(|e| panic!("remove {key}: {e}"));
                eventually(format_args!("the lab has heard that {key} is gone"), || {
                    if self.get(key).is_none() { Ok(()) } else { Err("still there") }
                });
            }
            None => self.forget(key),
        }
    }

    /// As [`Cluster::remove`], for this copy.
    pub(super) fn forget(&self, key: &Key) {
        let mut objects = self.objects.lock();
        if objects.remove(key).is_some() {
            self.tell(key, None);
        }
    }

    /// Says that an object is to go, where that is a thing of its own.
    #[track_caller]
    pub(super) fn begin_removal(&self, key: &Key) {
        if let Some(server) = self.keeper(key) {
            server.begin_removal(key).unwrap_or_else(|e| panic!("end {key}: {e}"));
        }
    }

    /// The objects of a kind.
    pub(super) fn keys(&self, kind: &str) -> Vec<Key> {
        self.objects.lock().keys().filter(|key| key.kind == kind).cloned().collect()
    }

    /// An object as it is.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.objects.lock().get(key).cloned()
    }

    /// Applies a merge patch (RFC 7396) to an object; answers whether it exists.
    #[track_caller]
    pub fn patch(&self, key: &Key, patch: &Value) -> bool {
        if let Some(server) = self.keeper(key) {
            return match server.merge(key, patch) {
                Err(Refused::Status { code: 404, .. }) => false,
                answer => {
                    self.followed(key, answer);
                    true
                }
            };
        }
        let mut objects = self.objects.lock();
        let Some(object) = objects.get_mut(key) else {
            return false;
        };
        let before = object.clone();
        merge(object, patch);
        if *object != before {
            self.tell(key, Some(object));
        }
        true
    }

    fn tell(&self, key: &Key, new: Option<&Value>) {
        for follower in &*self.followers.lock() {
            follower.changed(key, new);
        }
    }
}

/// The version of an object that the API server gave it; 0 without one.
fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// A node's share of the cluster, as files: its own pods and every namespace.
pub struct PodsDirectory {
    node: String,
    folder: PathBuf,
    scratch: PathBuf,
}

impl PodsDirectory {
    /// Writes into `folder`; files are prepared in `scratch`, on the same file system.
    pub fn new(node: &str, folder: &Path, scratch: &Path) -> Self {
        for path in [folder, scratch] {
            fs::create_dir_all(path).expect("a folder for objects");
        }
        Self { node: node.into(), folder: folder.into(), scratch: scratch.into() }
    }
}

impl Follower for PodsDirectory {
    fn changed(&self, key: &Key, new: Option<&Value>) {
        let ours = |object: &Value| match key.kind.as_str() {
            "Namespace" => true,
            "Pod" => object["spec"]["nodeName"] == json!(self.node),
            _ => false,
        };
        write_object(&self.folder, &self.scratch, key, new.filter(|o| ours(o)));
    }
}

/// Every object as a file, for a control plane that reads a directory.
pub struct ObjectsDirectory(PathBuf);

impl ObjectsDirectory {
    /// Writes into `folder`, without what an earlier lab left there.
    pub fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("a folder for objects");
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "yaml") {
                let _ = fs::remove_file(entry.path());
            }
        }
        Self(folder)
    }
}

impl Follower for ObjectsDirectory {
    fn changed(&self, key: &Key, new: Option<&Value>) {
        write_object(&self.0, &self.0, key, new);
    }
}

/// Readers never see half a file: it is written under a name that they pass over, then renamed.
fn write_object(folder: &Path, scratch: &Path, key: &Key, object: Option<&Value>) {
    let name = format!("{}.{}.{}.yaml", key.kind.to_lowercase(), key.namespace, key.name);
    let path = folder.join(&name);
    match object {
        Some(object) => {
            let fresh = scratch.join(format!(".{name}.new"));
            fs::write(&fresh, format!("{object:#}\n")).expect("write an object");
            fs::rename(&fresh, &path).expect("put an object in place");
        }
        None => drop(fs::remove_file(path)),
    }
}

/// The documents of a YAML text, as JSON values.
#[track_caller]
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents = yaml.split("\n---").map(str::trim).filter(|d| !d.is_empty());
    documents.map(|d| serde_saphyr::from_str(d).unwrap_or_else(|e| panic!("not YAML: {e}\n{d}"))).collect()
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests;
