//! The API server as source of pods, and as reader of statuses and Events, byte by byte.

use std::sync::Arc;
use std::time::Duration;

use cni_plugin_agent::model::{Pod, Redirection};
use cni_plugin_agent::report::{self, Report, Reporter};
use cni_plugin_agent::status::{self, StatusError, StatusSink};
use cni_plugin_agent::watch::{self, Change, Lookups, PodSource};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::api::Api;
use crate::rig::{PATIENCE, eventually};

/// An API server that is followed for node `n1`.
struct Rig {
    api: Api,
    changes: mpsc::Receiver<Change>,
    lookups: Lookups,
    following: JoinHandle<()>,
}

impl Rig {
    async fn follow(api: Api) -> Self {
        let (source, lookups) = watch::Kubernetes::new(api.client().await, "n1".to_owned());
        let (sender, changes) = mpsc::channel(64);
        let following = tokio::spawn(Box::new(source).run(sender));
        Self { api, changes, lookups, following }
    }

    /// Namespace `shop` with pod `web`, all told.
    async fn synced() -> Self {
        let api = Api::start().await;
        api.namespace("shop", &json!({"a": "b"}));
        api.pod("web", "u1");
        let mut rig = Self::follow(api).await;
        let mut told = [rig.next().await, rig.next().await];
        told.sort();
        assert_eq!(told, ["namespace shop", "pod web u1"]);
        assert_eq!(rig.next().await, "synced");
        rig
    }

    async fn next(&mut self) -> String {
        let change = timeout(PATIENCE, self.changes.recv()).await.expect("something is told").unwrap();
        match change {
            Change::NamespaceSeen(namespace) => format!("namespace {}", namespace.metadata.name),
            Change::NamespaceGone(name) => format!("no namespace {name}"),
            Change::PodSeen(pod) => format!("pod {} {}", pod.metadata.name, pod.metadata.uid),
            Change::PodGone(uid) => format!("no pod {uid}"),
            Change::Synced => "synced".to_owned(),
        }
    }

    /// Nothing is told while something else happens that is told.
    async fn nothing_but(&mut self, name: &str, uid: &str) {
        self.api.pod(name, uid);
        assert_eq!(self.next().await, format!("pod {name} {uid}"));
    }

    /// Waits until both watches have begun, `times` times each.
    async fn watching(&self, times: usize) {
        for collection in ["pods", "namespaces"] {
            let part = format!("GET /api/v1/{collection}?&watch=true");
            eventually("the watch begins", || self.api.seen(&part).len() >= times).await;
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.following.abort();
    }
}

fn pod(uid: &str) -> Arc<Pod> {
    let mut pod = Pod::default();
    pod.metadata.name = "web".to_owned();
    pod.metadata.namespace = "shop".to_owned();
    pod.metadata.uid = uid.to_owned();
    Arc::new(pod)
}

#[tokio::test]
async fn only_the_nodes_own_pods_are_asked_for_and_of_namespaces_only_the_metadata() {
    let rig = Rig::synced().await;
    rig.watching(1).await;
    let lists = rig.api.seen("limit=");
    let pods = lists.iter().find(|seen| seen.line.contains("/pods?")).unwrap();
    assert!(pods.line.contains("fieldSelector=spec.nodeName%3Dn1"), "{}", pods.line);
    assert_eq!(pods.authorization, "Bearer secret");
    let namespaces = lists.iter().find(|seen| seen.line.contains("/namespaces?")).unwrap();
    assert!(namespaces.accept.contains("as=PartialObjectMetadataList"), "{}", namespaces.accept);
    for watch in rig.api.seen("watch=true") {
        assert!(watch.line.contains("allowWatchBookmarks=true"), "{}", watch.line);
        assert!(watch.line.contains("resourceVersion=12"), "{}", watch.line);
        assert_eq!(watch.line.contains("/pods?"), watch.line.contains("fieldSelector=spec.nodeName%3Dn1"));
    }
}

#[tokio::test]
async fn what_happens_is_told_as_it_happens() {
    let mut rig = Rig::synced().await;
    rig.nothing_but("db", "u2").await;
    rig.api.namespace("shop", &json!({"a": "c"}));
    assert_eq!(rig.next().await, "namespace shop");
    rig.api.delete("namespaces", "shop");
    assert_eq!(rig.next().await, "no namespace shop");
    rig.api.delete("pods", "shop/web");
    assert_eq!(rig.next().await, "no pod u1", "also when its namespace went first");
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let mut rig = Rig::synced().await;
    rig.watching(1).await;
    rig.api.bookmark("pods");
    rig.nothing_but("db", "u2").await;
    rig.api.cut();
    rig.api.delete("pods", "shop/web");
    assert_eq!(rig.next().await, "no pod u1");
    rig.watching(2).await;
    let last = rig.api.seen("/pods?&watch=true").pop().unwrap();
    assert!(last.line.contains("resourceVersion=14"), "{}", last.line);
    let lists: Vec<_> =
        rig.api.seen("/pods?").into_iter().filter(|seen| !seen.line.contains("watch")).collect();
    assert_eq!(lists.len(), 1, "nothing is listed again: {lists:#?}");
}

#[tokio::test]
async fn a_watch_that_became_too_old_begins_anew_and_tells_what_vanished_meanwhile() {
    for refuse in [false, true] {
        let mut rig = Rig::synced().await;
        rig.watching(1).await;
        rig.api.fail(Some(503));
        rig.api.cut();
        rig.api.delete("pods", "shop/web");
        rig.api.forget(refuse);
        rig.api.fail(None);
        assert_eq!(rig.next().await, "no pod u1", "refused outright: {refuse}");
        rig.nothing_but("db", "u2").await;
    }
}

#[tokio::test]
async fn while_the_api_server_refuses_everybody_nothing_is_forgotten() {
    let mut rig = Rig::synced().await;
    rig.watching(1).await;
    for status in [401, 403, 429, 500] {
        let before = rig.api.seen("watch=true").len();
        rig.api.fail(Some(status));
        rig.api.cut();
        eventually("it is asked again and again", || rig.api.seen("watch=true").len() >= before + 4).await;
        assert!(rig.changes.is_empty(), "after {status}");
        rig.api.fail(None);
        rig.nothing_but("db", &format!("u{status}")).await;
        rig.api.delete("pods", "shop/db");
        assert_eq!(rig.next().await, format!("no pod u{status}"));
        rig.api.namespace("shop", &json!({"after": status.to_string()}));
        assert_eq!(rig.next().await, "namespace shop");
    }
}

#[tokio::test]
async fn an_agent_that_begins_without_an_api_server_waits_for_it() {
    let api = Api::start().await;
    api.fail(Some(500));
    api.namespace("shop", &json!({}));
    let mut rig = Rig::follow(api).await;
    eventually("it asks", || rig.api.seen("GET").len() >= 4).await;
    assert!(rig.changes.is_empty());
    rig.api.fail(None);
    assert_eq!(rig.next().await, "namespace shop");
    assert_eq!(rig.next().await, "synced");
}

#[tokio::test]
async fn a_pod_that_the_watch_is_late_with_is_asked_for_and_so_is_its_namespace() {
    let mut rig = Rig::synced().await;
    rig.watching(1).await;
    rig.api.mute();
    rig.api.pod("db", "u2");
    rig.lookups.look("shop".to_owned(), "db".to_owned());
    assert_eq!(rig.next().await, "pod db u2");
    rig.lookups.look("shop".to_owned(), "nobody".to_owned());
    rig.api.delete("namespaces", "shop");
    rig.api.pod("db", "u3");
    rig.lookups.look("shop".to_owned(), "db".to_owned());
    assert_eq!([rig.next().await, rig.next().await], ["no pod u2", "pod db u3"]);
}

#[tokio::test]
async fn a_question_that_is_not_answered_is_asked_again() {
    let mut rig = Rig::synced().await;
    rig.watching(1).await;
    rig.api.mute();
    rig.api.pod("db", "u2");
    rig.api.fail(Some(500));
    rig.lookups.look("shop".to_owned(), "db".to_owned());
    eventually("it is asked", || !rig.api.seen("/pods/db").is_empty()).await;
    rig.api.fail(None);
    assert_eq!(rig.next().await, "pod db u2");
}

#[tokio::test]
async fn a_pod_never_comes_before_its_namespace() {
    let api = Api::start().await;
    let mut rig = Rig::follow(api).await;
    assert_eq!(rig.next().await, "synced");
    rig.watching(1).await;
    rig.api.mute();
    rig.api.namespace("shop", &json!({"istio.io/dataplane-mode": "ambient"}));
    rig.api.pod("web", "u1");
    rig.lookups.look("shop".to_owned(), "web".to_owned());
    assert_eq!([rig.next().await, rig.next().await], ["namespace shop", "pod web u1"]);
}

#[tokio::test]
async fn a_status_is_a_merge_patch_that_fits_one_pod_only() {
    let api = Api::start().await;
    api.pod("web", "u1");
    let sink = status::Kubernetes::new(api.client().await);
    sink.record(pod("u1"), Some(Redirection::Pending)).await.unwrap();
    sink.record(pod("u1"), Some(Redirection::Enabled)).await.unwrap();
    let written = api.object("pods", "shop/web").unwrap();
    assert_eq!(written["metadata"]["annotations"], json!({"ambient.istio.io/redirection": "enabled"}));
    sink.record(pod("u1"), None).await.unwrap();
    let patches = api.seen("PATCH");
    let bodies: Vec<&str> = patches.iter().map(|patch| patch.body.as_str()).collect();
    assert_eq!(
        bodies,
        [
            r#"{"metadata":{"uid":"u1","annotations":{"ambient.istio.io/redirection":"pending"}}}"#,
            r#"{"metadata":{"uid":"u1","annotations":{"ambient.istio.io/redirection":"enabled"}}}"#,
            r#"{"metadata":{"uid":"u1","annotations":{"ambient.istio.io/redirection":null}}}"#,
        ]
    );
    for patch in patches {
        assert_eq!(patch.line, "PATCH /api/v1/namespaces/shop/pods/web/status?");
        assert_eq!(patch.content, "application/merge-patch+json");
    }
}

#[tokio::test]
async fn a_pod_that_is_gone_or_has_a_successor_is_neither_enrolled_nor_an_obstacle() {
    let api = Api::start().await;
    let sink = status::Kubernetes::new(api.client().await);
    let gone = |result| matches!(result, Err(StatusError::Gone { pod }) if pod == "shop/web");
    sink.record(pod("u1"), None).await.unwrap();
    assert!(gone(sink.record(pod("u1"), Some(Redirection::Enabled)).await));
    api.pod("web", "u2");
    sink.record(pod("u2"), Some(Redirection::Enabled)).await.unwrap();
    sink.record(pod("u1"), None).await.unwrap();
    assert!(gone(sink.record(pod("u1"), Some(Redirection::Pending)).await));
    let successor = api.object("pods", "shop/web").unwrap();
    assert_eq!(successor["metadata"]["annotations"]["ambient.istio.io/redirection"], "enabled");
}

#[tokio::test]
async fn a_refused_status_is_an_error_that_names_the_pod() {
    let api = Api::start().await;
    api.pod("web", "u1");
    let sink = status::Kubernetes::new(api.client().await);
    for status in [403, 409, 422, 500] {
        api.fail(Some(status));
        let error = sink.record(pod("u1"), None).await.unwrap_err();
        assert_eq!(error.to_string(), "annotate pod shop/web", "{status}");
    }
}

#[tokio::test]
async fn a_pods_own_annotation_is_all_there_is_to_read() {
    let api = Api::start().await;
    let sink = status::Kubernetes::new(api.client().await);
    assert_eq!(sink.recorded(pod("u1")).await.unwrap(), None);
    sink.prune(std::collections::BTreeSet::new()).await.unwrap();
    assert!(api.seen("").is_empty());
}

#[tokio::test]
async fn failures_become_one_event_that_is_counted_up() {
    let api = Api::start().await;
    let client = api.client().await;
    let fail = |reporter: &report::Kubernetes, why: &str| {
        reporter.report(&pod("u1"), Report::NotEnrolled { why: why.to_owned() });
    };
    for why in ["no proxy serves it", "its rules failed"] {
        // Each time as by an agent that has just begun.
        let (reporter, writer) = report::Kubernetes::new(client.clone(), "n1".to_owned());
        fail(&reporter, why);
        fail(&reporter, why);
        drop(reporter);
        timeout(PATIENCE, writer.run()).await.unwrap();
    }
    let events = api.objects("events");
    let [event] = events.as_slice() else { panic!("one Event, not {events:#?}") };
    assert_eq!(event["reason"], "MeshEnrollmentFailed");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["count"], 2);
    assert_eq!(event["message"], "The pod is not in the mesh: its rules failed");
    assert_eq!(event["involvedObject"]["uid"], "u1");
}

#[tokio::test]
async fn recovery_and_withdrawal_are_told_too() {
    let api = Api::start().await;
    let (reporter, writer) = report::Kubernetes::new(api.client().await, "n1".to_owned());
    reporter.report(&pod("u1"), Report::NotEnrolled { why: "no proxy serves it".to_owned() });
    reporter.report(&pod("u1"), Report::Enrolled);
    reporter.report(&pod("u1"), Report::Withdrawn);
    drop(reporter);
    timeout(PATIENCE, writer.run()).await.unwrap();
    let mut reasons: Vec<String> =
        api.objects("events").iter().map(|event| event["reason"].to_string()).collect();
    reasons.sort();
    assert_eq!(reasons, [r#""MeshEnrolled""#, r#""MeshEnrollmentFailed""#, r#""MeshWithdrawn""#]);
}

#[tokio::test]
async fn an_api_server_that_takes_no_events_holds_nobody_up() {
    let api = Api::start().await;
    api.fail(Some(403));
    let (reporter, writer) = report::Kubernetes::new(api.client().await, "n1".to_owned());
    let writing = tokio::spawn(writer.run());
    for number in 0..2000 {
        reporter.report(&pod(&format!("u{number}")), Report::NotEnrolled { why: "no proxy".to_owned() });
    }
    eventually("it is tried", || !api.seen("POST").is_empty()).await;
    writing.abort();
    assert!(timeout(Duration::from_secs(30), writing).await.is_ok());
}
