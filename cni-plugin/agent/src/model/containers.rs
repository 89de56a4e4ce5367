//! Which ports of a pod the kubelet itself connects to: network probes and lifecycle hooks, by address and port.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

use super::{Pod, null_is_default};

/// A container, as far as the kubelet connects to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    #[serde(default)]
    pub name: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub ports: Vec<ContainerPort>,
    #[serde(default)]
    pub liveness_probe: Option<Handler>,
    #[serde(default)]
    pub readiness_probe: Option<Handler>,
    #[serde(default)]
    pub startup_probe: Option<Handler>,
    #[serde(default)]
    pub lifecycle: Option<Lifecycle>,
    /// `Always` makes a container of `initContainers` one that runs beside the others.
    #[serde(default)]
    pub restart_policy: Option<String>,
}

/// A port that a container gives a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub container_port: i64,
}

/// What is called after a container starts and before it is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    #[serde(default)]
    pub post_start: Option<Handler>,
    #[serde(default)]
    pub pre_stop: Option<Handler>,
}

/// A probe or hook; one that runs a program inside the container has none of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handler {
    #[serde(default)]
    pub http_get: Option<Endpoint>,
    #[serde(default)]
    pub tcp_socket: Option<Endpoint>,
    #[serde(default)]
    pub grpc: Option<Endpoint>,
}

/// Where a probe or hook connects to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    pub port: PortRef,
    /// Instead of the pod's own address.
    #[serde(default)]
    pub host: Option<String>,
}

/// A port by number or by the name that the container gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    Number(i64),
    Name(String),
}

/// A probe or hook whose port is none: the kubelet cannot connect either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "container {container:?}: {handler} names port {port}, which is neither a port number nor a port of the container"
)]
pub struct UnusablePort {
    pub container: String,
    pub handler: &'static str,
    pub port: PortRef,
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

impl Pod {
    /// The addresses and ports that the kubelet connects to: network probes and lifecycle hooks of its containers.
    #[must_use]
    pub fn probes(&self) -> BTreeSet<(IpAddr, u16)> {
        self.probes_at(&self.ips())
    }

    /// As [`Pod::probes`], for a pod whose addresses are known from elsewhere than its status.
    #[must_use]
    pub fn probes_at(&self, ips: &[IpAddr]) -> BTreeSet<(IpAddr, u16)> {
        let mut targets = BTreeSet::new();
        for (container, _, endpoint) in self.endpoints() {
            let Some(port) = endpoint.port.resolve(container) else { continue };
            match endpoint.host.as_deref().filter(|host| !host.is_empty()) {
                None => targets.extend(ips.iter().map(|ip| (*ip, port))),
                Some(host) => {
                    // Somewhere else than this pod: not a connection that its rules see.
                    let host = host.parse().map(|ip: IpAddr| ip.to_canonical());
                    targets.extend(host.ok().filter(|ip| ips.contains(ip)).map(|ip| (ip, port)));
                }
            }
        }
        targets
    }

    /// Probes and hooks that no port can be made of, for a warning.
    #[must_use]
    pub fn unusable_ports(&self) -> Vec<UnusablePort> {
        let unusable =
            self.endpoints().filter(|(container, _, endpoint)| endpoint.port.resolve(container).is_none());
        let said = unusable.map(|(container, handler, endpoint)| UnusablePort {
            container: container.name.clone(),
            handler,
            port: endpoint.port.clone(),
        });
        said.collect()
    }

    fn endpoints(&self) -> impl Iterator<Item = (&Container, &'static str, &Endpoint)> {
        let beside = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
        let containers = self.spec.containers.iter().chain(self.spec.init_containers.iter().filter(beside));
        containers.flat_map(|container| {
            let handlers = container.handlers().into_iter();
            handlers.flat_map(move |(name, handler)| {
                handler
                    .into_iter()
                    .flat_map(Handler::endpoints)
                    .map(move |endpoint| (container, name, endpoint))
            })
        })
    }
}

impl Container {
    fn handlers(&self) -> [(&'static str, Option<&Handler>); 5] {
        let lifecycle = self.lifecycle.as_ref();
        [
            ("livenessProbe", self.liveness_probe.as_ref()),
            ("readinessProbe", self.readiness_probe.as_ref()),
            ("startupProbe", self.startup_probe.as_ref()),
            ("lifecycle.postStart", lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref())),
            ("lifecycle.preStop", lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref())),
        ]
    }
}

impl Handler {
    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        [&self.http_get, &self.tcp_socket, &self.grpc].into_iter().flatten()
    }
}

impl PortRef {
    /// As the kubelet reads it: a name of this container's, else the text as a number.
    fn resolve(&self, container: &Container) -> Option<u16> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Name(name) => {
                match container.ports.iter().find(|port| !name.is_empty() && port.name == *name) {
                    Some(port) => port.container_port,
                    None => name.parse().ok()?,
                }
            }
        };
        u16::try_from(number).ok().filter(|port| *port != 0)
    }
}

#[cfg(test)]
mod tests;
