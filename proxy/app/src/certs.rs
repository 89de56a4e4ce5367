//! Certificates from the control plane's CA, for the store.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proxy_core::model::Identity;
use proxy_mtls::{CertSource, Material, SourceError};
use xds_client::{CaClient, CaError};

use crate::limits::Limit;
use crate::metrics::Metrics;

/// Asks the CA for one identity after the other, in the name of the workloads on this node.
pub(crate) struct Authority {
    pub(crate) ca: Arc<CaClient>,
    pub(crate) metrics: Metrics,
}

impl CertSource for Authority {
    fn fetch(&self, identity: Identity) -> BoxFuture<'static, Result<Material, SourceError>> {
        let (ca, metrics) = (Arc::clone(&self.ca), self.metrics.clone());
        async move {
            let issued = ca.sign(&identity.to_string()).await.map_err(|error| {
                if matches!(error, CaError::Deadline { .. }) {
                    metrics.hit(Limit::CaCall);
                }
                Arc::new(error) as SourceError
            })?;
            Ok(Material { chain: issued.chain, roots: issued.roots, key: issued.key })
        }
        .boxed()
    }
}
