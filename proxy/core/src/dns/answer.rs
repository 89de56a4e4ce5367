//! One query of one pod: what the mesh answers, or that it is not the mesh's to answer.

use std::{net::IpAddr, sync::Arc};

use super::{
    A, AAAA, Settings,
    message::{CD, DO, HEADER, OPT, QR, Query, RA, RD, write_header},
    names::{self, Place},
};
use crate::{
    Pick,
    model::{Health, Service},
    world::World,
};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The pod's Kubernetes namespace.
    pub namespace: &'a str,
    /// The network that the pod is on.
    pub network: &'a str,
}

/// How the query came, which says how long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// As long as the client says, 512 bytes at least.
    Udp,
    /// As long as messages can be.
    Tcp,
}

impl Transport {
    /// The word that metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The mesh answers.
    Answer(Answer),
    /// The mesh knows nothing of it: it is to be passed on as it is, and so is the response.
    Relay,
}

/// The mesh's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response.
    pub message: Vec<u8>,
    /// What was found.
    pub outcome: Outcome,
    /// How many addresses.
    pub addresses: usize,
}

/// What was found under a name of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Addresses.
    Found,
    /// No address of the family that was asked for, or none on the client's network.
    Empty,
    /// The service, or the node, has not got the family.
    WrongFamily,
}

impl Outcome {
    /// The words of the DNS log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "success",
            Self::Empty => "no records",
            Self::WrongFamily => "service does not support this record type",
        }
    }
}

/// Decides what becomes of a message that a pod sent to its resolver.
#[must_use]
pub fn decide(
    world: &World,
    settings: &Settings,
    asker: Asker<'_>,
    message: &[u8],
    transport: Transport,
    pick: Pick,
) -> Verdict {
    let Some(query) = Query::read(message) else {
        return Verdict::Relay;
    };
    let asked = query.asked;
    if asked.class != INTERNET || !matches!(asked.kind, A | AAAA) {
        return Verdict::Relay;
    }
    let lookup = Lookup { world, settings, asker };
    let found = asked.name.plain().and_then(|name| lookup.service(&name));
    let Some((service, stripped)) = found else {
        return Verdict::Relay;
    };
    let Some((outcome, mut addresses)) = lookup.addresses(service, asked.kind) else {
        return Verdict::Relay;
    };
    shuffle(&mut addresses, pick);
    let most = match (transport, query.edns) {
        (Transport::Udp, Some(edns)) => usize::from(edns.payload).max(SMALLEST),
        (Transport::Udp, None) => SMALLEST,
        (Transport::Tcp, _) => usize::from(u16::MAX),
    };
    let alias = stripped.filter(|_| !addresses.is_empty());
    let message = encode(&query, alias, &addresses, most);
    Verdict::Answer(Answer { message, outcome, addresses: addresses.len() })
}

/// The service that a client means by a name, short or long, as its queries are answered.
#[must_use]
pub fn service(world: &World, settings: &Settings, asker: Asker<'_>, name: &str) -> Option<Arc<Service>> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let (service, _) = Lookup { world, settings, asker }.service(&name)?;
    Some(Arc::clone(service))
}

#[derive(Clone, Copy)]
struct Lookup<'a> {
    world: &'a World,
    settings: &'a Settings,
    asker: Asker<'a>,
}

impl<'a> Lookup<'a> {
    /// The service that the client means, and how many labels of the name are the service's when it was found under what
    /// is left without a search domain.
    fn service(self, name: &str) -> Option<(&'a Arc<Service>, Option<usize>)> {
        let domain = &*self.world.node().cluster_domain;
        let namespace = self.asker.namespace;
        let kubernetes = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
        let search: Vec<&str> = if self.settings.search_domains.is_empty() {
            kubernetes.iter().map(String::as_str).collect()
        } else {
            self.settings.search_domains.iter().map(|domain| &**domain).collect()
        };
        names::candidates(name, Place { namespace, domain }, &search).iter().find_map(|candidate| {
            names::with_wildcards(&candidate.name).find_map(|host| {
                let service = self.best(&host)?;
                // A name below a wildcard is no name of its own, so nothing is an alias of it.
                Some((service, candidate.stripped.filter(|_| !host.starts_with("*."))))
            })
        })
    }

    /// The visible service of this hostname: of the client's namespace, else the canonical one, else of the preferred
    /// namespace, else the first by name.
    fn best(self, host: &str) -> Option<&'a Arc<Service>> {
        let client = self.asker.namespace;
        let usable = || {
            self.world.services_named(host).filter(|service| self.is_ours(service)).filter(|service| {
                // A name that the client may not see does not exist for it.
                service.is_visible_to(Some(client))
            })
        };
        let of = |namespace: &str| usable().find(|service| **service.namespace() == *namespace);
        of(client)
            .or_else(|| usable().find(|service| service.canonical))
            .or_else(|| self.settings.preferred_namespace.as_deref().and_then(of))
            .or_else(|| usable().next())
    }

    /// A name outside the cluster's domain without an address of the mesh's own is only known to its owner's servers.
    fn is_ours(self, service: &Service) -> bool {
        let domain = &*self.world.node().cluster_domain;
        let above = service.hostname().strip_suffix(domain).and_then(|host| host.strip_suffix('.'));
        !service.vips.is_empty() || above.is_some_and(|above| above.ends_with(".svc"))
    }

    /// The addresses of one type; `None` when the mesh knows of no address at all.
    ///
    /// ztunnel answers "no records" then. But so it hides an ExternalName, which has an alias in the cluster's DNS, and
    /// a headless service whose endpoints somebody else publishes.
    fn addresses(self, service: &Service, kind: u16) -> Option<(Outcome, Vec<IpAddr>)> {
        let is_kind = |address: &IpAddr| address.is_ipv6() == (kind == AAAA);
        let of_kind: Vec<IpAddr> = if service.vips.is_empty() {
            let endpoints = || {
                let endpoints = self.world.endpoints(&service.key).map(|endpoint| &endpoint.workload);
                endpoints.filter(|at| service.takes_unhealthy() || at.health == Health::Healthy)
            };
            if endpoints().all(|workload| workload.addresses.is_empty()) {
                return None;
            }
            endpoints().filter_map(|workload| workload.addresses.iter().copied().find(is_kind)).collect()
        } else {
            let near = service.vips.iter().filter(|vip| *vip.network == *self.asker.network);
            near.map(|vip| vip.address).filter(is_kind).collect()
        };
        let family = if kind == AAAA { SOME_V6 } else { SOME_V4 };
        if (kind == AAAA && !self.settings.ipv6) || !service.ip_families.allow(family) {
            return Some((Outcome::WrongFamily, Vec::new()));
        }
        let outcome = if of_kind.is_empty() { Outcome::Empty } else { Outcome::Found };
        Some((outcome, of_kind))
    }
}

fn shuffle(addresses: &mut [IpAddr], pick: Pick) {
    for (turn, last) in (0_u64..).zip((1..addresses.len()).rev()) {
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        if let Ok(other) = usize::try_from(pick.below(turn, bound)) {
            addresses.swap(last, other);
        }
    }
}

/// The response, at most `most` bytes long: with as many records as fit, and told to be truncated when they are not all.
///
/// With `alias`, the asked name is an alias of its own first labels, which the addresses then belong to.
fn encode(query: &Query<'_>, alias: Option<usize>, addresses: &[IpAddr], most: usize) -> Vec<u8> {
    let opt = query.edns.map_or(0, |_| OPT_LENGTH);
    let room = most.saturating_sub(opt);
    let mut body = Vec::new();
    let mut records = 0_u16;
    let mut owner = ASKED_NAME;
    let start = HEADER.saturating_add(query.question.len());
    if let Some(labels) = alias {
        owner = u16::try_from(start.saturating_add(RECORD)).map_or(ASKED_NAME, |at| 0xc000 | at);
        let mut name = Vec::new();
        for label in query.asked.name.labels().take(labels) {
            name.extend(u8::try_from(label.len()));
            name.extend_from_slice(label);
        }
        name.push(0);
        write_record(&mut body, ASKED_NAME, CNAME, &name);
        records = 1;
    }
    let mut whole = true;
    for address in addresses {
        let before = body.len();
        match address {
            IpAddr::V4(v4) => write_record(&mut body, owner, A, &v4.octets()),
            IpAddr::V6(v6) => write_record(&mut body, owner, AAAA, &v6.octets()),
        }
        whole = start.saturating_add(body.len()) <= room && records < u16::MAX;
        if !whole {
            body.truncate(before);
            break;
        }
        records = records.saturating_add(1);
    }
    let truncated = if whole { 0 } else { TRUNCATED };
    let flags = QR | AUTHORITATIVE | RA | truncated | (query.flags & (RD | CD));
    let mut message = Vec::with_capacity(start.saturating_add(body.len()).saturating_add(opt));
    write_header(&mut message, query.id, flags, [1, records, 0, u16::from(query.edns.is_some())]);
    message.extend_from_slice(query.question);
    message.extend_from_slice(&body);
    if let Some(edns) = query.edns {
        let payload = edns.payload.max(512);
        message.push(0);
        for word in [OPT, payload, 0, edns.flags & DO, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
    }
    message
}

fn write_record(body: &mut Vec<u8>, owner: u16, kind: u16, data: &[u8]) {
    for word in [owner, kind, INTERNET, 0, TTL, u16::try_from(data.len()).unwrap_or(u16::MAX)] {
        body.extend_from_slice(&word.to_be_bytes());
    }
    body.extend_from_slice(data);
}

const CNAME: u16 = 5;
const INTERNET: u16 = 1;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
/// Seconds that a client may remember an answer.
const TTL: u16 = 30;
/// What every client takes over UDP.
const SMALLEST: usize = 512;
/// A pointer to the question's name.
const ASKED_NAME: u16 = 0xc00c;
/// A record's fixed part, its owner being a pointer.
const RECORD: usize = 12;
const OPT_LENGTH: usize = 11;
const SOME_V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const SOME_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
