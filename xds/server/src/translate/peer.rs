//! PeerAuthentication to Authorization: "no plaintext" said as a DENY of every source without an identity.

use xds_proto::istio::security::string_match::MatchType;
use xds_proto::istio::security::{Action, Authorization, Clause, Match, Rule, Scope, StringMatch};

use super::authorization::Policy;
use super::{MeshConfig, subset};
use crate::objects::Objects;
use crate::objects::kube::Labels;
use crate::objects::security::{Mode, Mtls, PeerAuthentication};

/// The policies that workloads may name: one that is always the same, and one for each object whose ports differ.
pub(super) fn convert<'a>(objects: &'a Objects, mesh: &MeshConfig) -> Vec<Policy<'a>> {
    if objects.peers.is_empty() {
        return Vec::new();
    }
    let root = &mesh.root_namespace;
    let everything = Rule { clauses: vec![clause(without_identity())] };
    let mut policies =
        vec![Policy { wire: deny(STATIC_STRICT.to_owned(), root.clone(), vec![everything]), selector: None }];
    for peer in objects.peers.values().filter(|peer| peer.metadata.namespace != *root) {
        let Some(selector) = &peer.spec.selector else {
            continue;
        };
        let unselected = |namespace: &str| {
            oldest(of_namespace(objects, namespace).filter(|peer| peer.spec.selector.is_none())).map(mode)
        };
        let parents = Parents { namespace: unselected(&peer.metadata.namespace), mesh: unselected(root) };
        if let Some(rules) = port_rules(peer, parents) {
            let wire = deny(converted_name(peer), peer.metadata.namespace.clone(), rules);
            policies.push(Policy { wire, selector: selector.match_labels.as_ref() });
        }
    }
    policies
}

/// The keys that PeerAuthentication puts on a workload: the static policy, its own converted one, or none.
pub(super) fn attached(
    objects: &Objects,
    mesh: &MeshConfig,
    namespace: &str,
    labels: &Labels,
) -> Vec<String> {
    let root = mesh.root_namespace.as_str();
    let of_mesh = oldest(
        of_namespace(objects, root).filter(|peer| for_all(peer) && is_for_root(peer, namespace, root)),
    );
    let here = || {
        let selects = |peer: &&PeerAuthentication| match &peer.spec.selector {
            Some(selector) => selector.match_labels.as_ref().is_none_or(|wanted| subset(wanted, labels)),
            None => true,
        };
        of_namespace(objects, namespace).filter(move |_| namespace != root).filter(selects)
    };
    let of_namespace = oldest(here().filter(|peer| for_all(peer)));
    let of_workload = oldest(here().filter(|peer| !for_all(peer)));

    let mut strict = of_mesh.map(mode) == Some(Mode::Strict);
    match of_namespace.map(mode) {
        None | Some(Mode::Unset) => {}
        Some(Mode::Strict) => strict = true,
        Some(Mode::Permissive | Mode::Disable) => strict = false,
    }
    let own = of_workload.and_then(|peer| own_ports(peer, &mut strict));
    let strict = strict.then(|| format!("{root}/{STATIC_STRICT}"));
    let mut keys: Vec<_> = strict.into_iter().chain(own).collect();
    keys.sort();
    keys
}

/// Settles the workload's own mode in `strict`; the key of its converted policy when its ports make a difference.
fn own_ports(peer: &PeerAuthentication, strict: &mut bool) -> Option<String> {
    let ports = &peer.spec.port_level_mtls;
    let any = |wanted: &[Mode]| ports.values().any(|Mtls { mode }| wanted.contains(mode));
    let differs = match mode(peer) {
        Mode::Strict => {
            let exempt = any(&[Mode::Permissive, Mode::Disable]);
            *strict = !exempt;
            exempt
        }
        Mode::Permissive | Mode::Disable => {
            *strict = false;
            any(&[Mode::Strict])
        }
        // Under an inherited STRICT istiod looks for PERMISSIVE ports only, not for DISABLE.
        Mode::Unset if *strict => {
            let exempt = any(&[Mode::Permissive]);
            *strict = !exempt;
            exempt
        }
        Mode::Unset => any(&[Mode::Strict]),
    };
    differs.then(|| format!("{}/{}", peer.metadata.namespace, converted_name(peer)))
}

/// Modes of the objects above a workload's.
#[derive(Clone, Copy)]
struct Parents {
    namespace: Option<Mode>,
    mesh: Option<Mode>,
}

impl Parents {
    fn strict(self) -> bool {
        match self.namespace {
            Some(Mode::Strict) => true,
            None | Some(Mode::Unset) => self.mesh == Some(Mode::Strict),
            Some(Mode::Permissive | Mode::Disable) => false,
        }
    }

    /// Whether a port may be exempt from what is above. Unlike [`Self::strict`], a namespace's object without a mode
    /// hides the mesh's: istiod then sends no policy, although it may name one.
    fn exemptible(self) -> bool {
        self.namespace.or(self.mesh) == Some(Mode::Strict)
    }
}

/// Rules for an object whose ports have modes of their own; `None` when they add nothing to the levels above.
fn port_rules(peer: &PeerAuthentication, parents: Parents) -> Option<Vec<Rule>> {
    let own = mode(peer);
    let (mut strict_ports, mut exempt_ports) = (Vec::new(), Vec::new());
    for (port, Mtls { mode }) in &peer.spec.port_level_mtls {
        match (mode, own) {
            (Mode::Strict, Mode::Strict) => {}
            (Mode::Strict, Mode::Unset) if parents.strict() => {}
            (Mode::Strict, _) => strict_ports.push(u32::from(*port)),
            (Mode::Permissive | Mode::Disable, Mode::Strict) => exempt_ports.push(u32::from(*port)),
            (Mode::Permissive | Mode::Disable, Mode::Unset) if parents.exemptible() => {
                exempt_ports.push(u32::from(*port));
            }
            (Mode::Permissive | Mode::Disable | Mode::Unset, _) => {}
        }
    }
    if own == Mode::Strict && exempt_ports.is_empty() {
        return None; // the static policy says it all
    }
    let only = |port| Match { destination_ports: vec![port], ..without_identity() };
    let except = |port| Match { not_destination_ports: vec![port], ..Match::default() };
    let mut rules: Vec<_> =
        strict_ports.into_iter().map(|port| Rule { clauses: vec![clause(only(port))] }).collect();
    // One rule, whose clauses must all hold: no identity, and none of the exempt ports.
    let mut together = Vec::new();
    together.extend((own == Mode::Strict).then(|| clause(without_identity())));
    let merge = parents.strict() && !exempt_ports.is_empty();
    together.extend(exempt_ports.into_iter().map(|port| clause(except(port))));
    together.extend(merge.then(|| clause(without_identity())));
    if !together.is_empty() {
        rules.push(Rule { clauses: together });
    }
    (!rules.is_empty()).then_some(rules)
}

fn deny(name: String, namespace: String, rules: Vec<Rule>) -> Authorization {
    Authorization {
        name,
        namespace,
        scope: Scope::WorkloadSelector.into(),
        action: Action::Deny.into(),
        rules,
        ..Authorization::default()
    }
}

fn clause(one: Match) -> Clause {
    Clause { matches: vec![one] }
}

fn without_identity() -> Match {
    let present = StringMatch { match_type: Some(MatchType::Presence(())) };
    Match { not_principals: vec![present], ..Match::default() }
}

fn of_namespace<'a>(
    objects: &'a Objects,
    namespace: &str,
) -> impl Iterator<Item = &'a PeerAuthentication> + use<'a> {
    let first = (namespace.to_owned(), String::new());
    let namespace = namespace.to_owned();
    objects
        .peers
        .range(first..)
        .map(|(_, peer)| peer)
        .take_while(move |peer| peer.metadata.namespace == namespace)
}

/// The oldest of several wins; of the same age, the first by name.
fn oldest<'a>(peers: impl Iterator<Item = &'a PeerAuthentication>) -> Option<&'a PeerAuthentication> {
    peers.min_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp))
}

fn for_all(peer: &PeerAuthentication) -> bool {
    peer.spec
        .selector
        .as_ref()
        .is_none_or(|selector| selector.match_labels.as_ref().is_none_or(Labels::is_empty))
}

/// From elsewhere, an object of the root namespace counts only when it has no selector at all.
fn is_for_root(peer: &PeerAuthentication, namespace: &str, root: &str) -> bool {
    namespace == root || peer.spec.selector.is_none()
}

fn mode(peer: &PeerAuthentication) -> Mode {
    peer.spec.mtls.mode
}

fn converted_name(peer: &PeerAuthentication) -> String {
    format!("converted_peer_authentication_{}", peer.metadata.name)
}

/// An underscore is not allowed in a Kubernetes name, so that nobody else has this one.
const STATIC_STRICT: &str = "istio_converted_static_strict";
