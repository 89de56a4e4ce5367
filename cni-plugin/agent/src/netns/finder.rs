//! Searches for namespaces on behalf of many pods: requests that arrive during one search share the next.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{HostNetns, Netns, NetnsError, Wanted, find, owns};
use crate::config::Places;
use crate::metrics;

/// Asks for searches; clones share one searcher.
#[derive(Clone, Debug)]
pub struct Finder(mpsc::UnboundedSender<Request>);

type Request = (Wanted, oneshot::Sender<Result<Arc<Netns>, NetnsError>>);

impl Finder {
    /// The asking end, and the searcher, which runs until every asking end is gone.
    pub fn new(
        places: Places,
        host: Arc<HostNetns>,
        metrics: metrics::Pods,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (requests, receiver) = mpsc::unbounded_channel();
        (Self(requests), search(places, host, metrics, receiver))
    }

    /// The pod's namespace.
    ///
    /// # Errors
    /// There is none, or none that is the pod's own.
    pub async fn find(&self, wanted: Wanted) -> Result<Arc<Netns>, NetnsError> {
        let (answer, result) = oneshot::channel();
        let ended = || NetnsError::Search("the node agent is ending".to_owned());
        self.0.send((wanted, answer)).map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }
}

async fn search(
    places: Places,
    host: Arc<HostNetns>,
    metrics: metrics::Pods,
    mut requests: mpsc::UnboundedReceiver<Request>,
) {
    while let Some(first) = requests.recv().await {
        let mut batch = vec![first];
        while let Ok(next) = requests.try_recv() {
            batch.push(next);
        }
        let (places, host) = (places.clone(), Arc::clone(&host));
        let work = tokio::task::spawn_blocking(move || {
            let wanted: Vec<Wanted> = batch.iter().map(|(wanted, _)| wanted.clone()).collect();
            let mut searched = find(&places, &host, &wanted, &owns);
            for (wanted, answer) in batch {
                let lost = || Err(NetnsError::Search("it was searched for twice at once".to_owned()));
                // Whoever asked may have lost interest.
                let _ = answer.send(searched.remove(&wanted.uid).unwrap_or_else(lost));
            }
        });
        let began = Instant::now();
        let ended = work.await;
        metrics.searched(began.elapsed());
        if let Err(error) = ended {
            tracing::error!(%error, "a search for network namespaces broke off");
        }
    }
}
