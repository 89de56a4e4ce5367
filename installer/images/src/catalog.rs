//! What is in each image.

/// One image.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// The last part of its reference, and the name of its archive.
    pub name: &'static str,
    /// What it is, for people who look at its labels.
    pub description: &'static str,
    /// Packages that are taken with all that they depend on.
    pub packages: &'static [&'static str],
    /// Packages that are taken for their files alone.
    pub alone: &'static [&'static str],
    /// Programs of ours.
    pub programs: &'static [Program],
    /// Symbolic links, which packages make when they are installed.
    pub links: &'static [(&'static str, &'static str)],
    /// The program that a container starts.
    pub entrypoint: &'static str,
}

/// A program of ours.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// As cargo calls it.
    pub name: &'static str,
    /// Where it is in the image.
    pub path: &'static str,
    /// Where it finds its libraries.
    pub linkage: Linkage,
}

/// Where a program finds its libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// In the image.
    Shared,
    /// In itself: it leaves the image for nodes whose C library may be older, or musl.
    Static,
}

/// Every image, in the order in which they are written.
pub const IMAGES: [Image; 3] = [PROXY, AGENT, SAMPLE_APP];

const PROXY: Image = Image {
    name: "adit-proxy",
    description: "The node proxy of an ambient mesh, in the place of ztunnel",
    packages: LIBRARIES,
    alone: &["base-files", "ca-certificates", "netbase"],
    programs: &[Program { name: "adit-proxy", path: "usr/local/bin/adit-proxy", linkage: Linkage::Shared }],
    links: &[RUN],
    entrypoint: "/usr/local/bin/adit-proxy",
};

const AGENT: Image = Image {
    name: "adit-node-agent",
    description: "The node agent and CNI plugin of an ambient mesh, in the place of istio-cni",
    // The agent asks both generations of iptables, and nft, for what the node's kernel can do.
    packages: &["ipset", "iptables", "libc6", "libgcc-s1", "nftables"],
    alone: &["base-files", "ca-certificates", "netbase"],
    programs: &[
        Program { name: "adit-node-agent", path: "usr/local/bin/adit-node-agent", linkage: Linkage::Shared },
        Program { name: "adit-cni", path: "opt/cni/bin/adit-cni", linkage: Linkage::Static },
    ],
    links: &[
        RUN,
        // As update-alternatives chooses them.
        ("usr/sbin/iptables", "iptables-nft"),
        ("usr/sbin/iptables-restore", "iptables-nft-restore"),
        ("usr/sbin/iptables-save", "iptables-nft-save"),
        ("usr/sbin/ip6tables", "ip6tables-nft"),
        ("usr/sbin/ip6tables-restore", "ip6tables-nft-restore"),
        ("usr/sbin/ip6tables-save", "ip6tables-nft-save"),
    ],
    entrypoint: "/usr/local/bin/adit-node-agent",
};

const SAMPLE_APP: Image = Image {
    name: "sample-app",
    description: "A small HTTP server to try a mesh with",
    packages: LIBRARIES,
    alone: &["base-files", "ca-certificates", "netbase"],
    programs: &[Program { name: "sample-app", path: "usr/local/bin/sample-app", linkage: Linkage::Shared }],
    links: &[RUN],
    entrypoint: "/usr/local/bin/sample-app",
};

const LIBRARIES: &[&str] = &["libc6", "libgcc-s1"];
const RUN: (&str, &str) = ("var/run", "/run");

/// What packages hold that no program of an image reads. A path stands for all below it. What says under which licence
/// the rest may be passed on stays: see [`is_wanted`].
const LEFT_OUT: [&str; 31] = [
    "boot",
    "etc/ca-certificates",
    "etc/default",
    "etc/dpkg",
    "etc/issue",
    "etc/issue.net",
    "etc/nftables.conf",
    "etc/profile.d",
    "etc/skel",
    "etc/update-motd.d",
    "home",
    "media",
    "mnt",
    "srv",
    "usr/games",
    "usr/include",
    "usr/lib/systemd",
    "usr/share/base-files",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/dict",
    "usr/share/info",
    "usr/share/iptables",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/src",
    "var/backups",
    "var/local",
    "var/lock",
    "var/run",
];

/// Folders of libraries that only other programs ask for: character sets, auditors of the linker.
const LEFT_OUT_BELOW_LIB: [&str; 2] = ["gconv", "audit"];

/// Scripts: images have no shell.
const SCRIPTS: [&str; 3] =
    ["usr/sbin/ip6tables-apply", "usr/sbin/iptables-apply", "usr/sbin/update-ca-certificates"];

/// Whether a path of a package, without a leading slash, belongs into an image.
pub fn is_wanted(path: &str) -> bool {
    let below =
        |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|r| r.starts_with('/'));
    if below("usr/share/doc") {
        let depth = path.split('/').count();
        // A package may share the folder of another by a link of this depth.
        return depth <= DOC_DEPTH || path.ends_with("/copyright");
    }
    let mut parts = path.split('/');
    let in_lib = (parts.next(), parts.next()) == (Some("usr"), Some("lib"))
        && parts.nth(1).is_some_and(|folder| LEFT_OUT_BELOW_LIB.contains(&folder));
    !in_lib && !SCRIPTS.contains(&path) && !LEFT_OUT.iter().any(|left_out| below(left_out))
}

/// Parts of `usr/share/doc/<package>`.
const DOC_DEPTH: usize = 4;

#[cfg(test)]
mod tests;
