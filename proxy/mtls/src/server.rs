//! The accepting side of one handshake: any client of our trust domain, none without a certificate.

use std::sync::Arc;

use proxy_core::model::Identity;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::credentials::Credentials;
use crate::error::TlsError;
use crate::provider::TlsLimits;
use crate::revoke::Standing;
use crate::trust::Direction;
use crate::verify;

/// The accepting side of a mesh connection.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;

/// A finished handshake with a source.
#[derive(Debug)]
pub struct Accepted {
    /// Carries HTTP/2.
    pub stream: ServerStream,
    /// Who calls: the first SPIFFE identity of its certificate.
    pub peer: Identity,
    /// Whether it may stay.
    pub standing: Standing,
}

/// Shakes hands over `stream` as a server. Who may do what is for authorization to say, later.
///
/// # Errors
///
/// When the peer stalls, breaks the protocol, presents no certificate, one our roots do not vouch for or one of another
/// trust domain, or does not ask for h2.
pub async fn accept(
    stream: TcpStream,
    credentials: &Arc<Credentials>,
    limits: &TlsLimits,
) -> Result<Accepted, TlsError> {
    let acceptor = TlsAcceptor::from(credentials.server_config());
    let stream = tokio::time::timeout(limits.handshake, acceptor.accept(stream))
        .await
        .map_err(|_elapsed| TlsError::Timeout { limit: limits.handshake })?
        .map_err(TlsError::from_handshake)?;
    let session = stream.get_ref().1;
    let peer = verify::peer(session)?;
    let standing = credentials.watch(session.peer_certificates(), Direction::Inbound);
    Ok(Accepted { stream, peer, standing })
}

#[cfg(test)]
mod tests;
