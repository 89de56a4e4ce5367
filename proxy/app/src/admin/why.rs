//! `/why`: what would become of a connection that nobody makes, and why, from the decisions that connections get.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::StatusCode;
use proxy_core::Pick;
use proxy_core::decide::Flow;
use proxy_core::decide::explain::{Arrival, Question, explain};
use proxy_core::dns::{self, Asker, Settings};
use proxy_core::model::{Identity, Service, Workload};
use proxy_core::world::World;

use super::{Admin, percent_decoded};
use crate::http_server::{Answer, text, typed};

mod show;
#[cfg(test)]
mod tests;

/// What is asked, before anything is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Query {
    source: Place,
    destination: Place,
    port: u16,
    arrival: Option<Asked>,
}

/// Somebody, as people name them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Address(IpAddr),
    /// A pod, by its namespace and name.
    Pod(String, String),
    /// A service, by a name that its clients use.
    Host(String),
}

/// How the connection is to arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Plain,
    /// As whoever is at the source.
    Tunnel,
    TunnelOf(Identity),
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum QueryError {
    #[error("parameter {0} is missing: it takes {wanted}", wanted = wanted(.0))]
    Missing(&'static str),
    #[error("parameter {name} is {value:?}: it takes {wanted}", wanted = wanted(.name))]
    Invalid { name: &'static str, value: String },
    #[error("parameter {0} is given twice")]
    Twice(&'static str),
    #[error("unknown parameter {0:?}")]
    Unknown(String),
    #[error("parameter {name}: this proxy knows nobody of the name {value:?}")]
    Nobody { name: &'static str, value: String },
}

impl QueryError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Missing(_) | Self::Invalid { .. } | Self::Twice(_) | Self::Unknown(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Nobody { .. } => StatusCode::NOT_FOUND,
        }
    }
}

fn wanted(name: &str) -> &'static str {
    match name {
        SOURCE => "an address, or <namespace>/<pod>",
        ARRIVES => "plain or tunnel",
        IDENTITY => "spiffe://<trust domain>/ns/<namespace>/sa/<service account>",
        _ => "<address>:<port>, <host name>:<port> or <namespace>/<pod>:<port>",
    }
}

impl Admin {
    /// Answers from what is known by now; nothing is looked up, and nothing changes.
    pub(super) fn why(&self, query: &str) -> Answer {
        match self.explained(query) {
            Ok(answer) => typed(StatusCode::OK, "application/json", format!("{answer:#}\n")),
            Err(error) => text(error.status(), format!("{error}\n{USAGE}")),
        }
    }

    fn explained(&self, query: &str) -> Result<serde_json::Value, QueryError> {
        let query = Query::parse(query)?;
        let world = self.node.live.snapshot();
        let settings = self.node.dns.as_ref().map_or(&OF_PODS, |dns| dns.settings());
        let question = query.question(&world, settings)?;
        // The same question gets the same answer; which choices there were is part of it.
        let answer = explain(&world, &question, self.node.live.moment(), Pick::default());
        Ok(show::explanation(&world, &question, &answer, |workload| self.standing(&world, workload)))
    }

    /// What this proxy has to do with a workload.
    fn standing(&self, world: &World, workload: &Workload) -> show::Standing {
        let here = world.node().node_name.is_empty() || workload.node == world.node().node_name;
        let is_it = |info: &proxy_core::model::PodInfo| {
            info.name == workload.name && info.namespace == workload.namespace
        };
        if !here {
            return show::Standing::Elsewhere;
        }
        let entry = self.workloads.list().into_iter().find(|(_, entry)| is_it(&entry.info));
        match entry {
            Some((_, entry)) if entry.pod.is_some() => show::Standing::Up,
            Some(_) => show::Standing::Pending,
            None => show::Standing::NotAnnounced,
        }
    }
}

impl Query {
    fn parse(query: &str) -> Result<Self, QueryError> {
        let mut given: [(&'static str, Option<String>); 4] =
            [(SOURCE, None), (DESTINATION, None), (ARRIVES, None), (IDENTITY, None)];
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let key = percent_decoded(key);
            let Some((name, known)) = given.iter_mut().find(|(name, _)| **name == *key) else {
                return Err(QueryError::Unknown(quoted(&key)));
            };
            if known.replace(percent_decoded(value)).is_some() {
                return Err(QueryError::Twice(name));
            }
        }
        let [source, destination, arrives, identity] = given.map(|(_, value)| value);
        let source = source.ok_or(QueryError::Missing(SOURCE))?;
        let source = match Place::parse(&source) {
            Some(place @ (Place::Address(_) | Place::Pod(..))) => place,
            Some(Place::Host(_)) | None => return Err(invalid(SOURCE, &source)),
        };
        let told = destination.ok_or(QueryError::Missing(DESTINATION))?;
        let (destination, port) = destination_of(&told).ok_or_else(|| invalid(DESTINATION, &told))?;
        let identity = match identity {
            Some(text) => Some(text.parse().map_err(|_| invalid(IDENTITY, &text))?),
            None => None,
        };
        let arrival = match (arrives.as_deref(), identity) {
            (None | Some("tunnel"), Some(identity)) => Some(Asked::TunnelOf(identity)),
            (Some("tunnel"), None) => Some(Asked::Tunnel),
            (Some("plain"), None) => Some(Asked::Plain),
            (None, None) => None,
            (Some(other), _) => return Err(invalid(ARRIVES, other)),
        };
        Ok(Self { source, destination, port, arrival })
    }

    fn question(&self, world: &World, settings: &Settings) -> Result<Question, QueryError> {
        let network = &world.node().network;
        let source = match &self.source {
            Place::Address(address) => *address,
            place @ (Place::Pod(..) | Place::Host(_)) => {
                pod_address(world, place).ok_or_else(|| nobody(SOURCE, place))?
            }
        };
        let workload = world.workload_at(network, source.to_canonical());
        let destination = match &self.destination {
            Place::Address(address) => Some(*address),
            place @ Place::Pod(..) => pod_address(world, place),
            Place::Host(name) => {
                let namespace = workload.map_or(NAMESPACE, |workload| &workload.namespace);
                let service = dns::service(world, settings, Asker { namespace, network }, name);
                service.and_then(|service| service_address(world, &service, source))
            }
        };
        let destination = destination.ok_or_else(|| nobody(DESTINATION, &self.destination))?;
        let arrival = match &self.arrival {
            None => None,
            Some(Asked::Plain) => Some(Arrival::Plain),
            Some(Asked::TunnelOf(identity)) => Some(Arrival::Tunnel(identity.clone())),
            Some(Asked::Tunnel) => {
                let workload = workload.ok_or_else(|| nobody(SOURCE, &self.source))?;
                Some(Arrival::Tunnel(workload.identity()))
            }
        };
        let flow = Flow::new(SocketAddr::new(source, 0), SocketAddr::new(destination, self.port));
        Ok(Question { flow, arrival })
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Some(Self::Address(address));
        }
        let is_name = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*');
            !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(fits)
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Some(Self::Pod(namespace.to_owned(), name.to_owned()))
            }
            None if is_name(text) => Some(Self::Host(text.to_owned())),
            Some(_) | None => None,
        }
    }
}

fn destination_of(text: &str) -> Option<(Place, u16)> {
    let (place, port) = text.rsplit_once(':')?;
    // Without brackets nobody knows where an IPv6 address ends.
    if place.contains(':') && !(place.starts_with('[') && place.ends_with(']')) {
        return None;
    }
    let port = port.parse().ok().filter(|port| *port > 0)?;
    Some((Place::parse(place)?, port))
}

fn pod_address(world: &World, place: &Place) -> Option<IpAddr> {
    let Place::Pod(namespace, name) = place else { return None };
    let mut all = world.workloads();
    let pod = all.find(|workload| *workload.namespace == **namespace && *workload.name == **name)?;
    pod.addresses.first().copied()
}

/// An address that the client could get for the name: of its own family, if there is one.
fn service_address(world: &World, service: &Arc<Service>, client: IpAddr) -> Option<IpAddr> {
    let near = |address: &&IpAddr| address.is_ipv4() == client.to_canonical().is_ipv4();
    let mut all: Vec<IpAddr> = service
        .vips
        .iter()
        .filter(|vip| vip.network == world.node().network)
        .map(|vip| vip.address)
        .collect();
    if service.vips.is_empty() {
        // A headless service's name leads to its endpoints.
        all.extend(world.endpoints(&service.key).flat_map(|endpoint| endpoint.workload.addresses.clone()));
        all.sort();
    }
    all.iter().find(near).or_else(|| all.first()).copied()
}

fn invalid(name: &'static str, value: &str) -> QueryError {
    QueryError::Invalid { name, value: quoted(value) }
}

fn nobody(name: &'static str, place: &Place) -> QueryError {
    let value = match place {
        Place::Address(address) => address.to_string(),
        Place::Pod(namespace, name) => format!("{namespace}/{name}"),
        Place::Host(name) => name.clone(),
    };
    QueryError::Nobody { name, value }
}

/// Enough of a value to recognize it by.
fn quoted(value: &str) -> String {
    value.chars().take(80).collect()
}

const SOURCE: &str = "source";
const DESTINATION: &str = "destination";
const ARRIVES: &str = "arrives";
const IDENTITY: &str = "identity";

/// Where short names are looked for when nobody knows whose they are.
const NAMESPACE: &str = "default";
/// A DNS name's.
const LONGEST_NAME: usize = 253;
/// Names as every pod resolves them, where the proxy does not serve DNS.
static OF_PODS: Settings = Settings { ipv6: true, preferred_namespace: None, search_domains: Vec::new() };

const USAGE: &str = "\
GET /why?source=<address or namespace/pod>&destination=<address, host name or namespace/pod>:<port>
    what becomes of such a connection: the route, and the policies at its end
GET /why?...&arrives=plain or &arrives=tunnel[&identity=spiffe://...]
    the end alone, for a connection that comes in plain text, or through a tunnel of that identity
";
