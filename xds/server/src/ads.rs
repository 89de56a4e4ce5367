//! The discovery service: drives one [`Session`] over each gRPC stream.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use xds_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use crate::control::{Inner, Nack};
use crate::serve::Closing;
use crate::session::{Heard, Session};

pub(crate) struct Ads {
    pub(crate) inner: Arc<Inner>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if !self.inner.admits(header) {
            return Err(Status::unauthenticated("the bearer token is missing or not the one expected"));
        }
        let closing = request.extensions().get::<Closing>().cloned().unwrap_or_default();
        // One response waits here and no more: the next is made when there is room for it.
        let (responses, stream) = mpsc::channel(1);
        let task = Stream { inner: Arc::clone(&self.inner), requests: request.into_inner(), responses };
        tokio::spawn(task.run(closing));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Stream {
    inner: Arc<Inner>,
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
}

impl Stream {
    async fn run(mut self, mut closing: Closing) {
        let Ok(Some(first)) = self.requests.message().await else {
            return;
        };
        let node = first.node.as_ref().map(|node| node.id.clone()).unwrap_or_default();
        if node.is_empty() {
            let refusal = Status::invalid_argument("missing node information");
            let _ = self.responses.send(Err(refusal)).await; // a client that left needs no answer
            return;
        }
        let id = self.inner.journal.opened(&node);
        tracing::info!(node, "xDS stream opened");
        tokio::select! {
            () = self.drive(id, &node, first) => {}
            () = closing.begun() => {}
        }
        self.inner.journal.closed(id);
        tracing::info!(node, "xDS stream closed");
    }

    async fn drive(&mut self, id: u64, node: &str, first: DeltaDiscoveryRequest) {
        let mut session = Session::default();
        let mut world = self.inner.world.subscribe();
        let mut due = self.hear(&mut session, node, first);
        let mut told = 0;
        loop {
            tokio::select! {
                request = self.requests.message() => match request {
                    Ok(Some(request)) => due |= self.hear(&mut session, node, request),
                    Ok(None) => return,
                    Err(status) => return tracing::debug!(node, %status, "xDS stream failed"),
                },
                changed = world.changed() => match changed {
                    Ok(()) => due = true,
                    Err(watch::error::RecvError { .. }) => return,
                },
                room = self.responses.reserve(), if due => match room {
                    Ok(room) => {
                        let now = world.borrow_and_update().clone();
                        told = now.generation;
                        match session.next(&now.translation) {
                            Some(response) => room.send(Ok(response)),
                            None => due = false,
                        }
                    }
                    Err(mpsc::error::SendError(())) => return,
                },
                () = self.responses.closed() => return,
            }
            if !due && session.answered() {
                self.inner.journal.answered(id, told);
            }
        }
    }

    /// Whether a response may now be due.
    fn hear(&self, session: &mut Session, node: &str, request: DeltaDiscoveryRequest) -> bool {
        match session.on_request(request) {
            Heard::Subscribed(_) => return true,
            Heard::Acked(_) => {}
            Heard::Nacked { kind, message } => {
                tracing::warn!(node, type_url = kind.url(), message, "client refused resources");
                let type_url = kind.url().to_owned();
                self.inner.journal.nack(Nack { node: node.to_owned(), type_url, message });
            }
            Heard::Stale(kind) => tracing::debug!(node, type_url = kind.url(), "stale nonce ignored"),
            Heard::UnknownType(type_url) => tracing::debug!(node, type_url, "type not served"),
        }
        false
    }
}
