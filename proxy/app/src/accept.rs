//! The accept loop, written once for all listeners of a pod.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::canonical;

/// Serves each connection in a task of its own until `stop`, then closes the listener at once: with `SO_REUSEPORT` the
/// next connection goes to the proxy that takes over.
pub(crate) async fn accept<S, F>(listener: TcpListener, stop: CancellationToken, tasks: TaskTracker, serve: S)
where
    S: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut rest = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                rest = Duration::ZERO;
                tasks.spawn(serve(stream, canonical(peer)));
            }
            Err(error) if is_exhaustion(&error) => {
                // Nothing to accept with: wait for connections to end instead of spinning.
                rest = (rest * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                tracing::warn!("cannot accept, next attempt in {rest:?}: {error}");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(rest) => {}
                }
            }
            // The connection failed before we saw it; the listener is fine.
            Err(error) => tracing::debug!("accept: {error}"),
        }
    }
    // What the kernel has completed for us already would be reset.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        tasks.spawn(serve(stream, canonical(peer)));
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .map(Errno::from_raw)
        .is_some_and(|errno| matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS))
}
