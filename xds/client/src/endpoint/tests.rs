use std::path::PathBuf;

use tonic::metadata::MetadataMap;

use super::{Credential, Endpoint, TrustAnchor};
use crate::error::ChannelError;

fn endpoint(credential: Credential) -> Endpoint {
    Endpoint {
        uri: http::Uri::from_static("https://istiod:15012"),
        trust: TrustAnchor::System,
        alt_hostname: None,
        credential,
        cluster_id: "east".to_owned(),
        headers: vec![("X-Org".to_owned(), "secret-value".to_owned())],
        tls12: false,
        pqc: false,
    }
}

fn metadata(endpoint: &Endpoint) -> Result<MetadataMap, ChannelError> {
    runtime().block_on(endpoint.metadata())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn missing() -> PathBuf {
    PathBuf::from("/nowhere/istio-token")
}

#[test]
fn a_token_travels_with_the_cluster_id() {
    let metadata = metadata(&endpoint(Credential::Token("abc".to_owned()))).unwrap();
    assert_eq!(metadata.get("authorization").unwrap(), "Bearer abc");
    assert_eq!(metadata.get("clusterid").unwrap(), "east");
    assert_eq!(metadata.get("x-org").unwrap(), "secret-value");
}

#[test]
fn without_a_token_the_cluster_id_stays_at_home() {
    let metadata = metadata(&endpoint(Credential::None)).unwrap();
    assert!(metadata.get("authorization").is_none());
    assert!(metadata.get("clusterid").is_none());
    assert_eq!(metadata.get("x-org").unwrap(), "secret-value");
}

#[test]
fn a_token_file_that_cannot_be_read_is_named() {
    let error = metadata(&endpoint(Credential::TokenFile(missing()))).unwrap_err();
    assert!(matches!(&error, ChannelError::ReadToken { path, .. } if *path == missing()), "{error:?}");
    assert!(error.to_string().contains("/nowhere/istio-token"), "{error}");
    assert!(error.to_string().contains("AUTH_TOKEN"), "{error}");
}

#[test]
fn an_empty_token_is_an_error() {
    let error = metadata(&endpoint(Credential::Token(String::new()))).unwrap_err();
    assert!(matches!(error, ChannelError::EmptyToken { .. }), "{error:?}");
}

#[test]
fn a_token_is_not_trimmed() {
    let error = metadata(&endpoint(Credential::Token("abc\n".to_owned()))).unwrap_err();
    assert!(matches!(error, ChannelError::TokenBytes { .. }), "{error:?}");
    assert!(error.to_string().contains("line break"), "{error}");
}

#[test]
fn a_header_that_http_cannot_carry_is_named() {
    for (name, value) in [("x org", "a"), ("x-org", "a\nb")] {
        let mut endpoint = endpoint(Credential::None);
        endpoint.headers = vec![(name.to_owned(), value.to_owned())];
        let error = metadata(&endpoint).unwrap_err();
        assert!(matches!(&error, ChannelError::Header { name: named } if named == name), "{error:?}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let endpoint = endpoint(Credential::Token("secret-value".to_owned()));
    let metadata = metadata(&endpoint).unwrap();
    let printed = format!("{endpoint:?} {metadata:?}");
    assert!(!printed.contains("secret-value"), "{printed}");
    assert!(printed.contains("X-Org"), "{printed}");
}
