//! A proxy's `/config_dump`, read with the tolerance that its other readers have: lists may be maps, and fields be missing.

use serde_json::{Map, Value};

use super::{Direction, Error, Kind};
use crate::object::{list, text};

/// A whole dump.
#[derive(Clone, Debug)]
pub(crate) struct Dump(Value);

/// Which entries are wanted; every one by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pub(crate) workload_namespace: Option<String>,
    pub(crate) workload_node: Option<String>,
    pub(crate) workload_name: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) service_namespace: Option<String>,
    pub(crate) policy_namespace: Option<String>,
    pub(crate) direction: Option<Direction>,
    pub(crate) raw: bool,
}

impl Dump {
    /// `from` says whose it is.
    pub(crate) fn parse(text: &str, from: &str) -> Result<Self, Error> {
        let value: Value =
            serde_json::from_str(text).map_err(|source| Error::NotJson { from: from.to_owned(), source })?;
        // A dump of something else would look like one of an empty mesh.
        if PARTS.iter().all(|part| value.get(part).is_none()) {
            return Err(Error::NotADump { from: from.to_owned() });
        }
        Ok(Self(value))
    }

    pub(crate) fn workloads(&self, filters: &Filters) -> Vec<&Value> {
        let fits = |workload: &Value, field: &str, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| text(workload, field) == wanted)
        };
        let mut all = self.entries("workloads");
        all.retain(|workload| {
            fits(workload, "/namespace", &filters.workload_namespace)
                && fits(workload, "/node", &filters.workload_node)
                && fits(workload, "/name", &filters.workload_name)
                && filters.address.as_ref().is_none_or(|address| {
                    list(workload, "/workloadIps").iter().any(|ip| ip.as_str() == Some(address))
                })
        });
        sorted(all, ["/namespace", "/name", "/uid"])
    }

    pub(crate) fn services(&self, filters: &Filters) -> Vec<&Value> {
        let mut all = self.entries("services");
        if let Some(namespace) = &filters.service_namespace {
            all.retain(|service| text(service, "/namespace") == namespace);
        }
        sorted(all, ["/namespace", "/name", "/hostname"])
    }

    pub(crate) fn policies(&self, filters: &Filters) -> Vec<&Value> {
        let mut all = self.entries("policies");
        if let Some(namespace) = &filters.policy_namespace {
            all.retain(|policy| text(policy, "/namespace") == namespace);
        }
        sorted(all, ["/namespace", "/name", "/action"])
    }

    pub(crate) fn certificates(&self) -> Vec<&Value> {
        // Sorted by whom they are of already, and each with its own.
        self.entries("certificates")
    }

    /// Pods of the node with their connections, as far as they are wanted.
    pub(crate) fn states(&self, filters: &Filters) -> Vec<Value> {
        let mut all = self.entries("workloadState");
        if let Some(namespace) = &filters.workload_namespace {
            all.retain(|state| text(state, "/info/namespace") == namespace);
        }
        let all = sorted(all, ["/info/namespace", "/info/name", ""]);
        all.into_iter().map(|state| directed(state.clone(), filters.direction)).collect()
    }

    /// A part as the dump has it, without what is not wanted.
    pub(crate) fn part(&self, kind: Kind, filters: &Filters) -> Value {
        let all = |entries: Vec<&Value>| entries.into_iter().cloned().collect::<Vec<_>>().into();
        match kind {
            Kind::Workloads => all(self.workloads(filters)),
            Kind::Services => all(self.services(filters)),
            Kind::Policies => all(self.policies(filters)),
            Kind::Certificates => all(self.certificates()),
            Kind::Connections => self.states(filters).into(),
        }
    }

    fn entries(&self, part: &str) -> Vec<&Value> {
        match self.0.get(part) {
            Some(Value::Array(all)) => all.iter().collect(),
            Some(Value::Object(all)) => all.values().collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => Vec::new(),
        }
    }
}

/// The same pod with connections of one direction only.
fn directed(mut state: Value, direction: Option<Direction>) -> Value {
    let other = match direction {
        None => return state,
        Some(Direction::Inbound) => "outbound",
        Some(Direction::Outbound) => "inbound",
    };
    if let Some(connections) = state.get_mut("connections").and_then(Value::as_object_mut) {
        connections.insert(other.to_owned(), Vec::<Value>::new().into());
    }
    state
}

fn sorted<'a>(mut all: Vec<&'a Value>, keys: [&str; 3]) -> Vec<&'a Value> {
    let key = |value: &'a Value| keys.map(|key| text(value, key));
    all.sort_by(|a, b| key(a).cmp(&key(b)));
    all
}

/// Names for addresses, from everything that the dump knows.
pub(crate) struct Names(Map<String, Value>);

impl Names {
    pub(crate) fn of(dump: &Dump) -> Self {
        let mut names = Map::new();
        for service in dump.entries("services") {
            for vip in list(service, "/vips").iter().filter_map(Value::as_str) {
                names.insert(without_network(vip).to_owned(), text(service, "/hostname").into());
            }
        }
        for workload in dump.entries("workloads") {
            let name = format!("{}.{}", text(workload, "/name"), text(workload, "/namespace"));
            for ip in list(workload, "/workloadIps").iter().filter_map(Value::as_str) {
                names.insert(ip.to_owned(), name.clone().into());
            }
        }
        Self(names)
    }

    /// An address and port, by name where one is known.
    pub(crate) fn tell(&self, address: &str) -> String {
        let Ok(socket) = address.parse::<std::net::SocketAddr>() else {
            return address.to_owned();
        };
        match self.0.get(&socket.ip().to_string()).and_then(Value::as_str) {
            Some(name) => format!("{name}:{}", socket.port()),
            None => address.to_owned(),
        }
    }
}

/// The address of a `<network>/<address>`.
pub(crate) fn without_network(address: &str) -> &str {
    address.rsplit_once('/').map_or(address, |(_, address)| address)
}

const PARTS: [&str; 5] = ["workloads", "services", "policies", "certificates", "workloadState"];
