//! Certificates from the control plane's CA, for the store.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proxy_core::model::Identity;
use proxy_mtls::{CertSource, Material, SourceError};
use xds_client::CaClient;

/// Asks the CA for one identity after the other, in the name of the workloads on this node.
pub(crate) struct Authority(pub(crate) Arc<CaClient>);

impl CertSource for Authority {
    fn fetch(&self, identity: Identity) -> BoxFuture<'static, Result<Material, SourceError>> {
        let ca = Arc::clone(&self.0);
        async move {
            let issued =
                ca.sign(&identity.to_string()).await.map_err(|error| Arc::new(error) as SourceError)?;
            Ok(Material { chain: issued.chain, roots: issued.roots, key: issued.key })
        }
        .boxed()
    }
}
