//! Keeps one discovery stream open for ever: connects, drives a [`Session`] over it, and begins again when it ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::{Request, Status, Streaming};
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use crate::backoff::{Backoff, Jitter, Retry};
use crate::channel::{self, Transport};
use crate::codec::DeltaCodec;
use crate::demand::Questions;
use crate::endpoint::Endpoint;
use crate::error::{AdsError, Report};
use crate::node::Node;
use crate::session::{Addresses, Answered, Held, Received, Refusal, Session, TypeUrl, Update};

/// Where pushes go.
pub trait Sink: Send + Sync + 'static {
    /// Applies one push and answers what it refused; the rest must have been applied. Called for one push at a time, in
    /// order, on a thread that may block.
    fn apply(&self, update: Update) -> Vec<Refusal>;

    /// Learns what happened to the stream; called in order, and must not block.
    fn event(&self, _event: AdsEvent) {}

    /// Falls back on what was kept of an earlier life, because no control plane answers: applies it and says what it
    /// is. Called at most once, before the first push, on a thread that may block.
    fn restore(&self) -> Vec<Held> {
        Vec::new()
    }
}

/// What is followed, and how.
pub struct Following {
    /// Where the control plane is.
    pub endpoint: Endpoint,
    /// Who we say we are.
    pub node: Node,
    /// Where pushes go.
    pub sink: Arc<dyn Sink>,
    /// Addresses are wanted only when asked for, here.
    pub on_demand: Option<Questions>,
    /// How long the control plane may take over its first push before [`Sink::restore`] is called.
    pub fallback: Option<Duration>,
}

/// What happened to the stream, for metrics and readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdsEvent {
    /// A push arrived and is about to be applied.
    Message {
        /// Its type.
        type_url: TypeUrl,
        /// Bytes of its resources' payload.
        bytes: u64,
    },
    /// Every type has been answered and applied once. Comes once, and holds over reconnects.
    Synced,
    /// A stream ended, or did not begin; another attempt follows.
    Terminated(Termination),
}

/// How a stream ended; ztunnel's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Termination {
    /// It never opened.
    ConnectionError,
    /// An error that is worth a look.
    Error,
    /// A routine ending, as by age or by the connection's loss.
    Reconnect,
    /// The control plane ended it in peace.
    Complete,
}

impl Termination {
    /// As a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionError => "ConnectionError",
            Self::Error => "Error",
            Self::Reconnect => "Reconnect",
            Self::Complete => "Complete",
        }
    }
}

/// Follows the control plane for ever. What is held survives every reconnect; dropping the future ends it.
pub async fn run(following: Following) -> Infallible {
    let Following { endpoint, node, sink, on_demand, fallback } = following;
    endpoint.warn_when_readable();
    let addresses = if on_demand.is_some() { Addresses::OnDemand } else { Addresses::All };
    let session = Session::new(&node).wanting(addresses);
    let reached = Arc::new(AtomicBool::new(false));
    let mut client = Client {
        endpoint,
        session,
        sink,
        questions: on_demand,
        delivered: false,
        reached: Arc::clone(&reached),
        exhausted: 0,
    };
    let mut fallback = Fallback { due: fallback.map(|after| Box::pin(sleep(after))), reached };
    let mut backoff = Backoff::new();
    let mut complaint = Complaint::default();
    loop {
        client.delivered = false;
        let ended = tokio::select! {
            ended = Box::pin(client.stream()) => ended,
            () = fallback.due() => {
                client.restore(&mut fallback).await;
                continue;
            }
        };
        let ending = match ended {
            Ok(never) => match never {},
            Err(ending) => ending,
        };
        client.sink.event(AdsEvent::Terminated(ending.termination()));
        client.shorten(&ending);
        // An ending is routine only when something came before it: a peer that hangs up on everybody is not.
        let retry = if client.delivered { ending.retry() } else { Retry::Later };
        let wait = backoff.after(retry, Jitter(fastrand::u32(..)));
        complaint.log(&client, &ending, wait);
        tokio::select! {
            () = sleep(wait) => {}
            () = fallback.due() => client.restore(&mut fallback).await,
        }
    }
}

/// The moment from which no first push is waited for any longer.
struct Fallback {
    due: Option<Pin<Box<Sleep>>>,
    /// Whether a push has come, on any stream.
    reached: Arc<AtomicBool>,
}

impl Fallback {
    /// Comes once at most, and never after a push.
    async fn due(&mut self) {
        match &mut self.due {
            Some(due) => due.as_mut().await,
            None => std::future::pending().await,
        }
        if self.reached.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

/// One error is reported once, however often it is met.
#[derive(Default)]
struct Complaint {
    last: Option<String>,
}

impl Complaint {
    fn log(&mut self, client: &Client, ending: &AdsError, wait: Duration) {
        let uri = &client.endpoint.uri;
        let text = Report(ending).to_string();
        if client.delivered {
            self.last = None;
        }
        if client.delivered && ending.retry() == Retry::Soon {
            tracing::info!("discovery stream to {uri} ended and is opened again: {text}");
        } else if self.last.as_ref() == Some(&text) {
            tracing::debug!("still no discovery stream to {uri}, next attempt in {wait:?}: {text}");
        } else {
            tracing::error!("no discovery stream to {uri}, attempts go on: {text}");
            self.last = Some(text);
        }
    }
}

struct Client {
    endpoint: Endpoint,
    session: Session,
    sink: Arc<dyn Sink>,
    questions: Option<Questions>,
    /// Whether this stream has brought a response.
    delivered: bool,
    /// Whether any stream has.
    reached: Arc<AtomicBool>,
    /// Streams in a row that ended for want of resources, before they brought anything.
    exhausted: u32,
}

impl Client {
    async fn stream(&mut self) -> Result<Infallible, AdsError> {
        let (answers, queue) = mpsc::channel(ANSWERS);
        let mut responses = self.open(queue).await?;
        loop {
            let requests = tokio::select! {
                next = responses.message() => {
                    let next = next.map_err(|status| AdsError::Stream { status })?;
                    let response = next.ok_or(AdsError::Closed)?;
                    self.take(response).await?
                }
                key = question(&mut self.questions) => self.ask(&key),
            };
            for request in requests {
                // A closed queue means that the stream has ended; the next read says how.
                let sent = timeout(STALL, answers.send(request)).await;
                sent.map_err(|_| AdsError::Stalled { after: STALL })?.ok();
            }
        }
    }

    fn ask(&mut self, key: &str) -> Vec<DeltaDiscoveryRequest> {
        let abandoned = self.questions.as_mut().map(Questions::abandoned).unwrap_or_default();
        let given_up = self.session.abandon(abandoned);
        given_up.into_iter().chain(self.session.ask(key)).collect()
    }

    /// Twice in a row is no matter of our rate any more: the request that names what we hold is too long.
    fn shorten(&mut self, ending: &AdsError) {
        self.exhausted = match ending.exhausted() && !self.delivered {
            true => self.exhausted.saturating_add(1),
            false => 0,
        };
        if self.exhausted >= 2 {
            tracing::warn!(
                "the control plane may find our request too long; the next asks for everything anew"
            );
            self.session.forget_versions();
        }
    }

    async fn restore(&mut self, fallback: &mut Fallback) {
        fallback.due = None;
        let sink = Arc::clone(&self.sink);
        match tokio::task::spawn_blocking(move || sink.restore()).await {
            Ok(held) => self.session.resume(held),
            Err(error) => tracing::error!("falling back on what was kept failed: {error}"),
        }
    }

    async fn open(
        &mut self,
        queue: mpsc::Receiver<DeltaDiscoveryRequest>,
    ) -> Result<Streaming<DeltaDiscoveryResponse>, AdsError> {
        let metadata = self.endpoint.metadata().await?;
        let transport = Box::pin(channel::connect(&self.endpoint)).await?;
        let mut grpc =
            Grpc::with_origin(transport, self.endpoint.uri.clone()).max_decoding_message_size(MESSAGE);
        let first = tokio_stream::iter(self.session.open());
        let mut request = Request::new(first.chain(ReceiverStream::new(queue)));
        *request.metadata_mut() = metadata;
        let open = |status: Status| AdsError::Open { status };
        Grpc::<Transport>::ready(&mut grpc)
            .await
            .map_err(|broken| open(Status::from_error(broken.into())))?;
        let mut opening = Box::pin(grpc.streaming(request, PathAndQuery::from_static(PATH), DeltaCodec));
        let response = match timeout(PATIENCE, &mut opening).await {
            Ok(response) => response,
            Err(_) => {
                tracing::warn!(
                    "{} took the discovery stream but sends nothing; waiting on",
                    self.endpoint.uri
                );
                opening.await
            }
        };
        Ok(response.map_err(open)?.into_inner())
    }

    /// Applies one response and gives what is to be sent then, the answer to it first.
    async fn take(
        &mut self,
        response: DeltaDiscoveryResponse,
    ) -> Result<Vec<DeltaDiscoveryRequest>, AdsError> {
        self.reached.store(true, Ordering::Relaxed);
        if !std::mem::replace(&mut self.delivered, true) {
            tracing::info!("following the control plane at {}", self.endpoint.uri);
        }
        let (update, pending) = match self.session.receive(response) {
            Received::Push { update, pending } => (update, pending),
            Received::Unknown { type_url, reply } => {
                tracing::warn!("the control plane sent {type_url:?}, which nobody asked for");
                return Ok(vec![reply]);
            }
        };
        let type_url = update.type_url;
        self.sink.event(AdsEvent::Message { type_url, bytes: pending.bytes() });
        // Off this thread: a big push takes long, and the connection's pings must be answered meanwhile.
        let sink = Arc::clone(&self.sink);
        let refused = tokio::task::spawn_blocking(move || sink.apply(update))
            .await
            .map_err(|source| AdsError::Apply { type_url: type_url.as_str(), source })?;
        let before = self.session.synced();
        let answer = self.session.settle(pending, refused);
        if let Some(detail) = &answer.error_detail {
            tracing::error!("part of a push of {} was refused: {}", type_url.as_str(), detail.message);
        }
        if self.session.synced() && !before {
            self.sink.event(AdsEvent::Synced);
        }
        let Answered { keys, release } = self.session.answered();
        if let Some(questions) = &mut self.questions {
            questions.answered(&keys);
        }
        Ok([answer].into_iter().chain(release).collect())
    }
}

async fn question(questions: &mut Option<Questions>) -> String {
    match questions {
        Some(questions) => questions.next().await,
        None => std::future::pending().await,
    }
}

const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Bytes of one response.
const MESSAGE: usize = 200 << 20;
/// Answers that wait to be sent.
const ANSWERS: usize = 16;
/// How long the control plane may leave them waiting.
const STALL: Duration = Duration::from_secs(30);
/// How long it may take over its first response before we say so.
const PATIENCE: Duration = Duration::from_secs(30);
