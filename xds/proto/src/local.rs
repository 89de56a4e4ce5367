//! Resources written by hand: what istiod would send, as YAML in the format of ztunnel's local configuration.
//!
//! Every field that may be left out is an `Option`, so that a document can also say "only this" of a resource that comes
//! from elsewhere ([`Resources::overlay`]).

mod policy;
mod service;
mod value;
mod workload;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::istio::security::Authorization;
use crate::istio::workload::address::Type;
use crate::istio::workload::{Address, Service as WireService, Workload as WireWorkload};

pub use policy::{Action, Match, Policy, Scope, ServiceAccountMatch, StringMatch};
pub use service::{
    Endpoint, HealthPolicy, IpFamilies, LoadBalancer, Mode, NetworkCidr, Preference, Service, Visibility,
    WeightedWaypoint,
};
pub use value::{Destination, Gateway, NetworkIp, Ports, ServiceKey, ValueError};
pub use workload::{
    ApplicationTunnel, Locality, NetworkMode, Protocol, Status, TunnelProtocol, Workload, WorkloadType,
};

/// One document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Local {
    pub workloads: Vec<Workload>,
    pub services: Vec<Service>,
    pub policies: Vec<Policy>,
}

/// Why a document was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("{document} is not valid YAML")]
    Yaml {
        document: String,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    #[error("{document}: {field} cannot be read")]
    Field {
        document: String,
        field: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{document}: {fault}")]
    Fault { document: String, fault: Fault },
}

/// What makes no sense in one entry of a document. The entry is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// `list[index]`, and the field if it is one alone.
    pub field: String,
    pub why: Why,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Why {
    #[error("missing; give it, for no other resource of this name says it either")]
    Missing,
    #[error("{0:?} is in this document twice; give each its own name")]
    Twice(String),
    #[error("there is no workload {0:?}; list it under workloads, with this uid")]
    NoSuchWorkload(String),
    #[error("an endpoint is as healthy as its workload; say status there")]
    EndpointStatus,
}

impl Local {
    /// Reads a YAML text; `document` names it in errors.
    ///
    /// # Errors
    ///
    /// The text is no YAML, or has a field that is not known or of the wrong form.
    pub fn parse(document: &str, text: &str) -> Result<Self, LocalError> {
        let options = serde_saphyr::options! { legacy_octal_numbers: true, strict_booleans: true };
        let read = serde_saphyr::from_str_with_options::<serde_json::Value>(text, options);
        let value = match read {
            // A document of comments alone says nothing, which is allowed.
            Ok(serde_json::Value::Null) => return Ok(Self::default()),
            Ok(value) => value,
            Err(source) => {
                return Err(LocalError::Yaml { document: document.to_owned(), source: Box::new(source) });
            }
        };
        serde_path_to_error::deserialize(value).map_err(|error| LocalError::Field {
            document: document.to_owned(),
            field: error.path().to_string(),
            source: error.into_inner(),
        })
    }

    /// The resources, where this document is all there is.
    ///
    /// # Errors
    ///
    /// The first entry that makes no sense.
    pub fn resources(&self, document: &str) -> Result<Resources, LocalError> {
        let mut resources = Resources::default();
        match resources.overlay(self).into_iter().next() {
            None => Ok(resources),
            Some(fault) => Err(LocalError::Fault { document: document.to_owned(), fault }),
        }
    }
}

/// Resources as messages, by their names on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// By uid.
    pub workloads: BTreeMap<String, WireWorkload>,
    /// By `namespace/hostname`.
    pub services: BTreeMap<String, WireService>,
    /// By `namespace/name`.
    pub policies: BTreeMap<String, Authorization>,
}

impl Resources {
    /// Lays a document over what is there: a workload of a known uid and a service of a known namespace and hostname
    /// change in the fields that are named, everything else is added. A policy replaces the one of its name.
    ///
    /// Answers what made no sense and was left out.
    pub fn overlay(&mut self, local: &Local) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.overlay_workloads(&local.workloads, &mut faults);
        self.overlay_services(&local.services, &mut faults);
        let mut seen = BTreeSet::new();
        for (index, policy) in local.policies.iter().enumerate() {
            let name = policy.key();
            if seen.insert(name.clone()) {
                self.policies.insert(name, policy.wire());
            } else {
                faults.push(fault(format!("policies[{index}]"), Why::Twice(name)));
            }
        }
        faults
    }

    /// The encoded `Address` resources, each with its name; workloads first.
    pub fn addresses(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let encode = |kind| Address { r#type: Some(kind) }.encode_to_vec();
        let workload =
            move |(name, of): (&String, &WireWorkload)| (name.clone(), encode(Type::Workload(of.clone())));
        let service =
            move |(name, of): (&String, &WireService)| (name.clone(), encode(Type::Service(of.clone())));
        self.workloads.iter().map(workload).chain(self.services.iter().map(service))
    }

    /// The encoded `Authorization` resources, each with its name.
    pub fn authorizations(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.policies.iter().map(|(name, policy)| (name.clone(), policy.encode_to_vec()))
    }

    fn overlay_workloads(&mut self, workloads: &[Workload], faults: &mut Vec<Fault>) {
        let mut seen = BTreeSet::new();
        for (index, workload) in workloads.iter().enumerate() {
            let at = |field: &str| format!("workloads[{index}]{field}");
            let Some(uid) = workload.key() else {
                faults.push(fault(at(".uid"), Why::Missing));
                continue;
            };
            let mut wire = self.workloads.get(&uid).cloned().unwrap_or_default();
            workload.apply(&mut wire);
            wire.uid.clone_from(&uid);
            if wire.namespace.is_empty() {
                faults.push(fault(at(".namespace"), Why::Missing));
            } else if seen.insert(uid.clone()) {
                self.workloads.insert(uid, wire);
            } else {
                faults.push(fault(at(""), Why::Twice(uid)));
            }
        }
    }

    fn overlay_services(&mut self, services: &[Service], faults: &mut Vec<Fault>) {
        let mut seen = BTreeSet::new();
        for (index, service) in services.iter().enumerate() {
            let at = |field: &str| format!("services[{index}]{field}");
            let name = service.key();
            if !seen.insert(name.clone()) {
                faults.push(fault(at(""), Why::Twice(name)));
                continue;
            }
            service.apply(self.services.entry(name.clone()).or_default());
            for (key, endpoint) in service.endpoints.iter().flatten() {
                let at = |field: &str| at(&format!(".endpoints[{key}]{field}"));
                let Some(workload) = self.workloads.get_mut(&endpoint.workload_uid) else {
                    let uid = endpoint.workload_uid.clone();
                    faults.push(fault(at(".workloadUid"), Why::NoSuchWorkload(uid)));
                    continue;
                };
                let said = endpoint.status.map(|status| status.wire().into());
                if said.is_some_and(|status: i32| status != workload.status) {
                    faults.push(fault(at(".status"), Why::EndpointStatus));
                    continue;
                }
                workload.services.insert(name.clone(), value::port_list(&endpoint.port));
            }
        }
    }
}

fn fault(field: String, why: Why) -> Fault {
    Fault { field, why }
}
