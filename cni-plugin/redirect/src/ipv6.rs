//! What the current network namespace makes of IPv6: asked of the namespace, never of the node.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;

use tracing::warn;

/// From less to more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ipv6 {
    /// The kernel has none, or every interface refuses it.
    None,
    /// Loopback refuses it, so replies cannot be brought back over it; other interfaces may speak it.
    NotOnLoopback,
    /// It works.
    Works,
}

/// Looks at the namespace of the calling thread.
pub(crate) fn ipv6() -> Ipv6 {
    let interfaces = match fs::read_dir(INTERFACES) {
        Ok(entries) => entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let refuses = fs::read_to_string(entry.path().join("disable_ipv6")).ok()?.trim() == "1";
            Some((name, refuses))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ipv6::None,
        Err(error) => {
            warn!(%error, directory = INTERFACES, "cannot tell whether the pod has IPv6; going on as if it had");
            return Ipv6::Works;
        }
    };
    judge(interfaces)
}

/// Whether anything can reach the pod over IPv6, or be reached, beyond its own link.
pub(crate) fn has_ipv6_addresses() -> bool {
    fs::read_to_string(ADDRESSES).is_ok_and(|table| table.lines().any(is_reachable))
}

/// From each interface and whether it refuses IPv6.
fn judge(interfaces: impl Iterator<Item = (String, bool)>) -> Ipv6 {
    let (mut some, mut loopback) = (false, false);
    // What holds for interfaces to come says nothing of those that are there.
    for (name, refuses) in interfaces.filter(|(name, _)| !matches!(name.as_str(), "all" | "default")) {
        some |= !refuses;
        loopback |= !refuses && name == "lo";
    }
    match (some, loopback) {
        (false, _) => Ipv6::None,
        (true, false) => Ipv6::NotOnLoopback,
        (true, true) => Ipv6::Works,
    }
}

/// A line of the table (address, interface index, prefix length, scope, flags, name) whose scope is global or site.
fn is_reachable(line: &str) -> bool {
    let scope = line.split_whitespace().nth(3).and_then(|scope| u8::from_str_radix(scope, 16).ok());
    scope.is_some_and(|scope| !matches!(scope, HOST | LINK))
}

const INTERFACES: &str = "/proc/sys/net/ipv6/conf";
const ADDRESSES: &str = "/proc/thread-self/net/if_inet6";
/// Scopes as the kernel's `net/ipv6.h` numbers them.
const HOST: u8 = 0x10;
const LINK: u8 = 0x20;
