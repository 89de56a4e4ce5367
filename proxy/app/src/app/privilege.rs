//! What the process needs from the kernel before it serves: descriptors, and the right to serve pods.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::StartError;
use crate::config::{Config, ProxyMode};
use crate::net::netns::{self, Netns};

/// Many pods mean many sockets, and the soft limit is meant for shells.
pub(super) fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("cannot raise the limit of open files from {soft} to {hard}: {error}");
    }
}

/// What serving pods takes of the kernel.
pub(super) const NEEDED: &str = "CAP_SYS_ADMIN and CAP_NET_ADMIN";

/// Opens our own namespace; a shared proxy also enters it. Whoever may do that, and mark a socket, may serve pods.
pub(super) fn check_privileges(config: &Config) -> Result<Arc<OwnedFd>, StartError> {
    let failed = |attempt| move |source| StartError::Privilege { attempt, source };
    let home = netns::home().map_err(failed("open the own network namespace"))?;
    let mark = || match config.sockets.mark {
        Some(mark) => {
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?.set_mark(mark)
        }
        None => Ok(()),
    };
    let marked = match &config.mode {
        ProxyMode::Shared { .. } => {
            let own = home.try_clone().map_err(failed("open the own network namespace"))?;
            let own =
                Netns::new(own, Arc::clone(&home)).map_err(failed("examine the own network namespace"))?;
            own.run(mark).map_err(failed("enter a network namespace"))?
        }
        ProxyMode::Dedicated(_) => mark(),
    };
    marked.map_err(failed("set SO_MARK on a socket"))?;
    Ok(home)
}
