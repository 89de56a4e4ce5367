//! Whether a policy means a connection.

use std::cell::OnceCell;

use ipnet::IpNet;

use super::Connection;
use crate::model::{Action, Attribute, Clause, Match, Policy, Rule, Rules, ServiceAccountMatch, StringMatch};

/// A connection, as matches see it.
pub(super) struct Facts<'a> {
    connection: &'a Connection,
    /// Built for the first policy that asks.
    principal: OnceCell<String>,
}

impl<'a> Facts<'a> {
    pub(super) const fn of(connection: &'a Connection) -> Self {
        Self { connection, principal: OnceCell::new() }
    }

    pub(super) fn meant_by(&self, policy: &Policy) -> bool {
        match &policy.rules {
            Rules::Any(rules) => rules.iter().any(|rule| self.meant_by_rule(rule)),
            Rules::Unreadable => policy.action == Action::Deny,
        }
    }

    fn meant_by_rule(&self, rule: &Rule) -> bool {
        rule.clauses.iter().all(|Clause { matches }| {
            matches.is_empty() || matches.iter().any(|wanted| self.meant_by_match(wanted))
        })
    }

    fn meant_by_match(&self, wanted: &Match) -> bool {
        let Match {
            namespaces,
            principals,
            service_accounts,
            source_ips,
            destination_ips,
            destination_ports,
        } = wanted;
        let Connection { source, identity: _, target } = self.connection;
        let (source, at) = (source.ip().to_canonical(), target.ip().to_canonical());
        !wanted.is_empty()
            && holds(namespaces, |pattern| pattern.fits(self.namespace()))
            && holds(principals, |pattern| self.has_principal(pattern))
            && holds(service_accounts, |account| self.has_account(account))
            && holds(source_ips, |net: &IpNet| net.contains(&source))
            && holds(destination_ips, |net: &IpNet| net.contains(&at))
            && holds(destination_ports, |port| *port == target.port())
    }

    fn namespace(&self) -> &str {
        self.connection.identity.as_ref().map_or("", |identity| &identity.namespace)
    }

    fn has_principal(&self, pattern: &StringMatch) -> bool {
        self.connection
            .identity
            .as_ref()
            .is_some_and(|identity| pattern.fits(self.principal.get_or_init(|| identity.principal())))
    }

    fn has_account(&self, account: &ServiceAccountMatch) -> bool {
        self.connection.identity.as_ref().is_some_and(|identity| {
            identity.namespace == account.namespace && identity.service_account == account.service_account
        })
    }
}

/// One attribute: one of these, unless there is none to be; and none of those.
fn holds<T>(attribute: &Attribute<T>, fits: impl Fn(&T) -> bool) -> bool {
    (attribute.is.is_empty() || attribute.is.iter().any(&fits)) && !attribute.is_not.iter().any(&fits)
}
