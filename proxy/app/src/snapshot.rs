//! The last good resources on this node's disk, to serve from when the control plane is away at the start.
//!
//! Never keys or certificates: without the certificate authority a workload has no identity, and its tunnels wait for one.

mod format;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use xds_client::{TypeUrl, Update};

use crate::config::{NodeConfig, SnapshotConfig};
use crate::metrics::SnapshotMetrics;

pub(crate) use format::{Kept, Snapshot};

/// Why there is no snapshot to serve from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// It is not there, or not for us.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not read as a whole.
    #[error("{} is not a snapshot that can be used, and is ignored", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: format::FormatError,
    },
    /// It is of another node, cluster or network.
    #[error("{} was kept by {kept:?}, this is {this:?}: it is ignored", path.display())]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// Who kept it.
        kept: String,
        /// Who we are.
        this: String,
    },
    /// Too much has changed since.
    #[error(
        "{} is {} s old, and ADIT_SNAPSHOT_MAX_AGE is {} s: it is ignored",
        path.display(), age.as_secs(), max.as_secs()
    )]
    Old {
        /// The file.
        path: PathBuf,
        /// Its age.
        age: Duration,
        /// The oldest that is taken.
        max: Duration,
    },
}

/// Keeps the snapshot up to date. What is kept in memory is what is on the disk soon after.
#[derive(Debug)]
pub(crate) struct Keeper {
    config: SnapshotConfig,
    /// Node, cluster and network: addresses mean nothing elsewhere.
    context: String,
    metrics: SnapshotMetrics,
    kept: Mutex<BTreeMap<(TypeUrl, String), Kept>>,
    changed: Notify,
}

impl Keeper {
    pub(crate) fn new(config: SnapshotConfig, node: &NodeConfig, metrics: SnapshotMetrics) -> Arc<Self> {
        let context = format!("{}/{}/{}", node.cluster_id, node.network, node.name);
        Arc::new(Self { config, context, metrics, kept: Mutex::default(), changed: Notify::new() })
    }

    /// Takes over a push, of which `refused` were not taken.
    pub(crate) fn note(&self, update: &Update, refused: &[xds_client::Refusal]) {
        let mut kept = self.kept.lock();
        for resource in &update.resources {
            if refused.iter().any(|refusal| refusal.name == resource.name) {
                continue; // its last good version stays
            }
            let entry = Kept { version: resource.version.clone(), value: resource.value.clone() };
            kept.insert((update.type_url, resource.name.clone()), entry);
        }
        for name in &update.removed {
            kept.remove(&(update.type_url, name.clone()));
        }
        drop(kept);
        self.changed.notify_one();
    }

    /// Writes what changed, not more often than every few seconds, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            sleep(GATHER).await;
            let keeper = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || keeper.write()).await {
                Ok(Ok(())) => drop(self.metrics.written.inc()),
                Ok(Err(error)) => {
                    self.metrics.failed.inc();
                    tracing::error!("keep the snapshot in {}: {error}", self.config.dir.display());
                }
                Err(error) => tracing::error!("keep the snapshot: {error}"),
            }
            sleep(PAUSE).await;
        }
    }

    pub(crate) fn write(&self) -> io::Result<()> {
        let bytes = {
            let kept = self.kept.lock();
            format::encode(&self.context, unix_now(), &kept)
        };
        fs::create_dir_all(&self.config.dir)?;
        let beside = self.config.dir.join(".snapshot.new");
        // A leftover of a crash may have other permissions than ours.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, self.path())?;
        File::open(&self.config.dir)?.sync_all()
    }

    /// Reads what an earlier process kept.
    ///
    /// # Errors
    /// It cannot be used; a start without one goes on waiting for the control plane.
    pub(crate) fn load(&self) -> Result<Snapshot, SnapshotError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(SnapshotError::Read { path, source }),
        };
        let snapshot = match format::decode(&bytes) {
            Ok(snapshot) => snapshot,
            Err(source) => return Err(SnapshotError::Format { path, source }),
        };
        if snapshot.context != self.context {
            return Err(SnapshotError::Elsewhere {
                path,
                kept: snapshot.context,
                this: self.context.clone(),
            });
        }
        let (age, max) = (snapshot.age(unix_now()), self.config.max_age);
        if age > max {
            return Err(SnapshotError::Old { path, age, max });
        }
        self.kept.lock().clone_from(&snapshot.resources);
        Ok(snapshot)
    }

    /// Says whether a snapshot is what serves.
    pub(crate) fn serves(&self, serves: bool) {
        self.metrics.serving.set(i64::from(serves));
    }

    /// How long the control plane may take.
    pub(crate) const fn wait(&self) -> Duration {
        self.config.wait
    }

    fn path(&self) -> PathBuf {
        self.config.dir.join("resources")
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A push rarely comes alone.
const GATHER: Duration = Duration::from_millis(500);
/// Between two writes: a busy cluster must not wear out a node's disk.
const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
