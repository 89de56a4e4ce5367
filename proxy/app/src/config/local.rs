//! What is known without a control plane: resources written by hand, and the folder of the last good ones.

use std::path::PathBuf;
use std::time::Duration;

use proxy_core::decode;
use proxy_core::world::Change;
use xds_client::local::{Local, LocalError, Resources};

use super::ConfigError;
use super::raw::Reader;

/// Resources that were written by hand. They are there from the start, beside those of the control plane, or alone.
#[derive(Debug, Clone, Default)]
pub struct LocalConfig {
    /// As they were written.
    pub shown: Local,
    /// As the world takes them.
    pub changes: Vec<Change>,
}

/// The folder of the last good resources.
#[derive(Debug, Clone)]
pub struct SnapshotConfig {
    /// Where; on a disk that outlives the process.
    pub dir: PathBuf,
    /// How long the control plane may take before they serve.
    pub wait: Duration,
    /// Older ones are of no use: addresses have gone to other pods meanwhile.
    pub max_age: Duration,
}

pub(super) fn local(reader: &mut Reader<'_>) -> LocalConfig {
    let set = |name| reader.text(name).filter(|value| !value.is_empty());
    let (path, text) = (set(PATH), set(TEXT));
    let (name, value, text) = match (path, text) {
        (None, None) => return LocalConfig::default(),
        (Some(_), Some(_)) => {
            reader.refuse(ConfigError::Unsupported {
                name: PATH,
                why: "LOCAL_XDS is set too; set one of them",
            });
            return LocalConfig::default();
        }
        (None, Some(text)) => (TEXT, "(YAML)".to_owned(), Ok(text)),
        (Some(path), None) => {
            let text = std::fs::read_to_string(&path).map_err(|error| format!("read the file: {error}"));
            (PATH, path, text)
        }
    };
    text.and_then(|text| read(&text)).unwrap_or_else(|why| {
        reader.refuse(ConfigError::Variable { name, value, why });
        LocalConfig::default()
    })
}

fn read(text: &str) -> Result<LocalConfig, String> {
    let shown = Local::parse(DOCUMENT, text).map_err(|error| said(&error))?;
    let resources = shown.resources(DOCUMENT).map_err(|error| said(&error))?;
    let changes = changes(&resources)?;
    Ok(LocalConfig { shown, changes })
}

fn changes(resources: &Resources) -> Result<Vec<Change>, String> {
    let addresses = resources
        .addresses()
        .map(|(name, bytes)| decode::address(&name, &bytes).map_err(|error| error.to_string()));
    let policies = resources
        .authorizations()
        .map(|(name, bytes)| decode::authorization(&name, &bytes).map_err(|refused| refused.to_string()));
    addresses.chain(policies).collect()
}

/// An error and its causes.
fn said(error: &LocalError) -> String {
    xds_client::Report(error).to_string()
}

pub(super) fn snapshot(reader: &mut Reader<'_>) -> Option<SnapshotConfig> {
    let dir = reader.text("ADIT_SNAPSHOT_DIR").filter(|dir| !dir.is_empty());
    let wait = reader.duration("ADIT_SNAPSHOT_WAIT").unwrap_or(Duration::from_secs(5));
    let max_age = reader.duration("ADIT_SNAPSHOT_MAX_AGE").unwrap_or(Duration::from_secs(86_400));
    Some(SnapshotConfig { dir: dir?.into(), wait, max_age })
}

const PATH: &str = "LOCAL_XDS_PATH";
const TEXT: &str = "LOCAL_XDS";
const DOCUMENT: &str = "the local configuration";
