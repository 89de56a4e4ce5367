//! A certificate authority for this crate's tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proxy_core::model::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList, CertificateRevocationListParams,
    CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};

use crate::trust::{Bundle, Trust};
use crate::{Credentials, Material, TlsContext, TlsPolicy};

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
    through: Option<Arc<CertifiedIssuer<'static, KeyPair>>>,
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
            Some(issuer) => (params.signed_by(&key, &*issuer).unwrap(), Some(issuer.der().to_vec())),
            None => (params.signed_by(&key, &self.root).unwrap(), None),
        };
        let chain = [leaf.der().to_vec()].into_iter().chain(intermediate).collect();
        Material { chain, roots: vec![self.root()], key: key.serialize_der() }
    }

    pub(crate) fn intermediate(&self) -> CertifiedIssuer<'static, KeyPair> {
        self.intermediate_numbered(1)
    }

    pub(crate) fn intermediate_numbered(&self, serial: u64) -> CertifiedIssuer<'static, KeyPair> {
        let key = KeyPair::generate().unwrap();
        let mut params = authority("intermediate");
        params.serial_number = Some(SerialNumber::from(serial));
        CertifiedIssuer::signed_by(params, key, &self.root).unwrap()
    }

    pub(crate) fn credentials(&self, identity: &Identity) -> Arc<Credentials> {
        credentials(identity, self.material(identity))
    }

    /// The certificate of `identity` with a serial number, among others of `context`.
    pub(crate) fn numbered(
        &self,
        identity: &Identity,
        serial: u64,
        context: &TlsContext,
    ) -> Arc<Credentials> {
        let material = self.sign(wanted().uri(identity).serial(serial));
        Arc::new(Credentials::new(identity.clone(), material, context).unwrap())
    }

    /// A list of the root's that names these serial numbers.
    pub(crate) fn list(&self, serials: &[u64]) -> CertificateRevocationList {
        self.list_until(serials, now().as_secs() + 3600)
    }

    /// As [`Self::list`], to be replaced at a time in seconds since the epoch.
    pub(crate) fn list_until(&self, serials: &[u64], next_update: u64) -> CertificateRevocationList {
        list(&self.root, serials, next_update)
    }
}

/// A list of `issuer`, to be replaced at a time in seconds since the epoch.
pub(crate) fn list(
    issuer: &Issuer<'_, KeyPair>,
    serials: &[u64],
    next_update: u64,
) -> CertificateRevocationList {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date(1_000),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date(1_000),
        next_update: date(next_update),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap()
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

    pub(crate) fn through(mut self, issuer: impl Into<Arc<CertifiedIssuer<'static, KeyPair>>>) -> Self {
        self.through = Some(issuer.into());
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
    Arc::new(Credentials::new(identity.clone(), material, &TlsPolicy::default().into()).unwrap())
}

/// What a verifier trusts that knows these authorities.
pub(crate) fn trust(authorities: &[&Ca]) -> Arc<Trust> {
    let algorithms = TlsPolicy::default().provider().signature_verification_algorithms;
    let roots: Vec<_> = authorities.iter().map(|ca| CertificateDer::from(ca.root())).collect();
    let anchors = roots.iter().map(|root| webpki::anchor_from_trusted_cert(root).unwrap().to_owned());
    let bundle = Bundle { anchors: anchors.collect(), certificates: Vec::new() };
    let context = TlsPolicy::default().into();
    Arc::new(Trust::new(bundle, &"cluster.local".into(), &context, algorithms))
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
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn date(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds.cast_signed()).unwrap()
}
