//! What a scrape says of certificates and of revoked peers.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use proxy_core::model::Identity;
use proxy_core::world::Strictness;
use proxy_mtls::{CertSource, Limits, Material, Revocations, SourceError, Store, TlsPolicy};

use super::Identities;

#[tokio::test]
async fn certificates_and_lists_are_told_once_there_is_a_store() {
    let identities = Identities::default();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(identities.clone()));
    assert_eq!(encoded(&registry), "# EOF\n");

    let store = Store::new(Arc::new(Refuses), TlsPolicy::default(), Limits::default());
    let revocations = Revocations::new(Strictness::Report);
    identities.tell(&store, &revocations);
    let web = Identity::new("cluster.local", "apps", "web");
    store.credentials(&web).await.expect_err("the authority refuses");
    let text = encoded(&registry);
    for line in [
        "adit_certificates{state=\"unavailable\"} 1",
        "adit_certificates{state=\"available\"} 0",
        "adit_certificate_failures_total 1",
        "adit_crl_lists 0",
        "adit_crl_refused_files_total 0",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    assert!(!text.contains("istio_crl"), "nobody was refused: {text}");
    for help in text.lines().filter(|line| line.starts_with("# HELP ")) {
        assert!(help.ends_with("(unstable)."), "{help}");
    }
}

fn encoded(registry: &Registry) -> String {
    let mut body = String::new();
    text::encode(&mut body, registry).expect("metrics encode");
    body
}

struct Refuses;

impl CertSource for Refuses {
    fn fetch(&self, _identity: Identity) -> BoxFuture<'static, Result<Material, SourceError>> {
        async { Err(Arc::new(std::io::Error::other("the authority says no")) as SourceError) }.boxed()
    }
}
