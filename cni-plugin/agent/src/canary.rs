//! Proves that a pod is captured: a connection from inside its namespace to an address that belongs to nobody is
//! answered only by a redirection, and the kernel's list of sockets shows by whom.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use cni_plugin_redirect::{RedirectError, in_netns};
use cni_plugin_wire::canary;
use nix::errno::Errno;

use crate::netns::Netns;
use crate::sockets::{self, State};

/// Where a canary came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landing {
    /// At the proxy, for every family that the pod has.
    Proxy,
    /// Nowhere: the pod has no address, or no route beyond its own links, so that there was nothing to capture.
    Unroutable,
    /// At nobody's socket: refused, as where rules lead to a port that nobody listens on.
    Refused(String),
    /// Not at the proxy; the text says what happened instead.
    Missed(String),
}

/// Why it could not be told where a canary lands.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error("enter the pod's network namespace")]
    Enter(#[source] RedirectError),
    #[error("read the pod's addresses")]
    Addresses(#[source] nix::Error),
    #[error("open a canary connection to {to}")]
    Open {
        to: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("read the pod's sockets")]
    Sockets(#[source] io::Error),
}

/// Sends one canary for each family of the pod, and `ipv6` only where that is captured at all. Blocking, for a second at
/// most.
///
/// # Errors
/// It could not be sent, or what became of it could not be seen.
pub fn send(netns: &Netns, ipv6: bool) -> Result<Landing, CanaryError> {
    in_netns(netns.as_fd(), || {
        let (v4, v6) = families().map_err(CanaryError::Addresses)?;
        let targets = [(v4, canary::V4), (v6 && ipv6, canary::V6)];
        let mut landing = Landing::Unroutable;
        for (_, to) in targets.into_iter().filter(|(wanted, _)| *wanted) {
            match one(to)? {
                Landing::Unroutable => {}
                Landing::Proxy => landing = Landing::Proxy,
                missed @ (Landing::Refused(_) | Landing::Missed(_)) => return Ok(missed),
            }
        }
        Ok(landing)
    })
    .map_err(CanaryError::Enter)?
}

/// Whether the namespace has addresses of each family by which it could be left.
fn families() -> nix::Result<(bool, bool)> {
    let (mut v4, mut v6) = (false, false);
    for interface in nix::ifaddrs::getifaddrs()? {
        match crate::netns::ip_of(&interface) {
            Some(IpAddr::V4(ip)) => v4 |= !ip.is_loopback() && !ip.is_link_local(),
            Some(IpAddr::V6(ip)) => v6 |= !ip.is_loopback() && !ip.is_unicast_link_local(),
            None => {}
        }
    }
    Ok((v4, v6))
}

fn one(to: SocketAddr) -> Result<Landing, CanaryError> {
    let open = |source| CanaryError::Open { to, source };
    let stream = match TcpStream::connect_timeout(&to, ANSWER) {
        Ok(stream) => stream,
        Err(error) => return Ok(unanswered(to, &error)),
    };
    // It ends with a reset, and leaves nothing behind.
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
        .map_err(|error| open(error.into()))?;
    let own = stream.local_addr().map_err(open)?;
    let listed = sockets::listed().map_err(CanaryError::Sockets)?;
    Ok(judge(to, own, &listed))
}

fn unanswered(to: SocketAddr, error: &io::Error) -> Landing {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENETUNREACH | Errno::EADDRNOTAVAIL) => Landing::Unroutable,
        Some(Errno::ECONNREFUSED | Errno::ECONNRESET) => Landing::Refused(format!(
            "a connection to {to} was refused: nothing of the proxy's listens in the pod"
        )),
        _ => Landing::Missed(format!("a connection to {to} was not answered ({error})")),
    }
}

/// Whether the other end of the connection from `own` is a socket of the proxy's.
fn judge(to: SocketAddr, own: SocketAddr, listed: &[sockets::Socket]) -> Landing {
    let own = SocketAddr::new(own.ip().to_canonical(), own.port());
    let at_proxy = |socket: &&sockets::Socket| socket.local.port() == OUTBOUND;
    let Some(_) = listed.iter().filter(at_proxy).find(|socket| socket.remote == own) else {
        return Landing::Missed(format!(
            "a connection to {to} was answered, but not by a socket on port {OUTBOUND}"
        ));
    };
    let ours = nix::unistd::geteuid().as_raw();
    // A connection that nobody has accepted yet has no owner, so it is the listener that tells.
    let mut listeners =
        listed.iter().filter(at_proxy).filter(|socket| socket.state == State::Listen).peekable();
    let nobody = listeners.peek().is_none();
    match listeners.find(|socket| socket.uid != ours) {
        Some(other) => Landing::Missed(format!(
            "port {OUTBOUND} of the pod is listened on by user {}, which is not the proxy's",
            other.uid
        )),
        // The last one was closed while a connection of it went on: the proxy is leaving.
        None if nobody => Landing::Missed(format!("nothing listens on port {OUTBOUND} of the pod any more")),
        None => Landing::Proxy,
    }
}

/// Where outbound connections are redirected to.
const OUTBOUND: u16 = 15001;
/// Whoever answers is on this node.
const ANSWER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
