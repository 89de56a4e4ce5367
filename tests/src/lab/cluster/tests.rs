//! Objects change as the API server would change them, and followers hear of it once.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Cluster, Follower, Key};

struct Heard(Arc<Mutex<Vec<(String, bool)>>>);

impl Follower for Heard {
    fn changed(&self, key: &Key, new: Option<&Value>) {
        self.0.lock().push((key.name.clone(), new.is_some()));
    }
}

#[test]
fn a_patch_sets_removes_and_tells_only_of_changes() {
    let cluster = Cluster::default();
    let heard = Arc::new(Mutex::new(Vec::new()));
    cluster.apply(
        "kind: Pod\nmetadata: {name: web, namespace: shop}\n---\nkind: Namespace\nmetadata: {name: shop}\n",
    );
    cluster.follow(Box::new(Heard(Arc::clone(&heard))));
    let key = Key::new("Pod", "shop", "web");
    let label = |value: Value| json!({ "metadata": { "labels": { "color": value } } });
    assert!(cluster.patch(&key, &label(json!("blue"))));
    assert!(cluster.patch(&key, &label(json!("blue"))));
    assert_eq!(cluster.get(&key).expect("the pod")["metadata"]["labels"], json!({ "color": "blue" }));
    assert!(cluster.patch(&key, &label(Value::Null)));
    assert_eq!(cluster.get(&key).expect("the pod")["metadata"]["labels"], json!({}));
    assert!(!cluster.patch(&Key::new("Pod", "shop", "nobody"), &json!({})));
    cluster.remove(&key);
    cluster.remove(&key);
    let heard: Vec<_> = heard.lock().iter().map(|(name, there)| format!("{name} {there}")).collect();
    assert_eq!(heard, ["shop true", "web true", "web true", "web true", "web false"]);
}
