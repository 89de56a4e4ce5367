//! Looks for the network namespaces of running pods: by name in a directory, then through /proc by cgroup.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;

use super::cgroup;
use super::{HostNetns, Netns, NetnsError, NetnsId};
use crate::config::Places;

/// A pod whose namespace is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub uid: PodUid,
    /// Under which the runtime knows it.
    pub runtime_uid: String,
    pub namespace: String,
    pub name: String,
    /// At least one of them must be in the namespace that is found.
    pub ips: Vec<IpAddr>,
}

/// What a search came to, for every pod that was wanted.
pub type Searched = BTreeMap<PodUid, Result<Arc<Netns>, NetnsError>>;

/// Answers whether one of the addresses is inside the namespace; [`super::owns`] outside of tests.
pub type Ownership<'a> = &'a dyn Fn(&Netns, &[IpAddr], &Path) -> Result<bool, NetnsError>;

/// One search for all of `wanted`. Blocking.
#[must_use]
pub fn find(places: &Places, host: &HostNetns, wanted: &[Wanted], owns: Ownership<'_>) -> Searched {
    let mut searched = Searched::new();
    let mut through_proc: BTreeMap<&str, &Wanted> = BTreeMap::new();
    for pod in wanted {
        match places.netns_dir.as_deref().and_then(|dir| by_name(dir, host, pod, owns)) {
            Some(result) => {
                searched.insert(pod.uid.clone(), result);
            }
            None => match through_proc.entry(pod.runtime_uid.as_str()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(pod);
                }
                Entry::Occupied(taken) => {
                    let why = format!("{} is known to the runtime by the same UID", taken.get().full_name());
                    searched.insert(pod.uid.clone(), Err(NetnsError::Search(why)));
                }
            },
        }
    }
    if through_proc.is_empty() {
        return searched;
    }
    let mut candidates = match scan(&places.proc_root, host, &through_proc, owns) {
        Ok(candidates) => candidates,
        Err(error) => {
            let why = error.to_string();
            searched.extend(
                through_proc.values().map(|pod| (pod.uid.clone(), Err(NetnsError::Search(why.clone())))),
            );
            return searched;
        }
    };
    for (uid, pod) in through_proc {
        let result = candidates
            .remove(uid)
            .map(|candidate| Arc::new(candidate.netns))
            .ok_or_else(|| NetnsError::NotFound { pod: pod.full_name() });
        searched.insert(pod.uid.clone(), result);
    }
    searched
}

impl Wanted {
    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// `None` when the directory does not name the pod.
fn by_name(
    dir: &Path,
    host: &HostNetns,
    pod: &Wanted,
    owns: Ownership<'_>,
) -> Option<Result<Arc<Netns>, NetnsError>> {
    let path = dir.join(format!("{}_{}", pod.namespace, pod.name));
    if !path.exists() {
        return None;
    }
    let open = || {
        let netns = Netns::open(&path)?;
        if host.is(netns.id()) {
            return Err(NetnsError::Host { pod: pod.full_name(), path: path.clone() });
        }
        if !owns(&netns, &pod.ips, &path)? {
            return Err(NetnsError::NotOwned {
                pod: pod.full_name(),
                ips: pod.ips.clone(),
                path: path.clone(),
            });
        }
        Ok(Arc::new(netns))
    };
    Some(open())
}

/// A namespace seen at one of the pod's processes.
struct Candidate {
    netns: Netns,
    /// In ticks since boot.
    started: u64,
}

/// Goes through all processes once.
///
/// A process of one pod may sit in the namespace of another (debuggers, agents) or of the host (a container
/// monitor). So the host's is passed over, a namespace must hold one of the pod's addresses, and among several the
/// one of the oldest process wins: the sandbox's own.
fn scan<'a>(
    proc_root: &Path,
    host: &HostNetns,
    wanted: &BTreeMap<&'a str, &Wanted>,
    owns: Ownership<'_>,
) -> Result<BTreeMap<&'a str, Candidate>, NetnsError> {
    let unreadable = |source| NetnsError::Io { attempt: "list", path: proc_root.to_owned(), source };
    let mut found: BTreeMap<&'a str, Candidate> = BTreeMap::new();
    let mut accepted: BTreeSet<NetnsId> = BTreeSet::new();
    for process in fs::read_dir(proc_root).map_err(unreadable)? {
        let Ok(process) = process else { continue };
        if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // A process that ends while it is looked at, or that may not be looked at, is not there.
        let Some((uid, candidate)) = look_at(&process.path(), host, &accepted, wanted) else {
            continue;
        };
        let Some(pod) = wanted.get(uid) else { continue };
        let path = process.path().join("ns/net");
        match owns(&candidate.netns, &pod.ips, &path) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                tracing::debug!(pod = %pod.full_name(), %error, "a namespace was passed over");
                continue;
            }
        }
        accepted.insert(candidate.netns.id());
        let older = found.get(uid).is_none_or(|known| candidate.started < known.started);
        if older {
            found.insert(uid, candidate);
        }
    }
    Ok(found)
}

/// The wanted pod that the process belongs to, with the namespace it is in, unless that is known already.
fn look_at<'a>(
    process: &Path,
    host: &HostNetns,
    accepted: &BTreeSet<NetnsId>,
    wanted: &BTreeMap<&'a str, &Wanted>,
) -> Option<(&'a str, Candidate)> {
    let text = fs::read_to_string(process.join("cgroup")).ok()?;
    let container = cgroup::container(&text)?;
    let (uid, _) = wanted.get_key_value(container.pod.as_str())?;
    let netns = Netns::open(&process.join("ns/net")).ok()?;
    if host.is(netns.id()) || accepted.contains(&netns.id()) {
        return None;
    }
    let started = started(&fs::read_to_string(process.join("stat")).ok()?)?;
    Some((uid, Candidate { netns, started }))
}

/// Field 22 of `/proc/<pid>/stat`. The command, field 2, may hold spaces and parentheses, so counting begins behind it.
fn started(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests;
