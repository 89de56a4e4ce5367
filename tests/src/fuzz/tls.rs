//! Bytes of strangers: before anybody is authenticated, and in certificates that they present or a CA sends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proxy_core::model::Identity;
use proxy_mtls::{Credentials, CrlFile, Material, Revocations, TlsLimits, TlsPolicy, accept};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// Nobody is let in by bytes alone, and the answer is short.
pub(super) fn server(bytes: &[u8]) {
    static CREDENTIALS: OnceLock<Arc<Credentials>> = OnceLock::new();
    let credentials = CREDENTIALS.get_or_init(|| {
        Arc::new(Credentials::new(us(), material(), &TlsPolicy::default().into()).expect("good material"))
    });
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answered = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let to = listener.local_addr().expect("an address");
        let (client, server) = tokio::join!(TcpStream::connect(to), listener.accept());
        let (mut client, (server, _)) = (client.expect("connect"), server.expect("accept"));
        let saying = async {
            // It may have hung up.
            let _ = client.write_all(bytes).await;
            let _ = client.shutdown().await;
            let mut heard = Vec::new();
            let _ = client.read_to_end(&mut heard).await;
            heard.len()
        };
        let limits = TlsLimits { handshake: Duration::from_secs(20) };
        let (accepted, answered) = tokio::join!(accept(server, credentials, &limits), saying);
        assert!(accepted.is_err(), "let in: {accepted:?}");
        answered
    });
    assert!(answered <= 16 << 10, "{answered} bytes");
}

/// A certificate that is not for us is not used, whatever else is in it; a root that cannot be read vouches for nobody.
pub(super) fn certificate(bytes: &[u8]) {
    let good = material();
    for (chain, roots) in [
        (vec![bytes.to_vec()], good.roots.clone()),
        (vec![good.chain[0].clone(), bytes.to_vec()], good.roots.clone()),
        (good.chain.clone(), vec![bytes.to_vec()]),
    ] {
        let material = Material { chain, roots, key: good.key.clone() };
        let foreign = Identity::new("cluster.local", "ns", "somebody-else");
        assert!(Credentials::new(foreign, material.clone(), &TlsPolicy::default().into()).is_err());
        if let Ok(credentials) = Credentials::new(us(), material, &TlsPolicy::default().into()) {
            assert!(credentials.not_before() <= credentials.not_after() || credentials.not_after().is_zero());
        }
    }
}

/// A file of revocation lists is taken whole or not at all, and never twice with two results.
pub(super) fn revocations(bytes: &[u8]) {
    let path = std::env::temp_dir().join(format!("adit-fuzz-{}.crl", std::process::id()));
    std::fs::write(&path, bytes).expect("a file");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let counts = [0, 1].map(|_| {
        let revocations = Revocations::none();
        runtime.block_on(CrlFile::new(&path).begin(&revocations));
        format!("{:?}", revocations.counts())
    });
    std::fs::remove_file(&path).expect("the file");
    assert_eq!(counts[0], counts[1]);
}

fn us() -> Identity {
    Identity::new("cluster.local", "ns", "web")
}

/// A certificate of ours with its root and key, the same ones for the whole process.
fn material() -> Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(make).clone()
}

fn make() -> Material {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().expect("a key");
    let root_certificate = root.self_signed(&root_key).expect("a root");
    let issuer = Issuer::new(root, root_key);
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI(us().to_string().try_into().expect("ASCII"))];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    Material {
        chain: vec![leaf.der().to_vec()],
        roots: vec![root_certificate.der().to_vec()],
        key: key.serialize_der(),
    }
}
