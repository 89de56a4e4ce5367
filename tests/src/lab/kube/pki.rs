//! What the API server proves itself with, and what it signs accounts' tokens with.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Writes a root into `home`, a certificate for a server of these addresses and names, and one by which that server is an
/// administrator to kubelets.
#[track_caller]
pub(super) fn write(home: &Path, addresses: &[IpAddr], names: &[&str]) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kubernetes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let root_pem = params.self_signed(&key).expect("a root").pem();
    let issuer = Issuer::new(params, key);

    let server_key = KeyPair::generate().expect("a key");
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut server = CertificateParams::new(names).expect("names of the server");
    server.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    let certificate = server.signed_by(&server_key, &issuer).expect("a certificate for the server");

    let client_key = KeyPair::generate().expect("a key");
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::OrganizationName, "system:masters");
    client.distinguished_name.push(DnType::CommonName, "kube-apiserver-kubelet-client");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let asks = client.signed_by(&client_key, &issuer).expect("a certificate for the server as a client");
    for (path, text) in [
        (root(home), root_pem),
        (home.join("kubelet-client.pem"), asks.pem()),
        (home.join("kubelet-client.key.pem"), client_key.serialize_pem()),
        (home.join("server.pem"), certificate.pem()),
        (home.join("server.key.pem"), server_key.serialize_pem()),
    ] {
        fs::write(path, text).expect("write the API server's certificates");
    }
}

/// What clients trust.
pub(super) fn root(home: &Path) -> PathBuf {
    home.join("ca.pem")
}

/// What signs accounts' tokens, to begin with.
pub(super) fn signs(home: &Path) -> PathBuf {
    home.join("accounts-1.key.pem")
}

/// Makes key number `number` for accounts' tokens: what signs them, and what they are checked with.
#[track_caller]
pub(super) fn account_key(home: &Path, number: u32) -> [PathBuf; 2] {
    let key = KeyPair::generate().expect("a key");
    [("key", key.serialize_pem()), ("public", key.public_key_pem())].map(|(kind, pem)| {
        let path = home.join(format!("accounts-{number}.{kind}.pem"));
        fs::write(&path, pem).expect("write a key for tokens");
        path
    })
}
