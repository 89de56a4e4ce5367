//! Who is meant: what people type, and what the cluster knows by that name.

use std::net::IpAddr;

use serde_json::Value;

use super::Error;
use crate::cluster::{Cluster, Selection};
use crate::object::{Id, list, number, text};

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Address(IpAddr),
    Pod {
        name: String,
        namespace: String,
    },
    /// What has pods: its kind, as the API has it.
    Owner {
        api: &'static str,
        kind: &'static str,
        name: String,
        namespace: String,
    },
}

impl Source {
    pub(super) fn parse(typed: &str, namespace: &str) -> Result<Self, Error> {
        if let Ok(address) = unbracketed(typed).parse() {
            return Ok(Self::Address(address));
        }
        let (kind, rest) = typed.split_once('/').unwrap_or(("pod", typed));
        let (name, namespace) = match rest.rsplit_once('.') {
            Some((name, namespace)) => (name, namespace),
            None => (rest, namespace),
        };
        if !is_name(name) || !is_name(namespace) {
            return Err(Error::Source(typed.to_owned()));
        }
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        let owner = |api, kind, name, namespace| Ok(Self::Owner { api, kind, name, namespace });
        match kind {
            "pod" | "pods" | "po" => Ok(Self::Pod { name, namespace }),
            "deploy" | "deployment" | "deployments" => owner("apps/v1", "Deployment", name, namespace),
            "sts" | "statefulset" | "statefulsets" => owner("apps/v1", "StatefulSet", name, namespace),
            "ds" | "daemonset" | "daemonsets" => owner("apps/v1", "DaemonSet", name, namespace),
            "rs" | "replicaset" | "replicasets" => owner("apps/v1", "ReplicaSet", name, namespace),
            "job" | "jobs" => owner("batch/v1", "Job", name, namespace),
            _ => Err(Error::Source(typed.to_owned())),
        }
    }

    /// As a proxy takes it, where no cluster can be asked.
    pub(super) fn for_proxy(&self) -> Result<String, Error> {
        match self {
            Self::Address(address) => Ok(address.to_string()),
            Self::Pod { name, namespace } => Ok(format!("{namespace}/{name}")),
            Self::Owner { kind, name, .. } => {
                Err(Error::Nobody(format!("only a cluster knows the pods of {kind} {name}: name a pod")))
            }
        }
    }

    pub(super) async fn find(self, cluster: &Cluster) -> Result<Found, Error> {
        let pod = match self {
            Self::Address(address) => {
                let fields = format!("status.podIP={address}");
                let which = Selection { fields: &fields, ..Selection::default() };
                let pods = cluster.list("v1", "Pod", which).await?;
                let pod = pods.iter().find(|pod| is_running(pod));
                return Ok(Found {
                    source: address.to_string(),
                    namespace: pod.map_or("default", |pod| text(pod, "/metadata/namespace")).to_owned(),
                    node: pod.map(|pod| text(pod, "/spec/nodeName").to_owned()),
                });
            }
            Self::Pod { name, namespace } => {
                let id = Id::new("v1", "Pod", &namespace, &name);
                cluster.get(&id).await?.ok_or_else(|| Error::Nobody(format!("there is no {id}")))?
            }
            Self::Owner { api, kind, name, namespace } => {
                let id = Id::new(api, kind, &namespace, &name);
                let owner =
                    cluster.get(&id).await?.ok_or_else(|| Error::Nobody(format!("there is no {id}")))?;
                let labels = selector(&owner);
                let which =
                    Selection { namespace: Some(&namespace), labels: &labels, ..Selection::default() };
                let mut pods = cluster.list("v1", "Pod", which).await?;
                pods.retain(is_running);
                pods.sort_by(|a, b| text(a, "/metadata/name").cmp(text(b, "/metadata/name")));
                let first = pods.into_iter().next();
                first.ok_or_else(|| Error::Nobody(format!("no pod of {id} runs")))?
            }
        };
        // By its address: a host's pods are known by no other name, and not to every proxy.
        let address = text(&pod, "/status/podIP");
        if address.is_empty() {
            let name = text(&pod, "/metadata/name");
            return Err(Error::Nobody(format!("pod {name} has no address yet")));
        }
        Ok(Found {
            source: address.to_owned(),
            namespace: text(&pod, "/metadata/namespace").to_owned(),
            node: Some(text(&pod, "/spec/nodeName").to_owned()),
        })
    }
}

/// A source as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) source: String,
    pub(super) namespace: String,
    pub(super) node: Option<String>,
}

/// To whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// A host name, `<namespace>/<pod>` or an address, as proxies take it.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// To whom, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Destination {
    pub(super) fn parse(typed: &str) -> Result<Self, Error> {
        let bad = || Error::Destination(typed.to_owned());
        // An IPv6 address has a port only behind brackets.
        if let Ok(address) = typed.parse::<std::net::Ipv6Addr>() {
            return Ok(Self { host: format!("[{address}]"), port: None });
        }
        let (host, port) = match typed.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?)),
            None => (typed, None),
        };
        if let Ok(address) = unbracketed(host).parse::<IpAddr>() {
            let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            return Ok(Self { host, port });
        }
        let host = match host.split_once('/') {
            None if is_name(host) => host.to_owned(),
            Some(("pod" | "pods" | "po", pod)) => {
                let (name, namespace) = pod.rsplit_once('.').unwrap_or((pod, "default"));
                if !is_name(name) || !is_name(namespace) {
                    return Err(bad());
                }
                format!("{namespace}/{name}")
            }
            Some(("svc" | "service" | "services", name)) if is_name(name) => name.to_owned(),
            Some(_) | None => return Err(bad()),
        };
        Ok(Self { host, port })
    }

    /// With the port of a service that has only one, and pods by their address.
    pub(super) async fn find(
        self,
        cluster: &Cluster,
        namespace: &str,
        typed: &str,
    ) -> Result<Reached, Error> {
        let Self { host, port } = self;
        if let Some((namespace, name)) = host.split_once('/') {
            let id = Id::new("v1", "Pod", namespace, name);
            let pod = cluster.get(&id).await?.ok_or_else(|| Error::Nobody(format!("there is no {id}")))?;
            let address = text(&pod, "/status/podIP");
            if address.is_empty() {
                return Err(Error::Nobody(format!("{id} has no address yet")));
            }
            let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let port = port.or_else(|| {
                only(list(&pod, "/spec/containers").iter().flat_map(|c| list(c, "/ports")), "/containerPort")
            });
            return Ok(Reached { host, port: port.ok_or_else(|| Error::Port(typed.to_owned()))? });
        }
        let port = match port {
            Some(port) => Some(port),
            None if host.parse::<IpAddr>().is_ok() || host.starts_with('[') => None,
            None => {
                let mut labels = host.split('.');
                let name = labels.next().unwrap_or_default();
                let id = Id::new("v1", "Service", labels.next().unwrap_or(namespace), name);
                cluster
                    .get(&id)
                    .await?
                    .and_then(|service| only(list(&service, "/spec/ports").iter(), "/port"))
            }
        };
        Ok(Reached { host, port: port.ok_or_else(|| Error::Port(typed.to_owned()))? })
    }
}

/// The number at `pointer`, if there is only one.
fn only<'a>(mut all: impl Iterator<Item = &'a Value>, pointer: &str) -> Option<u16> {
    let first = all.next()?;
    if all.next().is_some() {
        return None;
    }
    u16::try_from(number(first, pointer)).ok().filter(|port| *port > 0)
}

/// As kubectl's `-l` writes the labels that an object selects its pods by.
pub(super) fn selector(owner: &Value) -> String {
    let labels = owner.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let pairs = labels.into_iter().flatten();
    pairs
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(",")
}

fn is_running(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running"
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(fits)
}
