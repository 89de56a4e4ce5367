//! Whether the proxy takes a pod's DNS: a look at the sockets of its network namespace. Rules without a listener behind
//! them would leave the pod without any DNS.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use tracing::warn;

use crate::error::RedirectError;
use crate::netns::in_netns;
use crate::plan::{DNS_PORT, DnsListeners};

/// Which families the proxy takes DNS for in the pod. Blocking.
///
/// # Errors
///
/// The namespace cannot be entered.
pub fn dns_listeners(netns: BorrowedFd<'_>) -> Result<DnsListeners, RedirectError> {
    in_netns(netns, || DnsListeners {
        v4: takes_dns(Ipv4Addr::LOCALHOST.into(), ["tcp", "udp"]),
        v6: takes_dns(Ipv6Addr::LOCALHOST.into(), ["tcp6", "udp6"]),
    })
}

/// A resolver needs both UDP and TCP.
fn takes_dns(address: IpAddr, [tcp, udp]: [&str; 2]) -> bool {
    let owner = nix::unistd::geteuid().as_raw();
    let listens = |table: &str, state| {
        let path = format!("/proc/thread-self/net/{table}");
        match std::fs::read_to_string(&path) {
            Ok(sockets) => sockets.lines().any(|line| is_socket(line, address, state, owner)),
            // A kernel without IPv6 has no such table.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => {
                warn!(%error, path, "cannot tell whether the proxy takes DNS; going on as if it did not");
                false
            }
        }
    };
    listens(tcp, TCP_LISTEN) && listens(udp, UDP_UNCONNECTED)
}

/// Whether a line of a table of sockets (proc(5), `/proc/net/tcp`) is the proxy's: bound to exactly the address that rules
/// redirect to, by the user that agents and proxies run as. An application's that has the port looks otherwise.
fn is_socket(line: &str, address: IpAddr, state: &str, owner: u32) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, in_state, _, _, _, uid, ..] = fields.as_slice() else {
        return false;
    };
    *local == written(address) && *in_state == state && uid.parse() == Ok(owner)
}

/// As the kernel writes it: words of four bytes as numbers of this machine.
fn written(address: IpAddr) -> String {
    let words: Vec<u32> = match address {
        IpAddr::V4(v4) => vec![u32::from_ne_bytes(v4.octets())],
        IpAddr::V6(v6) => v6.octets().as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word)).collect(),
    };
    let words: String = words.iter().map(|word| format!("{word:08X}")).collect();
    format!("{words}:{DNS_PORT:04X}")
}

const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";
