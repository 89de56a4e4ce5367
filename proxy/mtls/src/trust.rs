//! What a peer's chain must lead to: the newest roots of the trust domain or those of our own chain, and no revocation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use proxy_core::Str;
use rustls::CertificateError;
use rustls::OtherError;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use tracing::info;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use crate::credentials::Certificate;
use crate::provider::TlsPolicy;
use crate::revoke::{Revocations, Standing};

/// What all certificates of a process have in common.
#[derive(Debug, Clone)]
pub struct TlsContext {
    pub(crate) policy: TlsPolicy,
    pub(crate) bundles: Arc<Bundles>,
    pub(crate) revocations: Arc<Revocations>,
}

impl TlsContext {
    /// Certificates that share `revocations`, and the roots that any of them brings.
    #[must_use]
    pub fn new(policy: TlsPolicy, revocations: Arc<Revocations>) -> Self {
        Self { policy, bundles: Arc::default(), revocations }
    }
}

impl From<TlsPolicy> for TlsContext {
    /// Nothing is ever revoked.
    fn from(policy: TlsPolicy) -> Self {
        Self::new(policy, Revocations::none())
    }
}

/// Which side of a handshake the peer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It dialed us.
    Inbound,
    /// We dialed it.
    Outbound,
}

impl Direction {
    fn usage(self) -> KeyUsage {
        match self {
            Self::Inbound => KeyUsage::client_auth(),
            Self::Outbound => KeyUsage::server_auth(),
        }
    }
}

/// A chain as its peer presents it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
}

/// The roots that one answer of the authority held.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
    pub(crate) certificates: Vec<Certificate>,
}

/// The newest roots of every trust domain that this process has certificates of.
#[derive(Debug, Default)]
pub(crate) struct Bundles {
    by_domain: Mutex<HashMap<Str, Arc<Newest>>>,
}

/// The newest roots of one trust domain, and which request brought them.
#[derive(Debug, Default)]
pub(crate) struct Newest(RwLock<Option<(u64, Arc<Bundle>)>>);

impl Bundles {
    pub(crate) fn of(&self, trust_domain: &Str) -> Arc<Newest> {
        Arc::clone(self.by_domain.lock().entry(Str::clone(trust_domain)).or_default())
    }
}

impl Newest {
    /// Takes what request number `request` brought, unless a later one was answered first.
    fn offer(&self, trust_domain: &str, request: u64, bundle: &Arc<Bundle>) {
        let mut held = self.0.write();
        if held.as_ref().is_some_and(|(newest, _)| *newest > request) {
            return;
        }
        let before = held.as_ref().map(|(_, bundle)| Arc::clone(bundle));
        *held = Some((request, Arc::clone(bundle)));
        drop(held);
        if let Some(before) = before
            && !before.same_roots(bundle)
        {
            let (before, now) = (before.certificates.len(), bundle.certificates.len());
            info!(trust_domain, before, now, "the roots have changed; new handshakes use them");
        }
    }

    fn bundle(&self) -> Option<Arc<Bundle>> {
        self.0.read().as_ref().map(|(_, bundle)| Arc::clone(bundle))
    }
}

impl Bundle {
    fn same_roots(&self, other: &Self) -> bool {
        let ders = |bundle: &Self| bundle.certificates.iter().map(|c| c.der.clone()).collect::<Vec<_>>();
        ders(self) == ders(other)
    }
}

/// What one of our certificates checks peers against.
#[derive(Debug)]
pub(crate) struct Trust {
    own: Arc<Bundle>,
    trust_domain: Str,
    newest: Arc<Newest>,
    revocations: Arc<Revocations>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    pub(crate) fn new(
        own: Bundle,
        trust_domain: &Str,
        context: &TlsContext,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            own: Arc::new(own),
            trust_domain: Str::clone(trust_domain),
            newest: context.bundles.of(trust_domain),
            revocations: Arc::clone(&context.revocations),
            algorithms,
        }
    }

    pub(crate) const fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Makes the roots that request number `request` brought those of the whole trust domain: a rotation then reaches
    /// every identity of the node with the first renewal.
    pub(crate) fn publish(&self, request: u64) {
        self.newest.offer(&self.trust_domain, request, &self.own);
    }

    /// The roots of this moment.
    pub(crate) fn roots(&self) -> Roots {
        let newest = self.newest.bundle().filter(|newest| !Arc::ptr_eq(newest, &self.own));
        Roots { newest, own: Arc::clone(&self.own), algorithms: self.algorithms }
    }

    /// Parses and judges a chain.
    pub(crate) fn check<'a>(
        &self,
        chain: Presented<'a>,
        direction: Direction,
        now: UnixTime,
    ) -> Result<EndEntityCert<'a>, rustls::Error> {
        let leaf = EndEntityCert::try_from(chain.leaf).map_err(|_| CertificateError::BadEncoding)?;
        let roots = self.roots();
        roots.verify(chain, direction, now, None).map_err(refusal)?;
        self.revocations.admit(&roots, chain, direction, now).map_err(|error| {
            error.map_or_else(|| CertificateError::UnknownRevocationStatus.into(), refusal)
        })?;
        Ok(leaf)
    }

    /// Watches over a connection whose handshake has just succeeded.
    pub(crate) fn watch(&self, chain: Option<&[CertificateDer<'_>]>, direction: Direction) -> Standing {
        self.revocations.watch(chain, self.roots(), direction)
    }
}

/// The roots of one moment: a chain that leads to any of them is sound.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    /// `None` where it is our own.
    newest: Option<Arc<Bundle>>,
    own: Arc<Bundle>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Roots {
    /// Every root certificate once, the newest first.
    pub(crate) fn certificates(&self) -> Vec<&Certificate> {
        let mut all: Vec<&Certificate> = Vec::new();
        for certificate in self.bundles().flat_map(|bundle| &bundle.certificates) {
            if !all.iter().any(|known| known.der == certificate.der) {
                all.push(certificate);
            }
        }
        all
    }

    /// Whether the chain is sound at `now`, and not revoked by `list`.
    pub(crate) fn verify(
        &self,
        chain: Presented<'_>,
        direction: Direction,
        now: UnixTime,
        list: Option<&CertRevocationList<'_>>,
    ) -> Result<(), webpki::Error> {
        let verdict = self.verify_at(chain, direction, now, list);
        if let Err(webpki::Error::CertNotValidYet { not_before, .. }) = verdict
            && not_before.as_secs().saturating_sub(now.as_secs()) <= TOLERANCE.as_secs()
        {
            return self.verify_at(chain, direction, not_before, list);
        }
        verdict
    }

    fn verify_at(
        &self,
        chain: Presented<'_>,
        direction: Direction,
        at: UnixTime,
        list: Option<&CertRevocationList<'_>>,
    ) -> Result<(), webpki::Error> {
        let leaf = EndEntityCert::try_from(chain.leaf)?;
        let lists: Vec<_> = list.into_iter().collect();
        let mut verdict = Err(webpki::Error::UnknownIssuer);
        for bundle in self.bundles() {
            verdict = leaf
                .verify_for_usage(
                    self.algorithms.all,
                    &bundle.anchors,
                    chain.intermediates,
                    at,
                    direction.usage(),
                    revocation(&lists),
                    None,
                )
                .map(drop);
            if !verdict.as_ref().is_err_and(is_about_the_issuer) {
                break;
            }
        }
        verdict
    }

    fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        self.newest.iter().chain([&self.own]).map(AsRef::as_ref)
    }
}

/// As ztunnel and Envoy do: the whole chain, certificates that no list is about pass, and an old list is still a list.
fn revocation<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let options = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build(),
    )
}

/// Another bundle may hold the issuer, also one of the same name with another key.
fn is_about_the_issuer(error: &webpki::Error) -> bool {
    matches!(error, webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey)
}

/// The verdict on a chain in rustls's words, which also choose the alert that the peer reads.
fn refusal(error: webpki::Error) -> rustls::Error {
    if let webpki::Error::CertExpired { time, not_after } = error {
        return CertificateError::ExpiredContext { time, not_after }.into();
    }
    if let webpki::Error::CertNotValidYet { time, not_before } = error {
        return CertificateError::NotValidYetContext { time, not_before }.into();
    }
    if error == webpki::Error::CertRevoked {
        return CertificateError::Revoked.into();
    }
    if error == webpki::Error::UnknownIssuer {
        return CertificateError::UnknownIssuer.into();
    }
    if error == webpki::Error::InvalidSignatureForPublicKey {
        return CertificateError::BadSignature.into();
    }
    if error == webpki::Error::BadDer {
        return CertificateError::BadEncoding.into();
    }
    if matches!(error, webpki::Error::RequiredEkuNotFoundContext(_)) {
        return CertificateError::InvalidPurpose.into();
    }
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// How far a peer's certificate may lie ahead of our clock. Not every authority dates certificates back, and clocks of
/// a cluster differ; an end of validity is never stretched.
const TOLERANCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
