//! What Kubernetes would hold: the objects a mesh is made of, by kind, namespace and name.

pub mod kube;
pub mod mesh;
pub mod security;

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use kube::{EndpointSlice, Metadata, Namespace, Node, Phase, Pod, Service, ServiceAccount};
use mesh::MeshResources;
use security::{AuthorizationPolicy, PeerAuthentication};

pub use parse::{ObjectError, Parsed, parse};

/// The kinds that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Namespace,
    Node,
    Pod,
    Service,
    EndpointSlice,
    ServiceAccount,
    AuthorizationPolicy,
    PeerAuthentication,
    MeshResources,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One object of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    Namespace(Namespace),
    Node(Node),
    Pod(Box<Pod>),
    Service(Service),
    EndpointSlice(EndpointSlice),
    ServiceAccount(ServiceAccount),
    AuthorizationPolicy(AuthorizationPolicy),
    PeerAuthentication(PeerAuthentication),
    MeshResources(MeshResources),
}

impl Object {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
            Self::AuthorizationPolicy(_) => Kind::AuthorizationPolicy,
            Self::PeerAuthentication(_) => Kind::PeerAuthentication,
            Self::MeshResources(_) => Kind::MeshResources,
        }
    }

    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Namespace(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::ServiceAccount(object) => &object.metadata,
            Self::AuthorizationPolicy(object) => &object.metadata,
            Self::PeerAuthentication(object) => &object.metadata,
            Self::MeshResources(object) => &object.metadata,
        }
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::Namespace(object) => &mut object.metadata,
            Self::Node(object) => &mut object.metadata,
            Self::Pod(object) => &mut object.metadata,
            Self::Service(object) => &mut object.metadata,
            Self::EndpointSlice(object) => &mut object.metadata,
            Self::ServiceAccount(object) => &mut object.metadata,
            Self::AuthorizationPolicy(object) => &mut object.metadata,
            Self::PeerAuthentication(object) => &mut object.metadata,
            Self::MeshResources(object) => &mut object.metadata,
        }
    }

    /// A namespaced object without a namespace lands in `default`; a cluster-wide one has none.
    fn default_namespace(&mut self) {
        let cluster_wide = matches!(self.kind(), Kind::Namespace | Kind::Node | Kind::MeshResources);
        let metadata = self.metadata_mut();
        if cluster_wide {
            metadata.namespace.clear();
        } else if metadata.namespace.is_empty() {
            "default".clone_into(&mut metadata.namespace);
        }
    }
}

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Every object, at one moment. Later objects replace earlier ones of the same kind, namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    pub(crate) namespaces: BTreeMap<Key, Namespace>,
    pub(crate) nodes: BTreeMap<Key, Node>,
    pub(crate) pods: BTreeMap<Key, Pod>,
    pub(crate) services: BTreeMap<Key, Service>,
    pub(crate) slices: BTreeMap<Key, EndpointSlice>,
    pub(crate) accounts: BTreeMap<Key, ServiceAccount>,
    pub(crate) authorizations: BTreeMap<Key, AuthorizationPolicy>,
    pub(crate) peers: BTreeMap<Key, PeerAuthentication>,
    pub(crate) mesh: BTreeMap<Key, MeshResources>,
}

impl Objects {
    /// Adds an object or replaces the one of the same kind, namespace and name.
    pub fn upsert(&mut self, mut object: Object) {
        object.default_namespace();
        let metadata = object.metadata();
        let key = (metadata.namespace.clone(), metadata.name.clone());
        match object {
            Object::Namespace(object) => drop(self.namespaces.insert(key, object)),
            Object::Node(object) => drop(self.nodes.insert(key, object)),
            Object::Pod(object) => drop(self.pods.insert(key, *object)),
            Object::Service(object) => drop(self.services.insert(key, object)),
            Object::EndpointSlice(object) => drop(self.slices.insert(key, object)),
            Object::ServiceAccount(object) => drop(self.accounts.insert(key, object)),
            Object::AuthorizationPolicy(object) => drop(self.authorizations.insert(key, object)),
            Object::PeerAuthentication(object) => drop(self.peers.insert(key, object)),
            Object::MeshResources(object) => drop(self.mesh.insert(key, object)),
        }
    }

    /// Adds every object of some YAML text; `file` names it in errors. On an error nothing is added.
    ///
    /// # Errors
    ///
    /// As [`parse`].
    pub fn upsert_yaml(&mut self, file: &str, text: &str) -> Result<(), ObjectError> {
        parse(file, text)?.objects.into_iter().for_each(|object| self.upsert(object));
        Ok(())
    }

    /// Takes an object away; whether there was one. `namespace` is empty for what is cluster-wide: [`Kind::Namespace`],
    /// [`Kind::Node`] and [`Kind::MeshResources`].
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        match kind {
            Kind::Namespace => self.namespaces.remove(&key).is_some(),
            Kind::Node => self.nodes.remove(&key).is_some(),
            Kind::Pod => self.pods.remove(&key).is_some(),
            Kind::Service => self.services.remove(&key).is_some(),
            Kind::EndpointSlice => self.slices.remove(&key).is_some(),
            Kind::ServiceAccount => self.accounts.remove(&key).is_some(),
            Kind::AuthorizationPolicy => self.authorizations.remove(&key).is_some(),
            Kind::PeerAuthentication => self.peers.remove(&key).is_some(),
            Kind::MeshResources => self.mesh.remove(&key).is_some(),
        }
    }

    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// Changes a pod in place; whether there is one.
    pub fn edit_pod(&mut self, namespace: &str, name: &str, edit: impl FnOnce(&mut Pod)) -> bool {
        self.pods.get_mut(&(namespace.to_owned(), name.to_owned())).map(edit).is_some()
    }

    /// Sets a pod's annotation, or takes it away with `None`; whether there is such a pod.
    pub fn annotate_pod(&mut self, namespace: &str, name: &str, key: &str, value: Option<&str>) -> bool {
        self.edit_pod(namespace, name, |pod| {
            let annotations = &mut pod.metadata.annotations;
            match value {
                Some(value) => drop(annotations.insert(key.to_owned(), value.to_owned())),
                None => drop(annotations.remove(key)),
            }
        })
    }

    /// Whether a pod that has not failed runs under this service account, as istiod asks before it signs, or a workload
    /// that is given as it is.
    pub fn runs_as(&self, namespace: &str, service_account: &str) -> bool {
        let first = (namespace.to_owned(), String::new());
        let pod = self.pods.range(first..).take_while(|((of, _), _)| of == namespace).any(|(_, pod)| {
            pod.status.phase != Some(Phase::Failed) && pod.service_account() == service_account
        });
        pod || self.mesh.values().any(|given| given.runs_as(namespace, service_account))
    }
}

impl Pod {
    /// The service account it runs under; Kubernetes puts `default` where none is named.
    pub fn service_account(&self) -> &str {
        match self.spec.service_account_name.as_str() {
            "" => "default",
            name => name,
        }
    }
}
