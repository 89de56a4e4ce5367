//! NetworkPolicies against the mesh: what they let through by its own port and would drop once it travels by 15008, and
//! probes that come from an address of the mesh. Policies are read as Kubernetes defines them; no packet is sent.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::selector::{Labels, picks};

/// Pods that no policy can tell from one another, but by their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Their namespace.
    pub(super) namespace: String,
    /// Their labels.
    pub(super) labels: Labels,
    /// One of them, for people.
    pub(super) example: String,
    /// The addresses of all.
    pub(super) addresses: Vec<IpAddr>,
    /// The ports, by number, on which kubelets probe them.
    pub(super) probed: Vec<u16>,
}

/// Which way traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Into the pods that a policy selects.
    Ingress,
    /// Out of them.
    Egress,
}

/// Traffic that a policy lets through today and would no longer once it is tunnelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    /// The policy whose rule lets it through, as `namespace/name`.
    pub(super) policy: String,
    /// Which way.
    pub(super) direction: Direction,
    /// A pod that the policy selects.
    pub(super) pod: String,
    /// A pod at the other end.
    pub(super) peer: String,
}

/// A probe that would be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// Policies that select the pod; none has a rule for it.
    pub(super) policies: Vec<String>,
    /// The pod.
    pub(super) pod: String,
    /// The port.
    pub(super) port: u16,
}

/// What is looked at together.
#[derive(Debug)]
pub(super) struct World<'a> {
    /// Every policy.
    pub(super) policies: &'a [NetworkPolicy],
    /// Every namespace, for its labels.
    pub(super) namespaces: &'a [Namespace],
    /// Pods of the mesh.
    pub(super) mesh: &'a [Group],
}

/// A rule of either direction.
struct Rule<'a> {
    policy: &'a NetworkPolicy,
    peers: &'a [NetworkPolicyPeer],
    ports: &'a [NetworkPolicyPort],
}

impl World<'_> {
    /// Connections between pods of the mesh that a policy lets through by another port than 15008, and nothing by that one.
    #[must_use]
    pub(super) fn blocked(&self) -> Vec<Blocked> {
        let mut found: Vec<Blocked> = Vec::new();
        for group in self.mesh {
            for direction in [Direction::Ingress, Direction::Egress] {
                let rules = self.rules(group, direction);
                for rule in rules.iter().filter(|rule| rule.carries_tcp()) {
                    let mut peers = self.mesh.iter().filter(|peer| self.meets(rule, peer));
                    let stopped = peers.find(|peer| {
                        !rules.iter().any(|other| other.opens(HBONE) && self.meets(other, peer))
                    });
                    let Some(peer) = stopped else { continue };
                    let policy = named(rule.policy);
                    if !found.iter().any(|known| known.policy == policy && known.direction == direction) {
                        let (pod, peer) = (group.example.clone(), peer.example.clone());
                        found.push(Blocked { policy, direction, pod, peer });
                    }
                }
            }
        }
        found
    }

    /// Probes of mesh pods that no rule lets in from the address that they have in the mesh.
    #[must_use]
    pub(super) fn probes(&self, source: IpAddr) -> Vec<Probe> {
        let mut found = Vec::new();
        for group in self.mesh.iter().filter(|group| !group.probed.is_empty()) {
            let rules = self.rules(group, Direction::Ingress);
            let policies: Vec<String> = self.selecting(group, Direction::Ingress).map(named).collect();
            if policies.is_empty() {
                continue;
            }
            let closed = group
                .probed
                .iter()
                .find(|port| !rules.iter().any(|rule| rule.opens(**port) && self.admits(rule, source)));
            if let Some(port) = closed {
                found.push(Probe { policies, pod: group.example.clone(), port: *port });
            }
        }
        found
    }

    fn selecting(&self, group: &Group, direction: Direction) -> impl Iterator<Item = &NetworkPolicy> {
        self.policies.iter().filter(move |policy| {
            let Some(spec) = &policy.spec else { return false };
            policy.metadata.namespace.as_deref() == Some(group.namespace.as_str())
                && spec.pod_selector.as_ref().is_none_or(|selector| picks(selector, &group.labels))
                && isolates(policy, direction)
        })
    }

    fn rules(&self, group: &Group, direction: Direction) -> Vec<Rule<'_>> {
        let mut rules = Vec::new();
        for policy in self.selecting(group, direction) {
            let Some(spec) = &policy.spec else { continue };
            match direction {
                Direction::Ingress => rules.extend(spec.ingress.iter().flatten().map(|rule| Rule {
                    policy,
                    peers: rule.from.as_deref().unwrap_or_default(),
                    ports: rule.ports.as_deref().unwrap_or_default(),
                })),
                Direction::Egress => rules.extend(spec.egress.iter().flatten().map(|rule| Rule {
                    policy,
                    peers: rule.to.as_deref().unwrap_or_default(),
                    ports: rule.ports.as_deref().unwrap_or_default(),
                })),
            }
        }
        rules
    }

    /// Whether a group of pods is among a rule's peers.
    fn meets(&self, rule: &Rule<'_>, group: &Group) -> bool {
        rule.peers.is_empty()
            || rule.peers.iter().any(|peer| match &peer.ip_block {
                Some(_) => group.addresses.iter().any(|address| in_block(peer, *address)),
                None => self.picks_group(rule, peer, group),
            })
    }

    fn picks_group(&self, rule: &Rule<'_>, peer: &NetworkPolicyPeer, group: &Group) -> bool {
        let here = rule.policy.metadata.namespace.as_deref() == Some(group.namespace.as_str());
        let namespace = peer
            .namespace_selector
            .as_ref()
            .map_or(here, |selector| picks(selector, &self.namespace_labels(&group.namespace)));
        namespace && peer.pod_selector.as_ref().is_none_or(|selector| picks(selector, &group.labels))
    }

    /// Whether an address that is no pod's is among a rule's peers.
    #[expect(clippy::unused_self, reason = "reads beside `meets`")]
    fn admits(&self, rule: &Rule<'_>, address: IpAddr) -> bool {
        rule.peers.is_empty() || rule.peers.iter().any(|peer| in_block(peer, address))
    }

    fn namespace_labels(&self, name: &str) -> Labels {
        let found = self.namespaces.iter().find(|one| one.metadata.name.as_deref() == Some(name));
        let mut labels = found.and_then(|one| one.metadata.labels.clone()).unwrap_or_default();
        // The API server writes it; a listing of an older one may be without.
        labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| name.to_owned());
        labels
    }
}

impl Rule<'_> {
    /// Whether the rule lets TCP to this port through. A port by name is one of the application's.
    fn opens(&self, port: u16) -> bool {
        self.ports.is_empty()
            || self.ports.iter().filter(|one| is_tcp(one)).any(|one| match (&one.port, one.end_port) {
                (None, _) => true,
                (Some(IntOrString::Int(first)), last) => {
                    (*first..=last.unwrap_or(*first)).contains(&i32::from(port))
                }
                (Some(IntOrString::String(_)), _) => false,
            })
    }

    /// Whether the mesh would carry what the rule is for: TCP, and more than names to be looked up.
    fn carries_tcp(&self) -> bool {
        let dns = |one: &NetworkPolicyPort| one.port == Some(IntOrString::Int(53));
        self.ports.is_empty() || self.ports.iter().any(|one| is_tcp(one) && !dns(one))
    }
}

fn is_tcp(port: &NetworkPolicyPort) -> bool {
    port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
}

/// Whether a policy closes what it does not open, in a direction. Ingress is always meant unless types are given.
fn isolates(policy: &NetworkPolicy, direction: Direction) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let types = spec.policy_types.as_deref().unwrap_or_default();
    match direction {
        Direction::Ingress => types.is_empty() || types.iter().any(|one| one == "Ingress"),
        Direction::Egress if types.is_empty() => spec.egress.is_some(),
        Direction::Egress => types.iter().any(|one| one == "Egress"),
    }
}

fn in_block(peer: &NetworkPolicyPeer, address: IpAddr) -> bool {
    let Some(block) = &peer.ip_block else { return false };
    let within = |text: &String| text.parse::<IpNet>().is_ok_and(|block| block.contains(&address));
    within(&block.cidr) && !block.except.iter().flatten().any(within)
}

fn named(policy: &NetworkPolicy) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", part(&policy.metadata.namespace), part(&policy.metadata.name))
}

/// The port of the tunnel.
const HBONE: u16 = 15008;

#[cfg(test)]
mod tests;
