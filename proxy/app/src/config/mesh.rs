//! `ProxyConfig`: the mesh file's `defaultConfig`, and `PROXY_CONFIG` over it, field by field.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ConfigError;
use super::raw::Reader;

/// The keys of Istio's `ProxyConfig` that a node proxy reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ProxyConfig {
    pub(super) discovery_address: Option<String>,
    pub(super) proxy_admin_port: Option<u16>,
    pub(super) stats_port: Option<u16>,
    pub(super) concurrency: Option<u16>,
    pub(super) proxy_metadata: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MeshConfig {
    default_config: ProxyConfig,
}

impl ProxyConfig {
    /// The mesh file, when there is one, overridden by `PROXY_CONFIG`.
    pub(super) fn read(reader: &mut Reader<'_>, mesh_file: &str) -> Self {
        let base = match std::fs::read_to_string(mesh_file) {
            Ok(text) => match serde_saphyr::from_str::<MeshConfig>(&text) {
                Ok(mesh) => mesh.default_config,
                Err(error) => {
                    reader
                        .refuse(ConfigError::MeshFile { path: mesh_file.to_owned(), why: error.to_string() });
                    Self::default()
                }
            },
            // The file is optional: the chart mounts it only when the mesh has one.
            Err(_) => Self::default(),
        };
        let over = reader
            .parse_with("PROXY_CONFIG", |text| {
                serde_saphyr::from_str::<Self>(text).map_err(|e| e.to_string())
            })
            .unwrap_or_default();
        base.overridden_by(over)
    }

    fn overridden_by(mut self, over: Self) -> Self {
        self.discovery_address = over.discovery_address.or(self.discovery_address);
        self.proxy_admin_port = over.proxy_admin_port.or(self.proxy_admin_port);
        self.stats_port = over.stats_port.or(self.stats_port);
        self.concurrency = over.concurrency.or(self.concurrency);
        self.proxy_metadata.extend(over.proxy_metadata);
        self
    }

    /// Node metadata: keys with the prefix `ISTIO_META_` lose it, others stay as they are.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.proxy_metadata
            .iter()
            .map(|(k, v)| (k.strip_prefix("ISTIO_META_").unwrap_or(k).to_owned(), v.clone()))
    }
}
