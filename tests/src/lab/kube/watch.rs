//! Keeps the lab's view of a kind as the API server has it.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Weak;

use futures_util::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};

use super::request::resource;
use crate::lab::cluster::{Cluster, Key};

/// Follows one kind until the cluster is gone.
pub(super) async fn follow(client: kube::Client, kind: &'static str, cluster: Weak<Cluster>) {
    let (_, plural) = resource(kind);
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural);
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut events = pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
    // What a fresh list does not name went away while nobody watched.
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        let Some(cluster) = cluster.upgrade() else { return };
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                let object = plain(kind, &object);
                listed.insert(Key::of(&object));
                cluster.put(object);
            }
            Ok(Event::InitDone) => {
                cluster
                    .keys(kind)
                    .iter()
                    .filter(|key| !listed.contains(key))
                    .for_each(|key| cluster.forget(key));
            }
            Ok(Event::Apply(object)) => cluster.put(plain(kind, &object)),
            Ok(Event::Delete(object)) => cluster.forget(&Key::of(&plain(kind, &object))),
            // The watcher tries again by itself.
            Err(why) => tracing::debug!(kind, %why, "the API server is not heard"),
        }
    }
}

/// An object as a file would have it.
fn plain(kind: &str, object: &DynamicObject) -> Value {
    let mut object = serde_json::to_value(object).expect("an object as JSON");
    object["apiVersion"] = json!("v1");
    object["kind"] = json!(kind);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}
