//! Whether a policy means a connection.

use std::{
    cell::OnceCell,
    fmt,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use super::Connection;
use crate::model::{
    Action, Attribute, Clause, Identity, Match, Policy, Rule, Rules, ServiceAccountMatch, StringMatch,
};

/// A connection, as matches see it.
pub(super) struct Facts<'a> {
    connection: &'a Connection,
    source: IpAddr,
    target: SocketAddr,
    /// Built for the first policy that asks.
    principal: OnceCell<String>,
}

/// One pattern of a match, and what it is compared with.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Namespace(&'a StringMatch),
    Principal(&'a StringMatch),
    Account(&'a ServiceAccountMatch),
    Source(&'a IpNet),
    Destination(&'a IpNet),
    Port(u16),
}

impl<'a> Facts<'a> {
    pub(super) fn of(connection: &'a Connection) -> Self {
        let source = connection.source.ip().to_canonical();
        let target = super::canonical(connection.target);
        Self { connection, source, target, principal: OnceCell::new() }
    }

    pub(super) fn meant_by(&self, policy: &Policy) -> bool {
        match &policy.rules {
            Rules::Any(rules) => rules.iter().any(|rule| self.meant_by_rule(rule)),
            Rules::Unreadable => policy.action == Action::Deny,
        }
    }

    pub(super) fn meant_by_rule(&self, rule: &Rule) -> bool {
        rule.clauses.iter().all(|Clause { matches }| {
            matches.is_empty() || matches.iter().any(|wanted| self.meant_by_match(wanted))
        })
    }

    pub(super) fn meant_by_match(&self, wanted: &Match) -> bool {
        let Match {
            namespaces,
            principals,
            service_accounts,
            source_ips,
            destination_ips,
            destination_ports,
        } = wanted;
        !wanted.is_empty()
            && holds(namespaces, |pattern| self.fits(Wanted::Namespace(pattern)))
            && holds(principals, |pattern| self.fits(Wanted::Principal(pattern)))
            && holds(service_accounts, |account| self.fits(Wanted::Account(account)))
            && holds(source_ips, |net| self.fits(Wanted::Source(net)))
            && holds(destination_ips, |net| self.fits(Wanted::Destination(net)))
            && holds(destination_ports, |port| self.fits(Wanted::Port(*port)))
    }

    /// Whether one pattern fits.
    pub(super) fn fits(&self, wanted: Wanted<'_>) -> bool {
        match wanted {
            Wanted::Namespace(pattern) => pattern.fits(self.namespace()),
            // Without an identity there is nothing that even an empty pattern fits.
            Wanted::Principal(pattern) => self.identity().is_some() && pattern.fits(self.principal()),
            Wanted::Account(account) => self.identity().is_some_and(|identity| {
                identity.namespace == account.namespace && identity.service_account == account.service_account
            }),
            Wanted::Source(net) => net.contains(&self.source),
            Wanted::Destination(net) => net.contains(&self.target.ip()),
            Wanted::Port(port) => port == self.target.port(),
        }
    }

    /// What a pattern is compared with, for people.
    pub(super) fn seen(&self, wanted: Wanted<'_>) -> String {
        match wanted {
            Wanted::Principal(_) | Wanted::Account(_) | Wanted::Namespace(_) if self.identity().is_none() => {
                "no identity".to_owned()
            }
            Wanted::Principal(_) => self.principal().to_owned(),
            Wanted::Namespace(_) => self.namespace().to_owned(),
            Wanted::Account(_) => self.identity().map_or_else(String::new, |identity| {
                format!("{}/{}", identity.namespace, identity.service_account)
            }),
            Wanted::Source(_) => self.source.to_string(),
            Wanted::Destination(_) => self.target.ip().to_string(),
            Wanted::Port(_) => self.target.port().to_string(),
        }
    }

    pub(super) const fn identity(&self) -> Option<&Identity> {
        self.connection.identity.as_ref()
    }

    pub(super) const fn source(&self) -> IpAddr {
        self.source
    }

    pub(super) const fn target(&self) -> SocketAddr {
        self.target
    }

    /// Empty without an identity.
    pub(super) fn namespace(&self) -> &str {
        self.identity().map_or("", |identity| &identity.namespace)
    }

    /// Empty without an identity.
    pub(super) fn principal(&self) -> &str {
        self.principal.get_or_init(|| self.identity().map(Identity::principal).unwrap_or_default())
    }
}

/// As a policy of Kubernetes would write it.
impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(pattern) | Self::Principal(pattern) => match pattern {
                StringMatch::Exact(text) => f.write_str(text),
                StringMatch::Prefix(text) => write!(f, "{text}*"),
                StringMatch::Suffix(text) => write!(f, "*{text}"),
                StringMatch::Presence => f.write_str("*"),
            },
            Self::Account(account) => write!(f, "{}/{}", account.namespace, account.service_account),
            Self::Source(net) | Self::Destination(net) => write!(f, "{net}"),
            Self::Port(port) => write!(f, "{port}"),
        }
    }
}

/// One attribute: one of these, unless there is none to be; and none of those.
fn holds<T>(attribute: &Attribute<T>, fits: impl Fn(&T) -> bool) -> bool {
    (attribute.is.is_empty() || attribute.is.iter().any(&fits)) && !attribute.is_not.iter().any(&fits)
}
