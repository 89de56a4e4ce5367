//! Finds out that a peer is gone although its connection never closed.

use std::future::pending;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use crate::settings::Limits;

/// Pings the peer forever, whatever else the connection carries; returns when a ping stayed without an answer.
pub(crate) async fn until_dead(pings: Option<PingPong>, limits: &Limits) {
    let Some(mut pings) = pings else { return pending().await };
    loop {
        sleep(limits.ping_interval).await;
        match timeout(limits.ping_timeout, pings.ping(Ping::opaque())).await {
            Ok(Ok(_pong)) => {}
            // The connection is over, and whoever drives it knows better why.
            Ok(Err(_)) => return pending().await,
            Err(_elapsed) => return,
        }
    }
}
