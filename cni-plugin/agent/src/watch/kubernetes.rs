//! Follows the API server: the pods of this node, and all namespaces by name and labels.

mod shown;
mod view;

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::shown::Shown;
use self::view::View;
use super::{Change, PodSource};
use crate::kubernetes::{ApiError, Pace, answer};
use crate::model;

/// The source. What is known stays while the API server is away.
pub struct Kubernetes {
    client: Client,
    node: String,
    wanted: mpsc::Receiver<Name>,
}

/// Asks for single pods that the watch has not shown yet.
#[derive(Clone, Debug)]
pub struct Lookups(mpsc::Sender<Name>);

#[derive(Debug)]
struct Name {
    namespace: String,
    pod: String,
}

/// What a single question came to.
enum Answer {
    Pod(Option<model::Pod>),
    Namespace { name: String, found: Option<model::Namespace> },
}

type Watch<K> = Pin<Box<dyn Stream<Item = watcher::Result<Event<K>>> + Send>>;

impl Kubernetes {
    /// Follows the pods of `node`.
    #[must_use]
    pub fn new(client: Client, node: String) -> (Self, Lookups) {
        let (sender, wanted) = mpsc::channel(QUESTIONS);
        (Self { client, node, wanted }, Lookups(sender))
    }

    async fn follow(mut self, changes: mpsc::Sender<Change>) {
        let mut view = View::new(self.node.clone());
        let mut pods = std::pin::pin!(self.pods());
        let mut namespaces = std::pin::pin!(self.namespaces());
        let mut asked = JoinSet::new();
        loop {
            let found = tokio::select! {
                Some(event) = pods.next() => view.pod(event.map_object(Shown::into_pod)),
                Some(event) = namespaces.next() => view.namespace(event.map_object(shown::namespace)),
                Some(name) = self.wanted.recv(), if asked.len() < QUESTIONS => {
                    asked.spawn(pod(self.client.clone(), name));
                    Vec::new()
                }
                Some(answered) = asked.join_next() => match answered {
                    Ok(Answer::Pod(found)) => found.map_or_else(Vec::new, |pod| view.pod_found(pod)),
                    Ok(Answer::Namespace { name, found }) => view.namespace_found(&name, found),
                    Err(_) => Vec::new(),
                },
            };
            for name in view.questions() {
                asked.spawn(namespace(self.client.clone(), name));
            }
            for change in found {
                if changes.send(change).await.is_err() {
                    return;
                }
            }
        }
    }

    fn pods(&self) -> impl Stream<Item = Event<Shown>> + Send + use<> {
        let api = Api::<Shown>::all(self.client.clone());
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node));
        patient("pods", move || watcher(api.clone(), config.clone()).boxed())
    }

    fn namespaces(&self) -> impl Stream<Item = Event<PartialObjectMeta<Namespace>>> + Send + use<> {
        let api = Api::<PartialObjectMeta<Namespace>>::all(self.client.clone());
        patient("namespaces", move || watcher(api.clone(), watcher::Config::default()).boxed())
    }
}

impl PodSource for Kubernetes {
    fn run(self: Box<Self>, changes: mpsc::Sender<Change>) -> BoxFuture<'static, ()> {
        Box::pin(self.follow(changes))
    }
}

impl Lookups {
    /// Has the API server asked for this pod, which then appears as any other. One question too many is lost: the watch
    /// will show the pod.
    pub fn look(&self, namespace: String, pod: String) {
        let _ = self.0.try_send(Name { namespace, pod });
    }
}

/// One watch that never ends, its failures, and its pauses.
struct Patient<K, F> {
    what: &'static str,
    begin: F,
    watch: Watch<K>,
    pace: Pace,
    not_before: Instant,
    away_since: Option<Instant>,
}

fn patient<K, F>(what: &'static str, begin: F) -> impl Stream<Item = Event<K>> + Send
where
    F: Fn() -> Watch<K> + Send,
    K: Send + 'static,
{
    let watch = begin();
    let now = Instant::now();
    let patient = Patient { what, begin, watch, pace: Pace::new(), not_before: now, away_since: None };
    stream::unfold(patient, |mut patient| async move {
        loop {
            tokio::time::sleep_until(patient.not_before).await;
            match patient.watch.next().await {
                // Said before anything was heard: it is no sign of success.
                Some(Ok(Event::Init)) => return Some((Event::Init, patient)),
                Some(Ok(event)) => {
                    patient.succeeded();
                    return Some((event, patient));
                }
                Some(Err(error)) => patient.failed(&error),
                None => return None,
            }
        }
    })
}

impl<K, F: Fn() -> Watch<K>> Patient<K, F> {
    fn succeeded(&mut self) {
        self.pace.reset();
        if let Some(since) = self.away_since.take() {
            let seconds = since.elapsed().as_secs();
            tracing::info!(what = self.what, seconds, "the API server is followed again");
        }
    }

    fn failed(&mut self, error: &watcher::Error) {
        let text = crate::redirect::chain(error);
        let now = Instant::now();
        // A watch on which nothing happens does not say that it succeeded.
        if now.saturating_duration_since(self.not_before) > QUIET {
            self.succeeded();
        }
        if self.away_since.is_none() {
            tracing::warn!(
                what = self.what,
                error = text,
                "the API server is not followed; what is known stays"
            );
        } else {
            tracing::debug!(what = self.what, error = text, "the API server is still not followed");
        }
        self.away_since.get_or_insert(now);
        self.not_before = now + self.pace.pause();
        // The watcher lists anew when a watch ends with this, but goes on asking when a watch cannot begin for it.
        if let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = error
            && status.code == GONE
        {
            self.watch = (self.begin)();
        }
    }
}

/// A few attempts: a plugin call waits for the pod.
async fn pod(client: Client, name: Name) -> Answer {
    let api = Api::<Shown>::namespaced(client, &name.namespace);
    for attempt in 1..=ATTEMPTS {
        match answer(api.get_opt(&name.pod)).await {
            Ok(found) => return Answer::Pod(found.map(Shown::into_pod)),
            Err(error) => {
                let error = crate::redirect::chain(&error);
                let Name { namespace, pod } = &name;
                tracing::warn!(
                    namespace,
                    pod,
                    error,
                    attempt,
                    "a pod that is starting could not be looked up"
                );
            }
        }
        tokio::time::sleep(RETRY).await;
    }
    Answer::Pod(None)
}

async fn namespace(client: Client, name: String) -> Answer {
    let api = Api::<PartialObjectMeta<Namespace>>::all(client);
    let found: Result<_, ApiError> = answer(api.get_opt(&name)).await;
    let found = found.unwrap_or_else(|error| {
        let error = crate::redirect::chain(&error);
        tracing::warn!(name, error, "the namespace of a new pod could not be looked up");
        None
    });
    Answer::Namespace { name, found: found.map(shown::namespace) }
}

/// Questions for single objects, asked and waiting.
const QUESTIONS: usize = 64;
const ATTEMPTS: u32 = 3;
const RETRY: Duration = Duration::from_millis(500);
/// From an attempt to a failure that is another outage.
const QUIET: Duration = Duration::from_secs(30);
const GONE: u16 = 410;

/// Gives each object of an event another form.
trait MapObject<K> {
    fn map_object<T>(self, form: impl FnOnce(K) -> T) -> Event<T>;
}

impl<K> MapObject<K> for Event<K> {
    fn map_object<T>(self, form: impl FnOnce(K) -> T) -> Event<T> {
        match self {
            Self::Init => Event::Init,
            Self::InitApply(object) => Event::InitApply(form(object)),
            Self::InitDone => Event::InitDone,
            Self::Apply(object) => Event::Apply(form(object)),
            Self::Delete(object) => Event::Delete(form(object)),
        }
    }
}
