//! The proxy that nobody announces: of the one workload a dedicated process is for, or of a shared process's own pod.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::config::{Config, ProxyMode, SocketConfig};
use crate::net::netns::Netns;
use crate::node::Node;
use crate::pod::{Bound, Place, Pod, Role};
use crate::workloads::Workloads;

/// Binds what the process serves in its own namespace, if anything.
///
/// # Errors
/// A port is taken, or needs a privilege that is missing.
pub(super) fn bind(
    config: &Config,
    node: &Arc<Node>,
    home: &Arc<OwnedFd>,
    data_plane: &Handle,
) -> Result<Option<Bound>, StartError> {
    let (info, sockets, roles) = match &config.mode {
        ProxyMode::Dedicated(info) => (info, Arc::clone(&node.sockets), Role::pod(node.socks5())),
        ProxyMode::Shared { itself: Some(info) } => (info, own(&node.sockets), &[Role::Tunnels][..]),
        ProxyMode::Shared { itself: None } => return Ok(None),
    };
    let here = Netns::here(home)
        .map_err(|source| StartError::Privilege { attempt: "examine the own network namespace", source })?;
    let place = Place { info: info.clone(), netns: here, sockets };
    // Sockets belong to the runtime they are made in.
    let _in = data_plane.enter();
    Pod::bind(place, roles, node).map(Some).map_err(StartError::Listen)
}

/// The process's own ports are no application's: nothing is redirected to or from them, and what scrapes them is shown
/// the address that the process itself has.
fn own(sockets: &SocketConfig) -> Arc<SocketConfig> {
    Arc::new(SocketConfig {
        mark: None,
        listener_mark: None,
        original_source: Some(false),
        reuse_port: false,
        ..sockets.clone()
    })
}

/// Serves what was bound once the world is known.
pub(super) async fn serve(
    bound: Bound,
    workloads: Workloads,
    mut synced: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        known = synced.wait_for(|synced| *synced) => if known.is_ok() {
            workloads.settle(bound.serve());
        }
    }
}
