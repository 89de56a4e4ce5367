//! What one delta-xDS stream is owed: subscriptions in, responses out. Pure; the caller owns the socket.
//!
//! A response is the difference between the world now and what the stream was sent, never a queue of past changes. So a
//! slow client costs one map of hashes, however often the world changes.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use prost_types::Any;
use prost_types::value::Kind;
use xds_proto::envoy::config::core::v3::Node;
use xds_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource,
};

use crate::translate::{Resource, ResourceType, Translation};

/// What a request turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A subscription began or changed: a response is due.
    Subscribed(ResourceType),
    Acked(ResourceType),
    /// The client refused part of a response; it keeps what it has and nothing is sent again.
    Nacked {
        kind: ResourceType,
        message: String,
    },
    /// It answers a response that is not the last of its type, and is ignored.
    Stale(ResourceType),
    /// A type that is not served.
    UnknownType(String),
}

/// One stream's state.
#[derive(Debug, Default)]
pub struct Session {
    /// The Kubernetes node that the client is on, by its own word.
    node: String,
    watches: BTreeMap<ResourceType, Watch>,
    responses: u64,
}

#[derive(Debug, Default)]
struct Watch {
    wildcard: bool,
    /// Names or aliases asked for, unless everything is.
    names: BTreeSet<String>,
    /// What the client holds: hash of what it was sent, `None` when it holds something else under that name.
    held: BTreeMap<String, Option<u64>>,
    /// Names just asked for: those that do not exist are answered as removed.
    asked: BTreeSet<String>,
    /// Names just subscribed to: what they stand for is sent whether or not it is held, for somebody waits for it.
    again: BTreeSet<String>,
    /// A response is due even when it is empty.
    owed: bool,
    sent: String,
    answered: String,
}

impl Session {
    /// Takes in one request.
    pub fn on_request(&mut self, request: DeltaDiscoveryRequest) -> Heard {
        if let Some(name) = request.node.as_ref().and_then(node_name) {
            name.clone_into(&mut self.node);
        }
        let Some(kind) = ResourceType::from_url(&request.type_url) else {
            return Heard::UnknownType(request.type_url);
        };
        let Some(watch) = self.watches.get_mut(&kind) else {
            self.watches.insert(kind, Watch::begin(request));
            return Heard::Subscribed(kind);
        };
        if let Some(error) = request.error_detail {
            if request.response_nonce == watch.sent {
                watch.answered.clone_from(&watch.sent);
            }
            return Heard::Nacked { kind, message: error.message };
        }
        if !request.response_nonce.is_empty() {
            if request.response_nonce != watch.sent {
                return Heard::Stale(kind);
            }
            watch.answered.clone_from(&watch.sent);
        }
        let (more, fewer) = (request.resource_names_subscribe, request.resource_names_unsubscribe);
        if more.is_empty() && fewer.is_empty() {
            return Heard::Acked(kind);
        }
        watch.subscribe(more, fewer);
        watch.owed = true;
        Heard::Subscribed(kind)
    }

    /// The next response that is due in this world, Address before Authorization; `None` when the stream is up to date.
    pub fn next(&mut self, world: &Translation) -> Option<DeltaDiscoveryResponse> {
        for (kind, watch) in &mut self.watches {
            if let Some(mut response) = watch.next(*kind, &self.node, world) {
                self.responses = self.responses.saturating_add(1);
                response.nonce = format!("{:x}", self.responses);
                watch.sent.clone_from(&response.nonce);
                return Some(response);
            }
        }
        None
    }

    /// Whether the client has answered everything it was sent, for every type it should subscribe to.
    pub fn answered(&self) -> bool {
        ResourceType::ALL
            .iter()
            .all(|kind| self.watches.get(kind).is_some_and(|watch| watch.answered == watch.sent))
    }
}

impl Watch {
    /// The first request of a type: what the client kept from an earlier stream, and what it wants.
    fn begin(request: DeltaDiscoveryRequest) -> Self {
        let (more, fewer) = (request.resource_names_subscribe, request.resource_names_unsubscribe);
        let star = |names: &[String]| names.iter().any(|name| name == "*");
        let wildcard = (more.is_empty() && !star(&fewer)) || (star(&more) && !star(&fewer));
        let mut watch = Self { wildcard, owed: true, ..Self::default() };
        for (name, version) in request.initial_resource_versions {
            if !wildcard {
                watch.asked.insert(name.clone());
                watch.names.insert(name.clone());
            }
            // A name without a version was asked for and never received, except where versions are never given.
            if wildcard || !version.is_empty() {
                watch.held.insert(name, u64::from_str_radix(&version, 16).ok());
            }
        }
        watch.subscribe(more, fewer);
        watch
    }

    fn subscribe(&mut self, more: Vec<String>, fewer: Vec<String>) {
        let ends = fewer.iter().any(|name| name == "*");
        for name in more {
            if name == "*" {
                self.wildcard |= !ends;
            } else {
                self.asked.insert(name.clone());
                self.again.insert(name.clone());
                self.names.insert(name);
            }
        }
        for name in fewer {
            if name == "*" {
                self.wildcard = false;
            } else {
                self.asked.remove(&name);
                self.names.remove(&name);
            }
        }
    }

    fn next(
        &mut self,
        kind: ResourceType,
        node: &str,
        world: &Translation,
    ) -> Option<DeltaDiscoveryResponse> {
        let first = (kind, String::new());
        let all =
            || world.resources.range(first.clone()..).take_while(|((of, _), _)| *of == kind).map(|(_, r)| r);
        let wanted: Vec<_> = match self.wildcard {
            true => all().collect(),
            false => self.selected(all().collect(), node),
        };
        let mut removed = self.gone(&wanted, kind, world);
        let mut resources = Vec::new();
        let again = std::mem::take(&mut self.again);
        let addresses: Vec<_> = again.iter().filter_map(|name| address(name)).collect();
        for resource in wanted {
            let mut names = resource.aliases.iter().chain([&resource.name]);
            let waited_for = names.any(|name| again.contains(name) || covers(name, &addresses));
            if waited_for || self.held.get(&resource.name) != Some(&Some(resource.digest)) {
                self.held.insert(resource.name.clone(), Some(resource.digest));
                resources.push(wire(resource));
            }
        }
        self.asked.clear();
        if !self.wildcard {
            // Who asked by an alias keeps what it was sent up to date also after it no longer asks for the alias.
            self.names.extend(self.held.keys().cloned());
        }
        let due = std::mem::take(&mut self.owed) || !resources.is_empty() || !removed.is_empty();
        removed.sort();
        due.then(|| DeltaDiscoveryResponse {
            type_url: kind.url().to_owned(),
            resources,
            removed_resources: removed,
            ..DeltaDiscoveryResponse::default()
        })
    }

    /// What a client that asks by name gets: what goes by that name or alias, or covers the address asked for; the
    /// workloads behind a service; and those of the client's own node.
    fn selected<'a>(&self, all: Vec<&'a Resource>, node: &str) -> Vec<&'a Resource> {
        let asked: Vec<_> = self.names.iter().filter_map(|name| address(name)).collect();
        let named = |resource: &Resource| {
            self.names.contains(&resource.name)
                || (!node.is_empty() && resource.node == node)
                || resource.aliases.iter().any(|alias| self.names.contains(alias) || covers(alias, &asked))
        };
        let direct: BTreeSet<_> = all.iter().filter(|r| named(r)).map(|r| r.name.clone()).collect();
        let chosen = |r: &&Resource| {
            direct.contains(&r.name) || r.serves.iter().any(|service| direct.contains(service))
        };
        all.into_iter().filter(chosen).collect()
    }

    /// Names to take away: held and gone from the world, or asked for and not there. What the client merely no longer
    /// asks for is forgotten without a word.
    fn gone(&mut self, wanted: &[&Resource], kind: ResourceType, world: &Translation) -> Vec<String> {
        let names: BTreeSet<_> = wanted.iter().map(|resource| resource.name.as_str()).collect();
        let dropped: Vec<_> =
            self.held.keys().filter(|name| !names.contains(name.as_str())).cloned().collect();
        self.held.retain(|name, _| names.contains(name.as_str()));
        let exists = |name: &String| world.resources.contains_key(&(kind, name.clone()));
        let mut gone: Vec<_> = dropped.into_iter().filter(|name| !exists(name)).collect();
        let aliases: BTreeSet<_> = wanted.iter().flat_map(|resource| &resource.aliases).collect();
        let covered = |name: &str| address(name).is_some_and(|at| aliases.iter().any(|a| covers(a, &[at])));
        let missing = |name: &&String| {
            !self.wildcard
                && !names.contains(name.as_str())
                && !aliases.contains(name)
                && !covered(name)
                && !gone.contains(name)
        };
        let missing: Vec<_> = self.asked.iter().filter(missing).cloned().collect();
        gone.extend(missing);
        gone
    }
}

fn node_name(node: &Node) -> Option<&str> {
    match node.metadata.as_ref()?.fields.get("NODE_NAME")?.kind.as_ref()? {
        Kind::StringValue(name) => Some(name),
        Kind::NullValue(_)
        | Kind::NumberValue(_)
        | Kind::BoolValue(_)
        | Kind::StructValue(_)
        | Kind::ListValue(_) => None,
    }
}

/// `network/address`.
fn address(name: &str) -> Option<(&str, IpAddr)> {
    let (network, ip) = name.split_once('/')?;
    Some((network, ip.parse().ok()?))
}

/// Whether an alias is a prefix, as `network/address/length`, with one of these in it.
fn covers(alias: &str, addresses: &[(&str, IpAddr)]) -> bool {
    let prefix =
        alias.split_once('/').and_then(|(network, cidr)| Some((network, cidr.parse::<IpNet>().ok()?)));
    prefix.is_some_and(|(network, cidr)| addresses.iter().any(|(on, ip)| *on == network && cidr.contains(ip)))
}

fn wire(resource: &Resource) -> WireResource {
    WireResource {
        name: resource.name.clone(),
        version: resource.version.clone(),
        aliases: resource.aliases.clone(),
        resource: Some(Any { type_url: resource.kind.url().to_owned(), value: resource.bytes.clone() }),
        ..WireResource::default()
    }
}
