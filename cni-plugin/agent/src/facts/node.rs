//! What the kernel says of itself under /proc, read as text.

use serde::Serialize;

/// Limits that a node with many pods runs into; none where the kernel does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub inotify_instances: Option<u64>,
    pub inotify_watches: Option<u64>,
    pub open_files: Option<u64>,
}

impl Limits {
    pub(super) fn read(read: &impl Fn(&str) -> String) -> Self {
        let number = |path: &str| read(path).trim().parse().ok();
        Self {
            inotify_instances: number("sys/fs/inotify/max_user_instances"),
            inotify_watches: number("sys/fs/inotify/max_user_watches"),
            open_files: number("sys/fs/file-max"),
        }
    }
}

/// Which control groups a process is in, from its /proc/.../cgroup.
#[must_use]
pub fn cgroups(text: &str) -> &'static str {
    let unified = text.lines().any(|line| line.starts_with("0::"));
    let named = text.lines().any(|line| !line.starts_with("0::"));
    match (unified, named) {
        (true, false) => "v2",
        (true, true) => "hybrid",
        (false, true) => "v1",
        (false, false) => "unknown",
    }
}

/// Modules of /proc/modules that redirection may use, in the order of `MODULES`.
#[must_use]
pub fn modules(text: &str) -> Vec<String> {
    let loaded: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    MODULES.into_iter().filter(|name| loaded.contains(name)).map(str::to_owned).collect()
}

/// Programs that put the host's rules back when others change them.
#[must_use]
pub fn firewalls(running: &[String]) -> Vec<String> {
    FIREWALLS.into_iter().filter(|name| running.iter().any(|comm| comm == name)).map(str::to_owned).collect()
}

const FIREWALLS: [&str; 2] = ["firewalld", "ferm"];

const MODULES: [&str; 24] = [
    "nf_tables",
    "nft_compat",
    "nft_ct",
    "nft_nat",
    "nft_redir",
    "nft_socket",
    "nft_tproxy",
    "nft_chain_nat",
    "nf_nat",
    "nf_conntrack",
    "ip_tables",
    "ip6_tables",
    "iptable_nat",
    "iptable_mangle",
    "ip6table_nat",
    "ip6table_mangle",
    "xt_REDIRECT",
    "xt_connmark",
    "xt_mark",
    "xt_owner",
    "xt_set",
    "ip_set",
    "ip_set_hash_ip",
    "br_netfilter",
];
