//! Finds out whether this kernel tells sockets by their cgroup, as cgroups are numbered and nested from where we stand.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use super::kubelet::{Cgroup, cgroup_path};
use super::nft::Nft;
use crate::error::RedirectError;
use crate::netns::in_new_netns;
use crate::routing::{loopback_up, with_netlink};

/// Tries with this process's own cgroup: a packet it sends must be seen by a rule for that. Kernels differ in whether
/// levels count from the root or from the cgroup namespace, and a rule that never matches would fail every probe.
pub(super) fn tried_out(nft: &Nft) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| cgroup_path(&text));
    let Some(cgroup) = own.and_then(|path| Cgroup::open(Path::new("/"), path)) else { return false };
    in_new_netns(|| seen(nft, &cgroup)).is_ok_and(|seen| seen)
}

fn seen(nft: &Nft, cgroup: &Cgroup) -> bool {
    let rule = format!(
        "table inet trial {{ chain output {{ type filter hook output priority 300; \
         socket cgroupv2 level {} \"{}\" counter; }}; }}",
        cgroup.level,
        cgroup.nft_path()
    );
    let sent = || -> Result<String, super::HostError> {
        nft.run(&["-f", "-"], Some(&rule))?;
        with_netlink(|handle| async move { loopback_up(&handle).await })?;
        UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.send_to(b"seen?", "127.0.0.1:9"))
            .map_err(RedirectError::Netlink)?;
        nft.run(&["list", "table", "inet", "trial"], None)
    };
    sent().is_ok_and(|listing| listing.contains("counter packets") && !listing.contains("counter packets 0"))
}
