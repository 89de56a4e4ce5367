//! The dialing side of one handshake: talk only to one of the expected identities.

use std::net::Ipv4Addr;
use std::sync::Arc;

use proxy_core::model::Identity;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::credentials::Credentials;
use crate::error::TlsError;
use crate::provider::TlsLimits;
use crate::revoke::Standing;
use crate::trust::Direction;
use crate::verify;

/// The dialing side of a mesh connection.
pub type ClientStream<S = TcpStream> = tokio_rustls::client::TlsStream<S>;

/// A finished handshake with a destination.
#[derive(Debug)]
pub struct Connected<S = TcpStream> {
    /// Carries HTTP/2.
    pub stream: ClientStream<S>,
    /// Who answered: the first SPIFFE identity of its certificate.
    pub peer: Identity,
    /// Whether it may stay.
    pub standing: Standing,
}

/// Shakes hands over `stream` as a client and insists on one of the `expected` identities; with none expected, nobody
/// will do.
///
/// In TLS 1.3 this succeeds before the server has judged our certificate: its refusal arrives as an alert on the first
/// read.
///
/// # Errors
///
/// When the peer stalls, breaks the protocol, presents another identity or a certificate our roots do not vouch for, or
/// does not choose h2.
pub async fn connect<S>(
    stream: S,
    credentials: &Arc<Credentials>,
    expected: &[Identity],
    limits: &TlsLimits,
) -> Result<Connected<S>, TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connector = TlsConnector::from(Arc::new(credentials.client_config(expected)));
    // An address is never sent as SNI, and the verifier looks at identities only.
    let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
    let stream = tokio::time::timeout(limits.handshake, connector.connect(name, stream))
        .await
        .map_err(|_elapsed| TlsError::Timeout { limit: limits.handshake })?
        .map_err(TlsError::from_handshake)?;
    let session = stream.get_ref().1;
    let peer = verify::peer(session)?;
    let standing = credentials.watch(session.peer_certificates(), Direction::Outbound);
    Ok(Connected { stream, peer, standing })
}
