//! A tunnel inside a tunnel: TLS, HTTP/2 and one CONNECT with the peer that the next hop leads to.
//!
//! Such a connection is never shared: the gateway has chosen one peer for it, and the next one may be another's.

mod bytes;

use std::sync::Arc;

use h2::client::Connection;
use proxy_core::model::Identity;
use proxy_mtls::{ClientStream, Connected, Credentials, TlsLimits};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::{self, ConnectHead, Hold, LAST_MOMENT, Tunnel, Whole};
use crate::error::TunnelError;
use crate::keepalive;
use crate::piece::Piece;
use crate::settings::{Limits, Settings};
use bytes::StreamBytes;

/// Whom to meet behind the next hop, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Inside<'a> {
    /// Our own certificate.
    pub credentials: &'a Arc<Credentials>,
    /// Whom we insist on meeting.
    pub expected: &'a [Identity],
    /// How long the handshake may take.
    pub tls: &'a TlsLimits,
}

impl Tunnel {
    /// Opens a tunnel with the peer that this one leads to.
    ///
    /// The result stands for both: relaying through it, or dropping it, ends both.
    ///
    /// # Errors
    /// When that peer stalls, is somebody else, or refuses; always [`TunnelError::Inside`].
    pub async fn nest(
        self,
        inside: Inside<'_>,
        head: &ConnectHead,
        settings: &Settings,
    ) -> Result<Self, TunnelError> {
        Box::pin(nest(self, inside, head, settings)).await.map_err(TunnelError::inside)
    }
}

async fn nest(
    outer: Tunnel,
    inside: Inside<'_>,
    head: &ConnectHead,
    settings: &Settings,
) -> Result<Tunnel, TunnelError> {
    let request = head.request()?;
    let around = outer.revoked();
    let outer = StreamBytes::new(outer.into_stream());
    let Connected { stream, peer, standing } =
        proxy_mtls::connect(outer, inside.credentials, inside.expected, inside.tls)
            .await
            .map_err(|error| TunnelError::Tls(Arc::new(error)))?;
    let (requests, connection) = Box::pin(client::establish(Box::new(stream), settings)).await?;
    let revoked = CancellationToken::new();
    tokio::spawn({
        let tell = revoked.clone();
        let until = async move {
            tokio::select! {
                () = around => {}
                () = standing.revoked() => {}
            }
        };
        drive(connection, settings.limits.clone(), until, tell)
    });
    client::connect(Hold::Whole(Whole { requests, peer, revoked }), request, settings).await
}

/// Moves the connection's frames until its one stream is over, or its peer or the tunnel around it is gone or `revoked`,
/// of which the stream is told.
async fn drive(
    mut connection: Connection<Box<ClientStream<StreamBytes>>, Piece>,
    limits: Limits,
    revoked: impl Future<Output = ()>,
    tell: CancellationToken,
) {
    let pings = connection.ping_pong();
    tokio::select! {
        biased;
        () = revoked => {
            tracing::warn!("tunnel inside a tunnel closed: a certificate on the way is revoked");
            tell.cancel();
            // The stream resets itself when it is told. Whatever comes of it, the connection is over.
            let _ = timeout(LAST_MOMENT, connection).await;
        }
        ended = &mut connection => match ended {
            Ok(()) => tracing::debug!("tunnel inside a tunnel closed"),
            Err(error) => tracing::debug!("tunnel inside a tunnel failed: {error}"),
        },
        () = keepalive::until_dead(pings, &limits) => {
            let limit = limits.ping_timeout;
            tracing::warn!("tunnel inside a tunnel closed: no answer to a PING within {limit:?}");
        }
    }
}
