//! A service: a virtual address in front of pods.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Shared;

/// A service that is about to be created.
pub struct ServiceBuilder {
    shared: Arc<Shared>,
    name: String,
    namespace: String,
    addresses: Vec<IpAddr>,
    selector: (String, String),
    ports: Vec<(u16, Value)>,
}

impl ServiceBuilder {
    pub(super) fn new(shared: &Arc<Shared>, name: &str, addresses: Vec<IpAddr>) -> Self {
        Self {
            shared: Arc::clone(shared),
            name: name.to_owned(),
            namespace: "default".to_owned(),
            addresses,
            selector: ("app".to_owned(), name.to_owned()),
            ports: Vec::new(),
        }
    }

    /// The namespace; `default` otherwise.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    /// The label of its pods; `app: <its name>` otherwise.
    pub fn select(mut self, key: &str, value: &str) -> Self {
        self.selector = (key.to_owned(), value.to_owned());
        self
    }

    /// Adds a port, and the pods' port behind it: a number or the name of a container port.
    pub fn port(mut self, port: u16, target: impl Into<Value>) -> Self {
        self.ports.push((port, target.into()));
        self
    }

    /// Without an address of its own: its name stands for its pods.
    pub fn headless(mut self) -> Self {
        self.addresses.clear();
        self
    }

    /// Creates it.
    pub fn create(self) -> Service {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let families: Vec<_> =
            self.addresses.iter().map(|a| if a.is_ipv4() { "IPv4" } else { "IPv6" }).collect();
        let (key, value) = &self.selector;
        self.shared.cluster.set(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": addresses.first().map_or("None", String::as_str),
                "clusterIPs": if addresses.is_empty() { json!(["None"]) } else { json!(addresses) },
                "ipFamilies": families,
                "selector": { key: value },
                "ports": self.ports.iter().map(|(port, target)| json!({
                    "name": format!("tcp-{port}"),
                    "port": port,
                    "targetPort": target,
                    "protocol": "TCP",
                })).collect::<Vec<_>>(),
            },
        }));
        Service { shared: self.shared, name: self.name, namespace: self.namespace, addresses: self.addresses }
    }
}

/// A service.
pub struct Service {
    shared: Arc<Shared>,
    name: String,
    namespace: String,
    addresses: Vec<IpAddr>,
}

impl Service {
    /// Its first virtual address.
    pub fn ip(&self) -> IpAddr {
        self.addresses[0]
    }

    /// Its first virtual address with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }

    /// Its name in DNS.
    pub fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }

    /// Waits until every node's proxy knows so many endpoints behind it.
    #[track_caller]
    pub fn wait_endpoints(&self, endpoints: usize) -> &Self {
        for node in &self.shared.nodes {
            node.proxy().wait_service(&self.namespace, &self.name, endpoints);
        }
        self
    }
}
