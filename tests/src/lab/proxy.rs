//! A proxy process: how the lab runs one, and what it can be asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::eventually::eventually;
use super::http;
use super::netns::Netns;
use super::observe::{AccessLine, Metrics};
use super::process::{Process, Program};

/// What a proxy needs to know to start.
#[derive(Debug, Clone)]
pub struct ProxySpec {
    /// What the lab calls it.
    pub name: String,
    /// The binary.
    pub path: PathBuf,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// The namespace it runs in.
    pub netns: Netns,
    /// Where its output goes.
    pub log: PathBuf,
}

impl ProxySpec {
    /// Starts it.
    #[track_caller]
    pub fn start(&self) -> Proxy {
        let program = Program::new(&self.path).args(["proxy", "ztunnel"]);
        let program = self.env.iter().fold(program, |program, (k, v)| program.env(k, v.clone()));
        let process = program.start(&self.name, &self.netns, &self.log);
        Proxy { process, netns: self.netns.clone() }
    }

    /// As the container would be given it, with one variable changed.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// What a dump says of one identity's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Of the leaf, decimal.
    pub serial: String,
    /// The serial numbers of what its peers are checked against, sorted.
    pub roots: Vec<String>,
}

impl Certified {
    fn of(entry: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let roots = entry["rootCerts"].as_array().into_iter().flatten();
        let mut roots: Vec<_> = roots.map(|root| text(&root["serialNumber"])).collect();
        roots.sort();
        Self { serial: text(&entry["certChain"][0]["serialNumber"]), roots }
    }
}

/// A running proxy; clones are the same one.
#[derive(Debug, Clone)]
pub struct Proxy {
    process: Process,
    netns: Netns,
}

impl Proxy {
    /// Its process.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// What `/metrics` says now.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let (status, text) = self.ask(STATS, "/metrics").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(status, 200, "{text}");
        Metrics::parse(&text)
    }

    /// What the readiness probe would see.
    pub fn readiness(&self) -> Result<(u16, String), String> {
        self.ask(READINESS, "/healthz/ready")
    }

    /// The whole `/config_dump`.
    pub fn config_dump(&self) -> Result<Value, String> {
        let (status, text) = self.ask(ADMIN, "/config_dump")?;
        if status != 200 {
            return Err(format!("/config_dump answered {status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|e| format!("/config_dump is not JSON: {e}"))
    }

    /// The certificates of the dump by identity: those in use.
    pub fn certificates(&self) -> Result<BTreeMap<String, Certified>, String> {
        let dump = self.config_dump()?;
        let all = dump["certificates"].as_array().ok_or("no certificates in the dump")?;
        let available = all.iter().filter(|entry| entry["state"] == "Available");
        Ok(available
            .map(|entry| (entry["identity"].as_str().unwrap_or_default().to_owned(), Certified::of(entry)))
            .collect())
    }

    /// The access log so far.
    pub fn access_log(&self) -> Vec<AccessLine> {
        AccessLine::all(&self.process.log())
    }

    /// Waits until it calls itself ready.
    #[track_caller]
    pub fn wait_ready(&self) -> &Self {
        eventually(format_args!("{} is ready", self.process.name()), || {
            self.process.assert_running();
            match self.readiness()? {
                (200, _) => Ok(()),
                (status, body) => Err(format!("{status} {}", body.trim())),
            }
        });
        self
    }

    /// Waits until it has a workload with this protocol, `HBONE` or `TCP`.
    #[track_caller]
    pub fn wait_workload(&self, namespace: &str, name: &str, protocol: &str) -> &Self {
        self.wait_dump(&format!("has {namespace}/{name} as {protocol}"), |dump| {
            let all = dump["workloads"].as_array().cloned().unwrap_or_default();
            match all.iter().find(|w| w["namespace"] == namespace && w["name"] == name) {
                None => Err(format!("no such workload among {}", all.len())),
                // The default protocol is omitted from the dump.
                Some(found) if found["protocol"].as_str().unwrap_or("TCP") == protocol => Ok(()),
                Some(found) => Err(format!("protocol {}", found["protocol"])),
            }
        })
    }

    /// Waits until it has lost a workload.
    #[track_caller]
    pub fn wait_no_workload(&self, namespace: &str, name: &str) -> &Self {
        self.wait_dump(&format!("has no {namespace}/{name}"), |dump| {
            let all = dump["workloads"].as_array().cloned().unwrap_or_default();
            match all.iter().find(|w| w["namespace"] == namespace && w["name"] == name) {
                None => Ok(()),
                Some(_) => Err("still there".to_owned()),
            }
        })
    }

    /// Waits until it has a service with at least so many endpoints.
    #[track_caller]
    pub fn wait_service(&self, namespace: &str, name: &str, endpoints: usize) -> &Self {
        self.wait_dump(&format!("has service {namespace}/{name} with {endpoints} endpoints"), |dump| {
            let all = dump["services"].as_array().cloned().unwrap_or_default();
            let found = all.iter().find(|s| s["namespace"] == namespace && s["name"] == name);
            let found = found.ok_or_else(|| format!("no such service among {}", all.len()))?;
            match found["endpoints"].as_object().map_or(0, serde_json::Map::len) {
                have if have >= endpoints => Ok(()),
                have => Err(format!("{have} endpoints")),
            }
        })
    }

    /// Waits until it has a policy, `namespace/name`, or until it has none by that name.
    #[track_caller]
    pub fn wait_policy(&self, policy: &str, present: bool) -> &Self {
        let (namespace, name) = policy.split_once('/').unwrap_or(("", policy));
        let verb = if present { "has" } else { "has lost" };
        self.wait_dump(&format!("{verb} policy {policy}"), |dump| {
            let all = dump["policies"].as_array().cloned().unwrap_or_default();
            let found = all.iter().any(|p| p["namespace"] == namespace && p["name"] == name);
            if found == present { Ok(()) } else { Err(format!("policies: {all:?}")) }
        })
    }

    /// Asks it to end as a kubelet does.
    pub fn terminate(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    /// Waits until its dump is as it should be.
    #[track_caller]
    pub fn wait_dump(&self, what: &str, look: impl Fn(&Value) -> Result<(), String>) -> &Self {
        eventually(format_args!("{} {what}", self.process.name()), || {
            self.process.assert_running();
            look(&self.config_dump()?)
        });
        self
    }

    fn ask(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        http::get(&self.netns, SocketAddr::from(([127, 0, 0, 1], port)), path)
    }
}

const ADMIN: u16 = 15000;
const STATS: u16 = 15020;
const READINESS: u16 = 15021;
