//! Which backend this node uses, remembered across restarts: evidence changes as agents come and go, the choice does not.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use cni_plugin_redirect::{Backend, Kind, RedirectError, Variant, Wish, choose, in_netns};
use serde::{Deserialize, Serialize};

use super::chain;

/// What is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The backend in use.
    backend: String,
    /// Why it is this one.
    why: String,
    /// What the operator wanted then; another wish makes this record void.
    wish: String,
}

/// Finds a backend that works, the recorded one before any other, and records it. Blocking.
///
/// # Errors
/// Nothing on this node can load the rules.
pub fn settle(run_dir: &Path, wish: Wish, proc_root: &Path) -> Result<Backend, RedirectError> {
    let path = run_dir.join(FILE);
    let before = read(&path);
    let recorded = before.as_ref().filter(|record| record.wish == written(wish));
    let recorded = recorded.and_then(|record| record.backend.parse::<Kind>().ok());
    // In a user namespace the node's own may be closed to us: then ours is all there is to see.
    let host = File::open(proc_root.join("1/ns/net")).ok();
    let host = host.filter(|host| in_netns(host.as_fd(), || ()).is_ok());
    let chosen = choose(wish, recorded, host.as_ref().map(AsFd::as_fd))?;
    let kind = chosen.backend.kind();
    tracing::info!(backend = %kind, why = chosen.why, ipv6 = chosen.backend.ipv6().is_ok(), "redirection rules");
    let why = match before.filter(|_| recorded == Some(kind)) {
        Some(before) => before.why,
        None => chosen.why,
    };
    let record = Record { backend: kind.to_string(), why, wish: written(wish).to_owned() };
    if let Err(error) = write(&path, &record) {
        let error = chain(&error);
        tracing::warn!(error, "the choice is not written down and will be made anew by the next start");
    }
    Ok(chosen.backend)
}

fn read(path: &Path) -> Option<Record> {
    let text = fs::read(path).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(
            |error| tracing::warn!(%error, path = %path.display(), "the record of the backend is void"),
        )
        .ok()
}

fn write(path: &Path, record: &Record) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(record)?)?;
    fs::rename(new, path)
}

const fn written(wish: Wish) -> &'static str {
    match wish {
        Wish::Auto => "auto",
        Wish::Nftables => "nftables",
        Wish::Iptables(None) => "any iptables",
        Wish::Iptables(Some(Variant::Legacy)) => "iptables-legacy",
        Wish::Iptables(Some(Variant::Nft)) => "iptables-nft",
        Wish::Iptables(Some(Variant::Plain)) => "iptables",
    }
}

/// In the run dir.
const FILE: &str = "redirect-backend.json";
