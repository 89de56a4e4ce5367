//! What the process needs from the kernel before it serves: descriptors, and the right to serve pods.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::StartError;
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

/// Enters our own namespace and marks a socket: whoever may do that may serve pods.
pub(super) fn check_privileges(mark: u32) -> Result<Arc<OwnedFd>, StartError> {
    let failed = |attempt| move |source| StartError::Privilege { attempt, source };
    let home = netns::home().map_err(failed("open the own network namespace"))?;
    let own = home.try_clone().map_err(failed("open the own network namespace"))?;
    let own = Netns::new(own, Arc::clone(&home)).map_err(failed("examine the own network namespace"))?;
    own.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_mark(mark)
    })
    .map_err(failed("enter a network namespace"))?
    .map_err(failed("set SO_MARK on a socket"))?;
    Ok(home)
}
