//! AuthorizationPolicy to Authorization: what can be decided without reading HTTP, as istiod cuts it.

use std::collections::BTreeSet;

use xds_proto::istio::security::string_match::MatchType;
use xds_proto::istio::security::{
    Action, Address, Authorization, Clause, Match, Rule, Scope, ServiceAccountMatch, StringMatch,
};

use super::{MeshConfig, Remark, Why, octets, peer};
use crate::objects::kube::Labels;
use crate::objects::security::{
    self as given, AccountName, AuthorizationPolicy, Condition, IpBlock, Operation, PortText, Source,
};
use crate::objects::{Kind, Objects};

/// A policy for the wire, and which workloads name it.
pub(super) struct Policy<'a> {
    pub(super) wire: Authorization,
    /// `None` for a policy that proxies find by its scope.
    pub(super) selector: Option<&'a Labels>,
}

impl Policy<'_> {
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.wire.namespace, self.wire.name)
    }
}

/// Every policy that is sent, those made from PeerAuthentication included.
pub(super) fn convert<'a>(
    objects: &'a Objects,
    mesh: &MeshConfig,
    remarks: &mut Vec<Remark>,
) -> Vec<Policy<'a>> {
    let mut policies = Vec::new();
    for policy in objects.authorizations.values() {
        let mut remark = |why| {
            let (namespace, name) = (policy.metadata.namespace.clone(), policy.metadata.name.clone());
            remarks.push(Remark { kind: Kind::AuthorizationPolicy, namespace, name, why });
        };
        policies.extend(one(policy, mesh, &mut remark));
    }
    policies.extend(peer::convert(objects, mesh));
    policies
}

fn one<'a>(
    policy: &'a AuthorizationPolicy,
    mesh: &MeshConfig,
    remark: &mut dyn FnMut(Why),
) -> Option<Policy<'a>> {
    let (metadata, spec) = (&policy.metadata, &policy.spec);
    let dry_run = metadata.annotations.get("istio.io/dry-run").is_some_and(|value| go_true(value));
    if dry_run && !mesh.dry_run_policies {
        remark(Why::DryRun);
        return None;
    }
    if spec.target_ref.is_some() || !spec.target_refs.is_empty() {
        return None; // for a waypoint
    }
    let action = match spec.action {
        given::Action::Allow => Action::Allow,
        given::Action::Deny => Action::Deny,
        given::Action::Audit => {
            remark(Why::Action("AUDIT"));
            return None;
        }
        given::Action::Custom => {
            remark(Why::Action("CUSTOM"));
            return None;
        }
    };
    let scope = match &spec.selector {
        Some(_) => Scope::WorkloadSelector,
        None if metadata.namespace == mesh.root_namespace => Scope::Global,
        None => Scope::Namespace,
    };
    let selector = spec.selector.as_ref().and_then(|selector| selector.match_labels.as_ref());
    if scope == Scope::WorkloadSelector && selector.is_none() {
        remark(Why::EmptySelector);
    }
    let rules = spec.rules.iter().filter_map(|given| rule(given, action, &metadata.namespace, remark));
    let wire = Authorization {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        scope: scope.into(),
        action: action.into(),
        rules: rules.collect(),
        dry_run,
        extensions: Vec::new(),
    };
    Some(Policy { wire, selector })
}

/// Clauses in istiod's order: operations, sources, then each condition. An ALLOW rule that also asks for something in
/// HTTP is left out, so that it allows nothing; a DENY rule keeps what can be enforced.
fn rule(given: &given::Rule, action: Action, namespace: &str, remark: &mut dyn FnMut(Why)) -> Option<Rule> {
    let mut http = BTreeSet::new();
    let mut clauses = Vec::new();
    let operations: Vec<_> = given.to.iter().map(|to| operation(&to.operation, &mut http)).collect();
    let sources: Vec<_> = given.from.iter().map(|from| source(&from.source, namespace, &mut http)).collect();
    clauses.extend([operations, sources].into_iter().filter(|matches| !matches.is_empty()));
    clauses.extend(given.when.iter().map(|when| vec![condition(when, namespace, &mut http)]));
    if !http.is_empty() {
        let found = http.into_iter().collect::<Vec<_>>().join(", ");
        match action {
            Action::Allow => {
                remark(Why::HttpInAllow(found));
                return None;
            }
            Action::Deny => remark(Why::HttpInDeny(found)),
        }
    }
    Some(Rule { clauses: clauses.into_iter().map(|matches| Clause { matches }).collect() })
}

fn operation(given: &Operation, http: &mut BTreeSet<String>) -> Match {
    let Operation { ports: yes, not_ports, hosts, not_hosts, methods, not_methods, paths, not_paths } = given;
    let unseen = [
        ("hosts", hosts),
        ("notHosts", not_hosts),
        ("methods", methods),
        ("notMethods", not_methods),
        ("paths", paths),
        ("notPaths", not_paths),
    ];
    http.extend(unseen.iter().filter(|(_, list)| !list.is_empty()).map(|(name, _)| (*name).to_owned()));
    Match { destination_ports: ports(yes), not_destination_ports: ports(not_ports), ..Match::default() }
}

fn source(given: &Source, namespace: &str, http: &mut BTreeSet<String>) -> Match {
    let unseen = [
        ("remoteIpBlocks", given.remote_ip_blocks.len()),
        ("notRemoteIpBlocks", given.not_remote_ip_blocks.len()),
        ("requestPrincipals", given.request_principals.len()),
        ("notRequestPrincipals", given.not_request_principals.len()),
    ];
    http.extend(unseen.iter().filter(|(_, len)| *len > 0).map(|(name, _)| (*name).to_owned()));
    Match {
        namespaces: strings(&given.namespaces),
        not_namespaces: strings(&given.not_namespaces),
        principals: strings(&given.principals),
        not_principals: strings(&given.not_principals),
        source_ips: blocks(&given.ip_blocks),
        not_source_ips: blocks(&given.not_ip_blocks),
        service_accounts: accounts(&given.service_accounts, namespace),
        not_service_accounts: accounts(&given.not_service_accounts, namespace),
        ..Match::default()
    }
}

/// istiod cannot put `source.serviceAccount` on this wire from a condition and drops it; the wire can carry it, so it
/// is enforced here.
fn condition(given: &Condition, namespace: &str, http: &mut BTreeSet<String>) -> Match {
    let none = Match::default();
    match given {
        Condition::SourceIp(v) => {
            Match { source_ips: blocks(&v.values), not_source_ips: blocks(&v.not_values), ..none }
        }
        Condition::SourceNamespace(v) => {
            Match { namespaces: strings(&v.values), not_namespaces: strings(&v.not_values), ..none }
        }
        Condition::SourcePrincipal(v) => {
            Match { principals: strings(&v.values), not_principals: strings(&v.not_values), ..none }
        }
        Condition::SourceServiceAccount(v) => Match {
            service_accounts: accounts(&v.values, namespace),
            not_service_accounts: accounts(&v.not_values, namespace),
            ..none
        },
        Condition::DestinationIp(v) => {
            Match { destination_ips: blocks(&v.values), not_destination_ips: blocks(&v.not_values), ..none }
        }
        Condition::DestinationPort(v) => {
            Match { destination_ports: ports(&v.values), not_destination_ports: ports(&v.not_values), ..none }
        }
        Condition::Http(key) => {
            http.insert(key.clone());
            none
        }
    }
}

/// `*` is any non-empty value, `*x` a suffix, `x*` a prefix.
fn strings(given: &[String]) -> Vec<StringMatch> {
    let kind = |text: &String| match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(""), _) => MatchType::Presence(()),
        (Some(suffix), _) => MatchType::Suffix(suffix.to_owned()),
        (None, Some(prefix)) => MatchType::Prefix(prefix.to_owned()),
        (None, None) => MatchType::Exact(text.clone()),
    };
    given.iter().map(|text| StringMatch { match_type: Some(kind(text)) }).collect()
}

fn ports(given: &[PortText]) -> Vec<u32> {
    given.iter().map(|port| port.0.into()).collect()
}

fn blocks(given: &[IpBlock]) -> Vec<Address> {
    given
        .iter()
        .map(|IpBlock(net)| Address { address: octets(net.addr()), length: net.prefix_len().into() })
        .collect()
}

fn accounts(given: &[AccountName], namespace: &str) -> Vec<ServiceAccountMatch> {
    let one = |account: &AccountName| ServiceAccountMatch {
        namespace: account.namespace.as_deref().unwrap_or(namespace).to_owned(),
        service_account: account.name.clone(),
    };
    given.iter().map(one).collect()
}

/// The spellings of true that Go's ParseBool accepts.
fn go_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}
