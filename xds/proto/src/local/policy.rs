//! Policies as written by hand.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::value::octets;
use crate::istio::security::string_match::MatchType;
use crate::istio::security::{
    Action as WireAction, Address, Authorization, Clause, Match as WireMatch, Rule, Scope as WireScope,
    ServiceAccountMatch as WireAccount, StringMatch as WireString,
};

/// One policy. It is always whole: half a policy would permit what nobody meant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    pub name: String,
    pub namespace: String,
    pub scope: Scope,
    pub action: Action,
    /// Any rule; of a rule every clause; of a clause any match.
    pub rules: Vec<Vec<Vec<Match>>>,
    #[serde(default)]
    pub dry_run: bool,
}

impl Policy {
    /// The name it has on the wire.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    pub(super) fn wire(&self) -> Authorization {
        let clause = |matches: &Vec<Match>| Clause { matches: matches.iter().map(Match::wire).collect() };
        let rule = |clauses: &Vec<Vec<Match>>| Rule { clauses: clauses.iter().map(clause).collect() };
        let scope = match self.scope {
            Scope::Global => WireScope::Global,
            Scope::Namespace => WireScope::Namespace,
            Scope::WorkloadSelector => WireScope::WorkloadSelector,
        };
        let action = match self.action {
            Action::Allow => WireAction::Allow,
            Action::Deny => WireAction::Deny,
        };
        Authorization {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            scope: scope.into(),
            action: action.into(),
            rules: self.rules.iter().map(rule).collect(),
            dry_run: self.dry_run,
            extensions: Vec::new(),
        }
    }
}

/// Which workloads a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Scope {
    Global,
    Namespace,
    /// Those that name it among their `authorizationPolicies`.
    WorkloadSelector,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Action {
    Allow,
    Deny,
}

/// What a connection must be like, in every attribute that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Match {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<StringMatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_namespaces: Vec<StringMatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<ServiceAccountMatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_service_accounts: Vec<ServiceAccountMatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<StringMatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_principals: Vec<StringMatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_source_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_destination_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_ports: Vec<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_destination_ports: Vec<u16>,
}

impl Match {
    fn wire(&self) -> WireMatch {
        let strings = |list: &[StringMatch]| list.iter().map(StringMatch::wire).collect();
        let accounts = |list: &[ServiceAccountMatch]| list.iter().map(ServiceAccountMatch::wire).collect();
        let nets = |list: &[IpNet]| list.iter().map(address).collect();
        let ports = |list: &[u16]| list.iter().map(|port| u32::from(*port)).collect();
        WireMatch {
            namespaces: strings(&self.namespaces),
            not_namespaces: strings(&self.not_namespaces),
            principals: strings(&self.principals),
            not_principals: strings(&self.not_principals),
            source_ips: nets(&self.source_ips),
            not_source_ips: nets(&self.not_source_ips),
            destination_ips: nets(&self.destination_ips),
            not_destination_ips: nets(&self.not_destination_ips),
            destination_ports: ports(&self.destination_ports),
            not_destination_ports: ports(&self.not_destination_ports),
            service_accounts: accounts(&self.service_accounts),
            not_service_accounts: accounts(&self.not_service_accounts),
            extensions: Vec::new(),
        }
    }
}

fn address(net: &IpNet) -> Address {
    Address { address: octets(net.addr()), length: net.prefix_len().into() }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum StringMatch {
    Exact(String),
    Prefix(String),
    Suffix(String),
    /// Any text but the empty one; written `{Presence: []}`.
    Presence([(); 0]),
}

impl StringMatch {
    fn wire(&self) -> WireString {
        let kind = match self {
            Self::Exact(text) => MatchType::Exact(text.clone()),
            Self::Prefix(text) => MatchType::Prefix(text.clone()),
            Self::Suffix(text) => MatchType::Suffix(text.clone()),
            Self::Presence([]) => MatchType::Presence(()),
        };
        WireString { match_type: Some(kind) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccountMatch {
    pub namespace: String,
    pub service_account: String,
}

impl ServiceAccountMatch {
    fn wire(&self) -> WireAccount {
        WireAccount { namespace: self.namespace.clone(), service_account: self.service_account.clone() }
    }
}
