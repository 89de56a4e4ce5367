//! A certificate authority for this crate's tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proxy_core::model::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};

use crate::verify::Trust;
use crate::{Credentials, Material, TlsPolicy};

pub(crate) struct Ca {
    root: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate to be signed.
pub(crate) struct Wanted {
    sans: Vec<SanType>,
    not_before: u64,
    not_after: u64,
    usage: Vec<ExtendedKeyUsagePurpose>,
    serial: u64,
    through: Option<CertifiedIssuer<'static, KeyPair>>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        Self::named("root")
    }

    pub(crate) fn named(name: &str) -> Self {
        Self { root: CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.root.der().to_vec()
    }

    /// An hour's certificate, begun a minute ago.
    pub(crate) fn material(&self, identity: &Identity) -> Material {
        self.sign(wanted().uri(identity))
    }

    pub(crate) fn sign(&self, wanted: Wanted) -> Material {
        let key = KeyPair::generate().unwrap();
        let params = wanted.params();
        let (leaf, intermediate) = match wanted.through {
            Some(issuer) => (params.signed_by(&key, &issuer).unwrap(), Some(issuer.der().to_vec())),
            None => (params.signed_by(&key, &self.root).unwrap(), None),
        };
        let chain = [leaf.der().to_vec()].into_iter().chain(intermediate).collect();
        Material { chain, roots: vec![self.root()], key: key.serialize_der() }
    }

    pub(crate) fn intermediate(&self) -> CertifiedIssuer<'static, KeyPair> {
        let key = KeyPair::generate().unwrap();
        CertifiedIssuer::signed_by(authority("intermediate"), key, &self.root).unwrap()
    }

    pub(crate) fn credentials(&self, identity: &Identity) -> Arc<Credentials> {
        credentials(identity, self.material(identity))
    }
}

impl Wanted {
    pub(crate) fn uri(mut self, uri: impl ToString) -> Self {
        self.sans.push(SanType::URI(uri.to_string().try_into().unwrap()));
        self
    }

    pub(crate) fn dns(mut self, name: &str) -> Self {
        self.sans.push(SanType::DnsName(name.try_into().unwrap()));
        self
    }

    /// Seconds since the epoch.
    pub(crate) fn valid(mut self, not_before: u64, not_after: u64) -> Self {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }

    pub(crate) fn only_for(mut self, usage: ExtendedKeyUsagePurpose) -> Self {
        self.usage = vec![usage];
        self
    }

    pub(crate) fn serial(mut self, serial: u64) -> Self {
        self.serial = serial;
        self
    }

    pub(crate) fn through(mut self, issuer: CertifiedIssuer<'static, KeyPair>) -> Self {
        self.through = Some(issuer);
        self
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names.clone_from(&self.sans);
        params.extended_key_usages.clone_from(&self.usage);
        params.not_before = date(self.not_before);
        params.not_after = date(self.not_after);
        params.serial_number = Some(SerialNumber::from(self.serial));
        params
    }
}

/// A certificate of nobody, for both uses, valid for an hour since a minute ago.
pub(crate) fn wanted() -> Wanted {
    let now = now().as_secs();
    Wanted {
        sans: Vec::new(),
        not_before: now - 60,
        not_after: now + 3540,
        usage: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        serial: 1,
        through: None,
    }
}

pub(crate) fn credentials(identity: &Identity, material: Material) -> Arc<Credentials> {
    Arc::new(Credentials::new(identity.clone(), material, TlsPolicy::default()).unwrap())
}

/// What a verifier trusts that knows these authorities.
pub(crate) fn trust(authorities: &[&Ca]) -> Arc<Trust> {
    let algorithms = TlsPolicy::default().provider().signature_verification_algorithms;
    let roots: Vec<_> = authorities.iter().map(|ca| CertificateDer::from(ca.root())).collect();
    let anchors = roots.iter().map(|root| webpki::anchor_from_trusted_cert(root).unwrap().to_owned());
    Arc::new(Trust { roots: anchors.collect(), algorithms })
}

pub(crate) fn identity(service_account: &str) -> Identity {
    Identity::new("cluster.local", "apps", service_account)
}

/// Both ends of a loopback connection: accepted, dialed.
pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let dialed = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, dialed)
}

/// Since the epoch.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn date(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds.cast_signed()).unwrap()
}
