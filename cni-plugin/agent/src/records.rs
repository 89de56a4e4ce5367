//! One file a pod, from which the next agent knows the pods that proxies serve without asking anybody.

mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use serde::{Deserialize, Serialize};

use crate::eligible;
use crate::enroll::{Restored, Stage};
use crate::model::{Metadata, Pod, PodIp, PodSpec, PodStatus};
use crate::netns::{self, HostNetns, Netns, NetnsError, NetnsId};

pub use writer::Writer;

/// The directory of records. All methods block.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
    boot: String,
}

/// What one pod's file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// Namespaces of another boot are gone, whatever has their numbers now.
    boot_id: String,
    uid: String,
    namespace: String,
    name: String,
    service_account: String,
    /// Those that its rules follow.
    annotations: BTreeMap<String, String>,
    container: Option<String>,
    netns: PathBuf,
    dev: u64,
    inode: u64,
    ips: Vec<IpAddr>,
    stage: Stage,
}

/// What an earlier agent left.
#[derive(Debug, Default)]
pub struct Loaded {
    pub pods: Vec<Restored>,
    /// Every pod that a proxy may serve is among them.
    pub complete: bool,
}

/// Why records cannot be kept, or one of them cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{attempt} {path}")]
    Io {
        attempt: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is no record of a pod")]
    Malformed {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{path} is a record of version {found}; this agent reads version {VERSION}")]
    Version { path: PathBuf, found: u32 },
}

impl Record {
    /// What is to be known of a pod whose namespace is `netns`.
    #[must_use]
    pub fn new(pod: &Pod, netns: &Netns, container: Option<String>, ips: Vec<IpAddr>, stage: Stage) -> Self {
        let follows = |name: &str| eligible::OVERRIDES.contains(&name);
        let annotations = pod.metadata.annotations.iter().filter(|(name, _)| follows(name));
        Self {
            version: VERSION,
            boot_id: String::new(),
            uid: pod.metadata.uid.clone(),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            service_account: pod.service_account().to_owned(),
            annotations: annotations.map(|(name, value)| (name.clone(), value.clone())).collect(),
            container,
            netns: netns.path().to_owned(),
            dev: netns.id().dev,
            inode: netns.id().inode,
            ips,
            stage,
        }
    }

    /// The pod as far as the record tells.
    fn pod(&self, node: &str) -> Pod {
        Pod {
            metadata: Metadata {
                name: self.name.clone(),
                namespace: self.namespace.clone(),
                uid: self.uid.clone(),
                annotations: self.annotations.clone(),
                ..Metadata::default()
            },
            spec: PodSpec {
                node_name: node.to_owned(),
                service_account_name: self.service_account.clone(),
                ..PodSpec::default()
            },
            status: PodStatus {
                phase: "Running".to_owned(),
                pod_ips: self.ips.iter().map(|ip| PodIp { ip: ip.to_string() }).collect(),
                ..PodStatus::default()
            },
        }
    }

    /// The namespace on record, if it is still there and still the pod's.
    fn reopen(&self, host: &HostNetns) -> Result<Option<Netns>, NetnsError> {
        let netns = Netns::open(&self.netns)?;
        if netns.id() != (NetnsId { dev: self.dev, inode: self.inode }) {
            return Ok(None);
        }
        netns::check(&netns, host, &format!("{}/{}", self.namespace, self.name), &self.ips, &self.netns)?;
        Ok(Some(netns))
    }
}

impl Records {
    /// Uses `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or the kernel does not tell one boot from another.
    pub fn new(dir: PathBuf) -> Result<Self, RecordError> {
        fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        let boot = fs::read_to_string(BOOT_ID).map_err(io_error("read", Path::new(BOOT_ID)))?;
        Ok(Self { dir, boot: boot.trim().to_owned() })
    }

    /// What is on record of the pods of `node`. A file that cannot be used is told and passed over.
    #[must_use]
    pub fn load(&self, node: &str, host: &HostNetns) -> Loaded {
        let mut loaded = Loaded { pods: Vec::new(), complete: self.is_complete() };
        let files = match fs::read_dir(&self.dir) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "what an earlier agent left cannot be read");
                return Loaded::default();
            }
        };
        for path in files.filter_map(|file| Some(file.ok()?.path())) {
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            match read(&path) {
                Ok(record) if record.boot_id == self.boot => loaded.pods.push(restore(&record, node, host)),
                // Nothing of it lives.
                Ok(_) => drop(fs::remove_file(&path)),
                Err(error) => {
                    let why = crate::redirect::chain(&error);
                    tracing::warn!(why, "a pod's record cannot be used and is passed over");
                    loaded.complete = false;
                }
            }
        }
        loaded
    }

    /// Keeps a record, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, record: &Record) -> Result<(), RecordError> {
        let path = self.path(&record.uid);
        let stamped = Record { boot_id: self.boot.clone(), ..record.clone() };
        let bytes = serde_json::to_vec(&stamped)
            .map_err(|source| RecordError::Malformed { path: path.clone(), source })?;
        replace(&path, &bytes)
    }

    /// Removes a pod's record.
    ///
    /// # Errors
    /// It is still there.
    pub fn forget(&self, uid: &PodUid) -> Result<(), RecordError> {
        remove(&self.path(&uid.0))
    }

    /// Notes whether every pod that a proxy may serve has a record.
    ///
    /// # Errors
    /// It cannot be noted.
    pub fn complete(&self, complete: bool) -> Result<(), RecordError> {
        let path = self.dir.join(COMPLETE);
        if complete { replace(&path, self.boot.as_bytes()) } else { remove(&path) }
    }

    fn is_complete(&self) -> bool {
        fs::read_to_string(self.dir.join(COMPLETE)).is_ok_and(|boot| boot == self.boot)
    }

    /// UIDs name files; those made up from names hold a slash.
    fn path(&self, uid: &str) -> PathBuf {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let name: String = uid
            .bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("_{byte:02x}") })
            .collect();
        self.dir.join(format!("{name}.json"))
    }
}

fn restore(record: &Record, node: &str, host: &HostNetns) -> Restored {
    let pod = Arc::new(record.pod(node));
    let netns = record.reopen(host).unwrap_or_else(|error| {
        let why = crate::redirect::chain(&error);
        tracing::info!(pod = %pod.full_name(), why, "the namespace on record is not used; the pod is looked for");
        None
    });
    Restored { pod, container: record.container.clone(), netns: netns.map(Arc::new), stage: record.stage }
}

fn read(path: &Path) -> Result<Record, RecordError> {
    let malformed = |source| RecordError::Malformed { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error("open", path))?;
    file.take(RECORD_LIMIT).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(malformed)?;
    if version != VERSION {
        return Err(RecordError::Version { path: path.to_owned(), found: version });
    }
    serde_json::from_slice(&bytes).map_err(malformed)
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let aside = path.with_extension("new");
    let mut file = File::create(&aside).map_err(io_error("create", &aside))?;
    file.write_all(bytes).map_err(io_error("write", &aside))?;
    fs::rename(&aside, path).map_err(io_error("replace", path))
}

fn remove(path: &Path) -> Result<(), RecordError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn io_error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError::Io { attempt, path, source }
}

const VERSION: u32 = 1;
const COMPLETE: &str = "complete";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const RECORD_LIMIT: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
