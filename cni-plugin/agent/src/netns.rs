//! A pod's network namespace as a descriptor, and the checks that it is the pod's and not the host's.

mod cgroup;
mod find;
mod finder;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cni_plugin_redirect::{RedirectError, in_netns};

pub use find::{Ownership, Searched, Wanted, find};
pub use finder::Finder;

/// What tells one namespace from another for as long as anything holds it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsId {
    pub dev: u64,
    pub inode: u64,
}

/// A network namespace, held open; the kernel keeps it for as long as this lives.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    id: NetnsId,
    path: PathBuf,
}

/// Namespaces that are nobody's but the node's.
#[derive(Clone, Debug, Default)]
pub struct HostNetns(Vec<NetnsId>);

/// Why a namespace is not used for a pod.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    #[error("pod {pod}: {path} is the host's own network namespace; capturing it would cut the node off")]
    Host { pod: String, path: PathBuf },
    #[error(
        "pod {pod}: none of its addresses {ips:?} is in the network namespace {path}: it is another pod's"
    )]
    NotOwned { pod: String, ips: Vec<IpAddr>, path: PathBuf },
    #[error("pod {pod}: no process and no file shows its network namespace")]
    NotFound { pod: String },
    #[error("{attempt} {path}")]
    Io {
        attempt: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("read the addresses of the network namespace {path}")]
    Addresses {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("enter the network namespace {path}")]
    Enter {
        path: PathBuf,
        #[source]
        source: RedirectError,
    },
    #[error("search for network namespaces was given up: {0}")]
    Search(String),
}

impl Netns {
    /// Takes a descriptor over; `path` says where it came from.
    ///
    /// # Errors
    /// The descriptor's identity cannot be read.
    pub fn from_fd(fd: OwnedFd, path: &Path) -> Result<Self, NetnsError> {
        let stat = rustix::fs::fstat(&fd).map_err(|error| NetnsError::Io {
            attempt: "read the identity of",
            path: path.to_owned(),
            source: error.into(),
        })?;
        let id = NetnsId { dev: stat.st_dev, inode: stat.st_ino };
        Ok(Self { fd, id, path: path.to_owned() })
    }

    /// Opens the namespace at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or its identity cannot be read.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        let file = File::open(path).map_err(|source| NetnsError::Io {
            attempt: "open",
            path: path.to_owned(),
            source,
        })?;
        Self::from_fd(file.into(), path)
    }

    /// Where it came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub const fn id(&self) -> NetnsId {
        self.id
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl HostNetns {
    /// The namespaces of the first process and of this one.
    ///
    /// A first process that may not be looked at, as in a user namespace, is left out: its namespace could not be
    /// entered either.
    ///
    /// # Errors
    /// This process's own namespace cannot be read.
    pub fn read(proc_root: &Path) -> Result<Self, NetnsError> {
        let own = Netns::open(Path::new("/proc/thread-self/ns/net"))?.id();
        let first = Netns::open(&proc_root.join("1/ns/net")).map(|netns| netns.id());
        Ok(Self(first.into_iter().chain([own]).collect()))
    }

    #[must_use]
    pub fn is(&self, id: NetnsId) -> bool {
        self.0.contains(&id)
    }
}

/// Whether one of `ips` is an address inside the namespace. Blocking.
///
/// # Errors
/// The namespace cannot be entered or its addresses cannot be read.
pub fn owns(netns: &Netns, ips: &[IpAddr], path: &Path) -> Result<bool, NetnsError> {
    let read = in_netns(netns.as_fd(), || {
        let addresses = nix::ifaddrs::getifaddrs()?;
        Ok::<_, nix::Error>(addresses.filter_map(|interface| ip_of(&interface)).collect::<Vec<_>>())
    });
    let inside = read
        .map_err(|source| NetnsError::Enter { path: path.to_owned(), source })?
        .map_err(|error| NetnsError::Addresses { path: path.to_owned(), source: error.into() })?;
    Ok(ips.iter().any(|ip| inside.contains(ip)))
}

pub(crate) fn ip_of(interface: &nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().to_canonical()))
}

/// Refuses a namespace that the plugin handed over for `pod` unless it can be the pod's. Blocking.
///
/// # Errors
/// It is the host's, or none of `ips` is in it, or that cannot be told. Without `ips` only the host's is refused.
pub fn check(
    netns: &Netns,
    host: &HostNetns,
    pod: &str,
    ips: &[IpAddr],
    path: &Path,
) -> Result<(), NetnsError> {
    if host.is(netns.id()) {
        return Err(NetnsError::Host { pod: pod.to_owned(), path: path.to_owned() });
    }
    // Entering it also proves that the descriptor is a network namespace at all.
    if owns(netns, ips, path)? || ips.is_empty() {
        return Ok(());
    }
    Err(NetnsError::NotOwned { pod: pod.to_owned(), ips: ips.to_vec(), path: path.to_owned() })
}

#[cfg(test)]
pub(crate) mod tests;
