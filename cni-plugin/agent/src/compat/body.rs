//! The bodies of istio-cni's plugin, read as its agent reads them: keys in any case, unknown ones ignored.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The pod that starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) name: String,
    pub(super) namespace: String,
    /// A path on the host.
    pub(super) netns: String,
    pub(super) ips: Vec<IpAddr>,
}

/// One line of the plugin's log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Logged {
    level: Level,
    time: String,
    message: String,
    fields: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    netns: String,
    #[serde(default)]
    podname: String,
    #[serde(default)]
    podnamespace: String,
    #[serde(default)]
    ips: Option<Vec<RawIp>>,
}

#[derive(Deserialize)]
struct RawIp {
    address: RawAddress,
}

#[derive(Deserialize)]
struct RawAddress {
    ip: String,
}

impl Called {
    /// Says what is wrong where it cannot be read.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let document: Value =
            serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
        let raw: Raw = serde_json::from_value(folded(document))
            .map_err(|error| format!("the body is no event of istio-cni's plugin: {error}"))?;
        let required = |name: &str, value: String| {
            if value.is_empty() { Err(format!("{name} is empty")) } else { Ok(value) }
        };
        let ip = |raw: RawIp| {
            let text = raw.address.ip;
            text.parse::<IpAddr>()
                .map(|ip| ip.to_canonical())
                .map_err(|_| format!("IPs holds {text:?}, which is no address"))
        };
        Ok(Self {
            name: required("PodName", raw.podname)?,
            namespace: required("PodNamespace", raw.podnamespace)?,
            netns: required("Netns", raw.netns)?,
            ips: raw.ips.unwrap_or_default().into_iter().map(ip).collect::<Result<_, _>>()?,
        })
    }
}

impl Logged {
    /// The lines that can be read; others, and levels that nobody knows, are left out.
    pub(super) fn parse(body: &[u8]) -> Vec<Self> {
        let lines: Vec<String> = serde_json::from_slice(body).unwrap_or_default();
        lines.iter().filter_map(|line| Self::line(line)).collect()
    }

    fn line(line: &str) -> Option<Self> {
        let mut object: Map<String, Value> = serde_json::from_str(line).ok()?;
        let mut take = |key: &str| object.remove(key).and_then(|value| value.as_str().map(str::to_owned));
        let level = match take("level")?.as_str() {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" => Level::Warn,
            "error" => Level::Error,
            _ => return None,
        };
        let (time, message) = (take("time").unwrap_or_default(), take("msg").unwrap_or_default());
        let fields = if object.is_empty() { String::new() } else { Value::Object(object).to_string() };
        Some(Self { level, time, message, fields })
    }

    /// Writes the line into our log, as its plugin's.
    pub(super) fn repeat(&self) {
        let Self { level, time, message, fields } = self;
        match level {
            Level::Debug => tracing::debug!(target: "cni-plugin", said_at = time, fields, "{message}"),
            Level::Info => tracing::info!(target: "cni-plugin", said_at = time, fields, "{message}"),
            Level::Warn => tracing::warn!(target: "cni-plugin", said_at = time, fields, "{message}"),
            Level::Error => tracing::error!(target: "cni-plugin", said_at = time, fields, "{message}"),
        }
    }
}

/// Keys in lower case, at every depth.
fn folded(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            object.into_iter().map(|(key, value)| (key.to_lowercase(), folded(value))).collect()
        }
        Value::Array(list) => list.into_iter().map(folded).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}
