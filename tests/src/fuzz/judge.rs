//! Authorization policies, held against a second, slower reading of the same bytes that shares no code with the first.

use std::net::{IpAddr, SocketAddr};

use prost::Message;
use proxy_core::decide::{Connection, authorize};
use proxy_core::model::{Identity, Workload};
use proxy_core::world::Change;
use proxy_core::{Moment, decode};
use xds_proto::istio::security::{self as wire, string_match::MatchType};

use super::discovery::{CLIENT, SERVER, some_workload, some_world};

/// Whatever the bytes: nobody is admitted whom the policy, read as a person would, does not admit; and one that cannot be
/// read admits nobody.
pub(super) fn authorization(bytes: &[u8]) {
    let change = match decode::authorization(KEY, bytes) {
        Ok(change) => change,
        Err(refused) => {
            assert!(refused.error.to_string().contains(KEY), "{}", refused.error);
            return unreadable(refused.instead, bytes);
        }
    };
    let policy = wire::Authorization::decode(bytes).expect("what we read, anybody can");
    let (world, workload) = world_with(change);
    // The workload names it, so its scope does not matter.
    let in_force = !policy.dry_run;
    for connection in connections() {
        let admitted = authorize(&world, &workload, &connection, Moment::default()).is_ok();
        let meant = policy.rules.iter().any(|rule| rule_means(rule, &connection));
        let extended = policy.rules.iter().flat_map(|r| &r.clauses).flat_map(|c| &c.matches);
        // A condition that nobody here understands: an allowing match means nothing, a denying one as much as without it.
        let extended = extended.into_iter().any(|m| !m.extensions.is_empty());
        let want = match (in_force, policy.action == i32::from(wire::Action::Deny)) {
            (false, _) => true,
            (true, true) => !meant,
            (true, false) => meant,
        };
        assert!(!admitted || want, "{connection:?} is admitted against {policy:?}");
        assert!(admitted || !want || extended, "{connection:?} is refused against {policy:?}");
    }
    widened(&policy);
}

/// The policy of its own is not readable, so whoever it covers lets nobody in; and a policy that only tells refuses nobody.
fn unreadable(instead: Change, bytes: &[u8]) {
    let Change::UnreadablePolicy(outline) = &instead else { panic!("{instead:?}") };
    let dry_run = outline.dry_run;
    let (world, workload) = world_with(instead);
    for connection in connections() {
        let admitted = authorize(&world, &workload, &connection, Moment::default()).is_ok();
        assert!(!admitted || dry_run, "{connection:?} is admitted by {bytes:?}");
    }
}

/// One unreadable item more makes the whole policy unreadable: it is never dropped from its list.
fn widened(policy: &wire::Authorization) {
    let bad = wire::Address { address: vec![10, 0, 0], length: 8 };
    let mut worse = policy.clone();
    let matches = worse.rules.iter_mut().flat_map(|r| &mut r.clauses).flat_map(|c| &mut c.matches);
    let Some(first) = matches.into_iter().next() else { return };
    first.source_ips.push(bad);
    assert!(decode::authorization(KEY, &worse.encode_to_vec()).is_err(), "taken: {worse:?}");
    let clauses = worse.rules.iter_mut().flat_map(|r| &mut r.clauses);
    for wanted in clauses.flat_map(|c| &mut c.matches).take(1) {
        wanted.source_ips.pop();
        wanted.principals.push(wire::StringMatch { match_type: None });
    }
    assert!(decode::authorization(KEY, &worse.encode_to_vec()).is_err(), "taken: {worse:?}");
}

fn world_with(change: Change) -> (proxy_core::world::World, Workload) {
    let mut world = some_world();
    let mut workload = some_workload();
    workload.authorization_policies = vec![KEY.into()];
    world.apply(vec![Change::Workload(Box::new(workload.clone())), change], Moment::default());
    (world, workload)
}

fn connections() -> Vec<Connection> {
    let identities = [
        None,
        Some(Identity::new("cluster.local", "ns", "a")),
        Some(Identity::new("cluster.local", "other", "default")),
    ];
    let sources = [CLIENT, "192.168.7.9:1".parse().unwrap(), "[2001:db8::1]:9".parse().unwrap()];
    let targets: [SocketAddr; 2] = [SERVER, "[2001:db8::2]:443".parse().unwrap()];
    let mut all = Vec::new();
    for identity in identities {
        for (source, target) in sources.into_iter().zip(targets.into_iter().cycle()) {
            all.push(Connection { source, identity: identity.clone(), target });
        }
    }
    all
}

fn rule_means(rule: &wire::Rule, connection: &Connection) -> bool {
    rule.clauses.iter().all(|clause| {
        clause.matches.is_empty() || clause.matches.iter().any(|wanted| match_means(wanted, connection))
    })
}

fn match_means(wanted: &wire::Match, connection: &Connection) -> bool {
    if wanted.encoded_len() == 0 {
        return false;
    }
    let identity = connection.identity.as_ref();
    let namespace = identity.map_or(String::new(), |i| i.namespace.to_string());
    let principal =
        identity.map(|i| format!("{}/ns/{}/sa/{}", i.trust_domain, i.namespace, i.service_account));
    let is_principal = |m: &wire::StringMatch| principal.as_ref().is_some_and(|p| text_fits(m, p));
    let is_account = |m: &wire::ServiceAccountMatch| {
        identity.is_some_and(|i| m.namespace == *i.namespace && m.service_account == *i.service_account)
    };
    let one = |lists: [(bool, bool, bool); 6]| lists.into_iter().all(|(any, is, not)| (any || is) && !not);
    one([
        both(&wanted.namespaces, &wanted.not_namespaces, |m| text_fits(m, &namespace)),
        both(&wanted.principals, &wanted.not_principals, is_principal),
        both(&wanted.service_accounts, &wanted.not_service_accounts, is_account),
        both(&wanted.source_ips, &wanted.not_source_ips, |m| net_holds(m, connection.source.ip())),
        both(&wanted.destination_ips, &wanted.not_destination_ips, |m| net_holds(m, connection.target.ip())),
        both(&wanted.destination_ports, &wanted.not_destination_ports, |p| {
            *p == u32::from(connection.target.port())
        }),
    ])
}

fn both<T>(is: &[T], is_not: &[T], fits: impl Fn(&T) -> bool) -> (bool, bool, bool) {
    (is.is_empty(), is.iter().any(&fits), is_not.iter().any(&fits))
}

fn text_fits(pattern: &wire::StringMatch, text: &str) -> bool {
    match pattern.match_type.as_ref().expect("a pattern without a kind was taken") {
        MatchType::Exact(want) => text == want,
        MatchType::Prefix(want) => text.starts_with(want.as_str()),
        MatchType::Suffix(want) => text.ends_with(want.as_str()),
        MatchType::Presence(()) => !text.is_empty(),
    }
}

/// Bit by bit.
fn net_holds(net: &wire::Address, ip: IpAddr) -> bool {
    let bits = |bytes: &[u8]| -> Vec<bool> {
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1)).collect()
    };
    let ip = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let length = usize::try_from(net.length).expect("a small number");
    // An IPv4 network may be written as a mapped one.
    let mapped = net.address.len() == 16
        && net.address[..10].iter().all(|b| *b == 0)
        && net.address[10..12] == [255; 2];
    let (address, length) = if mapped && length >= 96 {
        (net.address[12..].to_vec(), length - 96)
    } else {
        (net.address.clone(), length)
    };
    address.len() == ip.len() && bits(&address)[..length] == bits(&ip)[..length]
}

const KEY: &str = "ns/policy";
