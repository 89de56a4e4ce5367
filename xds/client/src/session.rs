//! The delta-xDS session as a state machine: subscribe, acknowledge, refuse in part, resume after a reconnect.
//!
//! It does no I/O: requests come out, responses go in. What a push means is for others to say.

use std::collections::{BTreeSet, HashMap, HashSet};

use xds_proto::envoy::config::core::v3::Node as ProtoNode;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use xds_proto::google::rpc::Status;
use xds_proto::{ADDRESS_TYPE, AUTHORIZATION_TYPE};

use crate::error::clip;
use crate::node::Node;

/// The resource types we subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeUrl {
    /// Workloads and services.
    Address,
    /// Authorization policies.
    Authorization,
}

impl TypeUrl {
    /// All types, in the order in which they are subscribed to.
    pub const ALL: [Self; 2] = [Self::Address, Self::Authorization];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => ADDRESS_TYPE,
            Self::Authorization => AUTHORIZATION_TYPE,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

/// What changed, of one type; resources apply in order, then removals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Type of every resource in it.
    pub type_url: TypeUrl,
    /// New or changed resources.
    pub resources: Vec<ResourceUpdate>,
    /// Names of resources that no longer exist.
    pub removed: Vec<String>,
}

/// One resource, not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceUpdate {
    /// Unique within its type.
    pub name: String,
    /// Opaque; empty for authorization policies of istiod.
    pub version: String,
    /// The protobuf message.
    pub value: Vec<u8>,
}

/// A resource that is held though no stream has brought it: from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its type.
    pub type_url: TypeUrl,
    /// Its name.
    pub name: String,
    /// The version it had.
    pub version: String,
}

/// Which addresses are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addresses {
    /// All of them.
    #[default]
    All,
    /// Those that are [asked for](Session::ask), and those of this node.
    OnDemand,
}

/// Keys that a push has answered.
#[derive(Debug, Default, PartialEq)]
pub struct Answered {
    /// Each stands for a resource by now, or for none.
    pub keys: Vec<String>,
    /// What follows from it: the subscription of a key that is no resource's name has served its purpose. The resource
    /// it stood for stays subscribed to under its own name, and a key that stands for nothing must not stay with the
    /// control plane for ever.
    pub release: Option<DeltaDiscoveryRequest>,
}

/// A resource that was not taken, and why; the control plane is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the resource.
    pub name: String,
    /// For a person to read.
    pub why: String,
}

/// What a response asks for.
#[derive(Debug)]
pub enum Received {
    /// Apply the update, then [`Session::settle`] with what was refused.
    Push {
        /// To be applied.
        update: Update,
        /// To be settled.
        pending: Pending,
    },
    /// A type that we never asked for: only answer.
    Unknown {
        /// As the peer named it, shortened.
        type_url: String,
        /// The acknowledgement.
        reply: DeltaDiscoveryRequest,
    },
}

/// A push between its arrival and its answer.
#[derive(Debug)]
pub struct Pending {
    type_url: TypeUrl,
    nonce: String,
    versions: Vec<(String, String)>,
    removed: Vec<String>,
    refusals: Vec<Refusal>,
    /// Every name and alias, where somebody asks.
    told: HashSet<String>,
    bytes: u64,
}

impl Pending {
    /// Bytes of resource payload in the push.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Bounds on what a control plane can make us keep or send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Resources of one type; more are refused.
    pub resources: usize,
    /// Bytes of a resource's name, and of its version; longer ones are refused.
    pub name: usize,
    /// Bytes of names and versions in a resuming request. A set that needs more is asked for afresh: istiod refuses
    /// messages over 4 MiB, and a stream that resumes with one would never open.
    pub resume: usize,
    /// Bytes of refusals in one answer.
    pub nack: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { resources: 1_000_000, name: 4096, resume: 3 << 20, nack: 16 << 10 }
    }
}

/// What is subscribed to and what is held; lives as long as the process, over many streams.
#[derive(Debug)]
pub struct Session {
    node: ProtoNode,
    limits: Limits,
    addresses: Addresses,
    address: Known,
    authorization: Known,
    /// Keys asked for and not answered, over reconnects.
    asked: BTreeSet<String>,
    answered: Answered,
}

/// What we hold of one type.
#[derive(Debug, Default)]
struct Known {
    versions: HashMap<String, String>,
    /// A response was settled, on this stream or an earlier one.
    synced: bool,
    /// The next response is the whole set, though we hold resources: what it does not name is gone.
    afresh: bool,
    /// The next stream may not be told what is held.
    unreported: bool,
}

impl Session {
    /// Holds nothing yet.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        Self::with_limits(node, Limits::default())
    }

    /// Holds nothing yet, and never more than the limits say.
    #[must_use]
    pub fn with_limits(node: &Node, limits: Limits) -> Self {
        Self {
            node: node.to_proto(),
            limits,
            addresses: Addresses::All,
            address: Known::default(),
            authorization: Known::default(),
            asked: BTreeSet::new(),
            answered: Answered::default(),
        }
    }

    /// Says which addresses are wanted; policies are always all wanted.
    #[must_use]
    pub fn wanting(mut self, addresses: Addresses) -> Self {
        self.addresses = addresses;
        self
    }

    /// Takes over what is held already; the next stream reports it, and what is gone meanwhile is told.
    pub fn resume(&mut self, held: Vec<Held>) {
        let limits = self.limits;
        for Held { type_url, name, version } in held {
            let known = self.held(type_url);
            if known.versions.len() < limits.resources {
                known.versions.entry(name).or_insert(version);
            }
        }
    }

    /// The first requests of a new stream, in the order in which they must be sent.
    pub fn open(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let afresh = [self.address.begin(&self.limits), self.authorization.begin(&self.limits)];
        TypeUrl::ALL
            .into_iter()
            .zip(afresh)
            .map(|(type_url, afresh)| self.subscribe(type_url, afresh))
            .collect()
    }

    /// The next stream asks for everything anew instead of reporting what is held: a control plane may refuse a long
    /// report. What it does not send again is gone.
    pub const fn forget_versions(&mut self) {
        self.address.unreported = true;
        self.authorization.unreported = true;
    }

    /// Whether every type that is wanted whole has had its first answer, on this stream or an earlier one. What was
    /// refused counts as answered: one bad resource must not keep a node from serving.
    #[must_use]
    pub const fn synced(&self) -> bool {
        let addresses = match self.addresses {
            Addresses::All => self.address.synced,
            Addresses::OnDemand => true,
        };
        addresses && self.authorization.synced
    }

    /// Asks for one address: `network/ip`, a workload's uid or `namespace/hostname`. `None` when that is under way.
    pub fn ask(&mut self, key: &str) -> Option<DeltaDiscoveryRequest> {
        if key.len() > self.limits.name || !self.asked.insert(key.to_owned()) {
            return None;
        }
        Some(DeltaDiscoveryRequest {
            type_url: TypeUrl::Address.as_str().to_owned(),
            resource_names_subscribe: vec![key.to_owned()],
            ..Default::default()
        })
    }

    /// Gives up asking for these.
    pub fn abandon(&mut self, keys: Vec<String>) -> Option<DeltaDiscoveryRequest> {
        self.asked.retain(|key| !keys.contains(key));
        release(keys)
    }

    /// The keys that the pushes settled since the last call have answered.
    pub fn answered(&mut self) -> Answered {
        std::mem::take(&mut self.answered)
    }

    /// Takes one response apart.
    pub fn receive(&mut self, response: DeltaDiscoveryResponse) -> Received {
        let DeltaDiscoveryResponse { type_url, nonce, resources, removed_resources, system_version_info: _ } =
            response;
        let Some(known) = TypeUrl::parse(&type_url) else {
            let shown = clip(&type_url, SHOWN).to_owned();
            return Received::Unknown { type_url: shown, reply: acknowledge(type_url, nonce) };
        };
        let limits = self.limits;
        let told = match known {
            TypeUrl::Address if !self.asked.is_empty() => told(&resources, &removed_resources),
            TypeUrl::Address | TypeUrl::Authorization => HashSet::new(),
        };
        let held = self.held(known);
        let mut removed = removed_resources;
        if std::mem::take(&mut held.afresh) {
            held.add_missing(&resources, &mut removed);
        }
        let mut pending = Pending {
            type_url: known,
            nonce,
            versions: Vec::with_capacity(resources.len()),
            removed: removed.clone(),
            refusals: Vec::new(),
            told,
            bytes: 0,
        };
        let mut room = limits.resources.saturating_sub(held.versions.len());
        let mut taken = Vec::with_capacity(resources.len());
        for resource in resources {
            let counts = !held.versions.contains_key(&resource.name);
            match unpack(resource, &limits, !counts || room > 0) {
                Ok(update) => {
                    room = room.saturating_sub(usize::from(counts));
                    pending.versions.push((update.name.clone(), update.version.clone()));
                    pending.bytes += u64::try_from(update.value.len()).unwrap_or_default();
                    taken.push(update);
                }
                Err(refusal) => pending.refusals.push(refusal),
            }
        }
        Received::Push { update: Update { type_url: known, resources: taken, removed }, pending }
    }

    /// Ends a push: remembers the versions of what was taken, and answers. A refused resource keeps the version it
    /// had, or an empty one, so that a reconnect makes the control plane send it again, or tell that it is gone: a sink
    /// may remember what it refused, as it must remember a policy that it cannot read.
    pub fn settle(&mut self, pending: Pending, refused: Vec<Refusal>) -> DeltaDiscoveryRequest {
        let Pending { type_url, nonce, versions, removed, mut refusals, told, bytes: _ } = pending;
        refusals.extend(refused);
        let refused: HashSet<&str> = refusals.iter().map(|refusal| refusal.name.as_str()).collect();
        let held = self.held(type_url);
        held.synced = true;
        for (name, version) in versions {
            if refused.contains(name.as_str()) {
                held.versions.entry(name).or_default();
            } else {
                held.versions.insert(name, version);
            }
        }
        for name in &removed {
            held.versions.remove(name);
        }
        self.settle_questions(&told);
        let mut answer = acknowledge(type_url.as_str().to_owned(), nonce);
        if !refusals.is_empty() {
            let message = nack_message(&refusals, self.limits.nack);
            answer.error_detail = Some(Status { code: 0, message, details: Vec::new() });
        }
        answer
    }

    fn settle_questions(&mut self, told: &HashSet<String>) {
        let answered: Vec<String> = self.asked.iter().filter(|key| told.contains(*key)).cloned().collect();
        self.asked.retain(|key| !told.contains(key));
        let held = &self.address.versions;
        let spent = answered.iter().filter(|key| !held.contains_key(*key)).cloned().collect();
        self.answered = Answered { keys: answered, release: release(spent) };
    }

    fn subscribe(&mut self, type_url: TypeUrl, afresh: bool) -> DeltaDiscoveryRequest {
        let on_demand = type_url == TypeUrl::Address && self.addresses == Addresses::OnDemand;
        // The only way to say "nothing" to istiod, which takes an empty subscription for one to everything.
        let star = if on_demand { vec!["*".to_owned()] } else { Vec::new() };
        let versions = &self.held(type_url).versions;
        let mut initial_resource_versions = if afresh { HashMap::new() } else { versions.clone() };
        if on_demand {
            initial_resource_versions.extend(self.asked.iter().map(|key| (key.clone(), String::new())));
        }
        DeltaDiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: type_url.as_str().to_owned(),
            initial_resource_versions,
            resource_names_subscribe: star.clone(),
            resource_names_unsubscribe: star,
            ..Default::default()
        }
    }

    const fn held(&mut self, type_url: TypeUrl) -> &mut Known {
        match type_url {
            TypeUrl::Address => &mut self.address,
            TypeUrl::Authorization => &mut self.authorization,
        }
    }
}

impl Known {
    /// Begins a stream; whether it asks for everything anew.
    fn begin(&mut self, limits: &Limits) -> bool {
        let unreported = std::mem::take(&mut self.unreported);
        self.afresh = (unreported && !self.versions.is_empty()) || self.resume_bytes() > limits.resume;
        self.afresh
    }

    fn resume_bytes(&self) -> usize {
        self.versions.iter().map(|(name, version)| name.len() + version.len() + ENTRY).sum()
    }

    /// Names as removed what is held and neither sent nor already named.
    fn add_missing(&self, sent: &[Resource], removed: &mut Vec<String>) {
        let mut known: HashSet<&str> = sent.iter().map(|resource| resource.name.as_str()).collect();
        known.extend(removed.iter().map(String::as_str));
        let mut missing: Vec<String> =
            self.versions.keys().filter(|name| !known.contains(name.as_str())).cloned().collect();
        missing.sort_unstable();
        removed.extend(missing);
    }
}

/// Everything by which what a push brings or takes away may have been asked for.
fn told(resources: &[Resource], removed: &[String]) -> HashSet<String> {
    let names = resources.iter().flat_map(|resource| resource.aliases.iter().chain([&resource.name]));
    names.chain(removed).cloned().collect()
}

fn release(keys: Vec<String>) -> Option<DeltaDiscoveryRequest> {
    (!keys.is_empty()).then(|| DeltaDiscoveryRequest {
        type_url: TypeUrl::Address.as_str().to_owned(),
        resource_names_unsubscribe: keys,
        ..Default::default()
    })
}

fn unpack(resource: Resource, limits: &Limits, room: bool) -> Result<ResourceUpdate, Refusal> {
    let Resource { name, version, resource, aliases: _, ttl: _, cache_control: _ } = resource;
    if name.len() > limits.name {
        let why = format!("the name has {} bytes, at most {} are taken", name.len(), limits.name);
        return Err(Refusal { name: clip(&name, SHOWN).to_owned(), why });
    }
    let body = match resource {
        None => Err("the resource has no body".to_owned()),
        Some(_) if name.is_empty() => Err("the resource has no name".to_owned()),
        Some(_) if version.len() > limits.name => {
            Err(format!("the version has {} bytes, at most {} are taken", version.len(), limits.name))
        }
        Some(_) if !room => Err(format!("more than {} resources of this type", limits.resources)),
        Some(any) => Ok(any.value),
    };
    match body {
        Ok(value) => Ok(ResourceUpdate { name, version, value }),
        Err(why) => Err(Refusal { name, why }),
    }
}

fn acknowledge(type_url: String, response_nonce: String) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }
}

/// `name: reason; name: reason`, as ztunnel writes it, and how many did not fit.
fn nack_message(refusals: &[Refusal], limit: usize) -> String {
    let mut message = String::new();
    for (done, Refusal { name, why }) in refusals.iter().enumerate() {
        let separator = if done == 0 { "" } else { "; " };
        let item = format!("{separator}{name}: {why}");
        if message.len() + item.len() > limit {
            message.push_str(clip(&item, limit.saturating_sub(message.len())));
            message.push_str(&format!("; {} in all", refusals.len()));
            break;
        }
        message.push_str(&item);
    }
    message
}

/// Wire bytes of a map entry beside its two strings: four tags and lengths, two of them long.
const ENTRY: usize = 10;
/// Bytes of a peer's text that we repeat.
const SHOWN: usize = 200;

#[cfg(test)]
mod tests;
