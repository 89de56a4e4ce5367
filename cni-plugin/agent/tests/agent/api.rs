//! An API server of a few kilobytes: it lists, watches, answers single questions and takes patches, in the bytes of the
//! real one, and can be made to fail as the real one does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::rig::TempDir;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The server, which lives as long as this does.
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    address: std::net::SocketAddr,
    dir: TempDir,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By collection and `namespace/name`.
    objects: BTreeMap<(&'static str, String), Value>,
    history: Vec<(u64, &'static str, &'static str, Value)>,
    /// Watches that begin before this are told that they are too old.
    oldest: u64,
    /// Such watches are refused outright rather than by an event.
    refuse_old: bool,
    /// Every request ends with this status.
    failing: Option<u16>,
    /// Watches do not hear of anything.
    mute: bool,
    /// Watches of an earlier number have been cut.
    era: u64,
    seen: Vec<Seen>,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) accept: String,
    pub(crate) content: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { version: 10, ..State::default() }));
        let changed = watch::Sender::new(0);
        let dir = TempDir::new();
        std::fs::write(dir.path().join("token"), "secret").unwrap();
        let (shared, heard) = (Arc::clone(&state), changed.clone());
        let serving = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let (state, changed) = (Arc::clone(&shared), heard.clone());
                tokio::spawn(async move {
                    let serve = service_fn(move |request| {
                        let (state, changed) = (Arc::clone(&state), changed.subscribe());
                        async move { Ok::<_, Infallible>(respond(state, changed, request).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(socket), serve).await;
                });
            }
        });
        Self { state, changed, address, dir, serving }
    }

    pub(crate) async fn client(&self) -> Client {
        use cni_plugin_agent::config::{Kubernetes, Server};
        let server = Server::InCluster {
            url: format!("http://{}", self.address).parse().unwrap(),
            token: self.dir.path().join("token"),
            ca: self.dir.path().join("ca.crt"),
        };
        let settings = Kubernetes {
            server,
            skip_tls_verify: false,
            pod_namespace: "istio-system".to_owned(),
            pod_name: None,
        };
        cni_plugin_agent::kubernetes::client(&settings).await.unwrap()
    }

    pub(crate) fn namespace(&self, name: &str, labels: &Value) {
        let object = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": name, "labels": labels},
        });
        self.put("namespaces", name.to_owned(), object);
    }

    /// A pod of node `n1` in namespace `shop`.
    pub(crate) fn pod(&self, name: &str, uid: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "managedFields": [{"manager": "kubelet"}]},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.5"},
        });
        self.put("pods", format!("shop/{name}"), object);
    }

    pub(crate) fn delete(&self, collection: &'static str, key: &str) {
        let mut state = self.state.lock();
        let mut object = state.objects.remove(&(collection, key.to_owned())).unwrap();
        state.note(collection, "DELETED", &mut object);
        drop(state);
        self.tell();
    }

    pub(crate) fn object(&self, collection: &'static str, key: &str) -> Option<Value> {
        self.state.lock().objects.get(&(collection, key.to_owned())).cloned()
    }

    pub(crate) fn objects(&self, collection: &'static str) -> Vec<Value> {
        let state = self.state.lock();
        state
            .objects
            .iter()
            .filter(|((kind, _), _)| *kind == collection)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Tells the watches of a version without an object.
    pub(crate) fn bookmark(&self, collection: &'static str) {
        let mut state = self.state.lock();
        let kind = if collection == "pods" { "Pod" } else { "PartialObjectMetadata" };
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {}});
        state.note(collection, "BOOKMARK", &mut object);
        drop(state);
        self.tell();
    }

    /// Ends all watches.
    pub(crate) fn cut(&self) {
        self.state.lock().era += 1;
        self.tell();
    }

    /// Forgets what happened so far; who watches from there learns that it is too old.
    pub(crate) fn forget(&self, refuse: bool) {
        let mut state = self.state.lock();
        state.version += 1;
        state.oldest = state.version;
        state.refuse_old = refuse;
    }

    pub(crate) fn fail(&self, status: Option<u16>) {
        self.state.lock().failing = status;
    }

    pub(crate) fn mute(&self) {
        self.state.lock().mute = true;
    }

    /// The requests so far whose first line contains `part`.
    pub(crate) fn seen(&self, part: &str) -> Vec<Seen> {
        self.state.lock().seen.iter().filter(|seen| seen.line.contains(part)).cloned().collect()
    }

    fn put(&self, collection: &'static str, key: String, mut object: Value) {
        let mut state = self.state.lock();
        let known = state.objects.contains_key(&(collection, key.clone()));
        state.note(collection, if known { "MODIFIED" } else { "ADDED" }, &mut object);
        state.objects.insert((collection, key), object);
        drop(state);
        self.tell();
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl State {
    fn note(&mut self, collection: &'static str, kind: &'static str, object: &mut Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.history.push((self.version, collection, kind, object.clone()));
    }
}

async fn respond(
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<u64>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let mut guard = state.lock();
    guard.seen.push(Seen {
        line: format!("{} {path}?{query}", head.method),
        accept: header("accept").unwrap_or_default(),
        content: header("content-type").unwrap_or_default(),
        authorization: header("authorization").unwrap_or_default(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    if let Some(status) = guard.failing {
        return failure(status, "it was told to fail");
    }
    let parts: Vec<&str> = path.trim_start_matches("/api/v1/").split('/').collect();
    let version = parameter(&query, "resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    match (head.method.as_str(), parts.as_slice()) {
        ("GET", [all @ ("pods" | "namespaces")]) if query.contains("watch=true") => {
            let collection = if *all == "pods" { "pods" } else { "namespaces" };
            if version < guard.oldest && guard.refuse_old {
                return failure(410, "too old resource version");
            }
            let era = guard.era;
            drop(guard);
            watching(Watching { state, changed, collection, version, era })
        }
        ("GET", [all @ ("pods" | "namespaces")]) => {
            let items: Vec<&Value> =
                guard.objects.iter().filter(|((kind, _), _)| kind == all).map(|(_, object)| object).collect();
            let list = json!({
                "kind": "List", "apiVersion": "v1",
                "metadata": {"resourceVersion": guard.version.to_string()}, "items": items,
            });
            answer(200, &list)
        }
        ("GET", ["namespaces", name]) => found(&guard, "namespaces", name),
        ("GET", ["namespaces", namespace, "pods", name]) => {
            found(&guard, "pods", &format!("{namespace}/{name}"))
        }
        ("POST", ["namespaces", namespace, "events"]) => {
            let event: Value = serde_json::from_slice(&body).unwrap();
            let key = ("events", format!("{namespace}/{}", event["metadata"]["name"].as_str().unwrap()));
            if guard.objects.contains_key(&key) {
                return failure(409, "already exists");
            }
            guard.objects.insert(key, event.clone());
            answer(201, &event)
        }
        ("PATCH", ["namespaces", namespace, "pods", name, "status"]) => {
            patch(&mut guard, ("pods", format!("{namespace}/{name}")), &body)
        }
        ("PATCH", ["namespaces", namespace, "events", name]) => {
            patch(&mut guard, ("events", format!("{namespace}/{name}")), &body)
        }
        _ => failure(404, "no such place"),
    }
}

fn patch(state: &mut State, key: (&'static str, String), body: &[u8]) -> Response<Body> {
    let patch: Value = serde_json::from_slice(body).unwrap();
    let Some(object) = state.objects.get_mut(&key) else {
        return failure(404, "not found");
    };
    let uid = &patch["metadata"]["uid"];
    if !uid.is_null() && *uid != object["metadata"]["uid"] {
        return failure(422, "metadata.uid: Invalid value: field is immutable");
    }
    merge(object, &patch);
    let object = object.clone();
    answer(200, &object)
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    for (name, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            if !into[name].is_object() && value.is_object() {
                into[name] = json!({});
            }
            merge(&mut into[name], value);
        }
    }
}

struct Watching {
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<u64>,
    collection: &'static str,
    version: u64,
    era: u64,
}

impl Watching {
    /// The next line; `None` ends the watch.
    async fn next(&mut self) -> Option<Value> {
        loop {
            self.changed.borrow_and_update();
            {
                let state = self.state.lock();
                if state.era != self.era {
                    return None;
                }
                if self.version < state.oldest {
                    self.version = u64::MAX;
                    return Some(json!({"type": "ERROR", "object": status(410, "too old resource version")}));
                }
                let next = state.history.iter().find(|(version, collection, ..)| {
                    *version > self.version && *collection == self.collection
                });
                if let Some((version, _, kind, object)) = next.filter(|_| !state.mute) {
                    self.version = *version;
                    return Some(json!({"type": kind, "object": object}));
                }
            }
            self.changed.changed().await.ok()?;
        }
    }
}

fn watching(watching: Watching) -> Response<Body> {
    let lines = stream::unfold(watching, |mut watching| async move {
        let line = watching.next().await?;
        let frame = Frame::data(Bytes::from(format!("{line}\n")));
        Some((Ok::<_, Infallible>(frame), watching))
    });
    Response::new(StreamBody::new(lines).boxed_unsync())
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn found(state: &State, collection: &'static str, key: &str) -> Response<Body> {
    match state.objects.get(&(collection, key.to_owned())) {
        Some(object) => answer(200, object),
        None => failure(404, "not found"),
    }
}

fn status(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": ""})
}

fn failure(code: u16, message: &str) -> Response<Body> {
    answer(code, &status(code, message))
}

fn answer(code: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}
