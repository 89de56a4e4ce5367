//! Where a control-plane service is, what proves it genuine, and how we prove ourselves to it.

use std::fmt;
use std::path::PathBuf;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::Scheme;
use tonic::metadata::MetadataMap;

use crate::error::ChannelError;

/// The certificates that a control-plane server's certificate must lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustAnchor {
    /// A file of PEM certificates, read again for every connection, so that a rotated root needs no restart.
    File(PathBuf),
    /// PEM certificates.
    Pem(String),
    /// The operating system's roots, read again for every connection.
    System,
}

/// What we show to the control plane.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A file that holds a bearer token, read again for every request. Its bytes are sent as they are.
    TokenFile(PathBuf),
    /// A bearer token.
    Token(String),
    /// Neither a token nor a cluster id is sent.
    None,
}

/// One control-plane service.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://host:port`. `http://` speaks plaintext HTTP/2 and is meant for tests: tokens travel readable.
    pub uri: http::Uri,
    /// What the server's certificate must lead to.
    pub trust: TrustAnchor,
    /// A second DNS name that is accepted in the server's certificate when the URI's host is not in it.
    pub alt_hostname: Option<String>,
    /// What we show.
    pub credential: Credential,
    /// The cluster this node belongs to; sent beside a token.
    pub cluster_id: String,
    /// Further headers for every request. Names are lower-cased.
    pub headers: Vec<(String, String)>,
    /// Whether TLS 1.2 is spoken too; otherwise only 1.3.
    pub tls12: bool,
    /// Whether only the hybrid post-quantum key exchange X25519MLKEM768 will do.
    pub pqc: bool,
}

impl Endpoint {
    /// What to say when there is nothing to check against: the trust anchor in words.
    pub(crate) fn trust_text(&self) -> String {
        match &self.trust {
            TrustAnchor::File(path) => format!("file {}", path.display()),
            TrustAnchor::Pem(_) => "the configured PEM text".to_owned(),
            TrustAnchor::System => "the operating system's store".to_owned(),
        }
    }

    /// Says once that a token will travel in the open.
    pub(crate) fn warn_when_readable(&self) {
        if self.uri.scheme() == Some(&Scheme::HTTP) && self.credential != Credential::None {
            tracing::warn!("{} is plaintext: our token can be read on the way; use https://", self.uri);
        }
    }

    /// The headers of one request; reads the token's file.
    pub(crate) async fn metadata(&self) -> Result<MetadataMap, ChannelError> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, value) in &self.headers {
            let bad = || ChannelError::Header { name: name.clone() };
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            headers.append(key, secret(value).ok_or_else(bad)?);
        }
        if let Some(bearer) = self.bearer().await? {
            headers.insert(AUTHORIZATION, bearer);
            let id = HeaderValue::from_str(&self.cluster_id)
                .map_err(|_| ChannelError::Header { name: "clusterid".to_owned() })?;
            headers.insert(HeaderName::from_static("clusterid"), id);
        }
        Ok(MetadataMap::from_headers(headers))
    }

    async fn bearer(&self) -> Result<Option<HeaderValue>, ChannelError> {
        let (token, from) = match &self.credential {
            Credential::None => return Ok(None),
            Credential::Token(token) => (token.clone(), "the configured token".to_owned()),
            Credential::TokenFile(path) => {
                let token = tokio::fs::read_to_string(path)
                    .await
                    .map_err(|source| ChannelError::ReadToken { path: path.clone(), source })?;
                (token, format!("token file {}", path.display()))
            }
        };
        if token.is_empty() {
            return Err(ChannelError::EmptyToken { from });
        }
        match secret(&format!("Bearer {token}")) {
            Some(value) => Ok(Some(value)),
            None => Err(ChannelError::TokenBytes { from }),
        }
    }
}

/// A header value that is neither printed nor kept in HPACK's table (RFC 7541 7.1.3).
fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenFile(path) => f.debug_tuple("TokenFile").field(path).finish(),
            Self::Token(_) => f.write_str("Token(..)"),
            Self::None => f.write_str("None"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("uri", &self.uri)
            .field("trust", &self.trust)
            .field("alt_hostname", &self.alt_hostname)
            .field("credential", &self.credential)
            .field("cluster_id", &self.cluster_id)
            .field("headers", &names)
            .field("tls12", &self.tls12)
            .field("pqc", &self.pqc)
            .finish()
    }
}

const AGENT: &str = concat!("adit/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;
