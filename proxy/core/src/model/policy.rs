//! An authorization policy: which connections it means, and whether it allows or denies them.

use ipnet::IpNet;

use crate::Str;

/// Which connections are meant, and whether they are allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `<namespace>/<name>`: the name under which workloads refer to it.
    pub key: Str,
    /// The object's name.
    pub name: Str,
    /// The namespace it belongs to, and covers when its scope is [`Scope::Namespace`].
    pub namespace: Str,
    /// Which workloads it covers.
    pub scope: Scope,
    /// What it does with the connections it means.
    pub action: Action,
    /// Only tell what it would do.
    pub dry_run: bool,
    /// Which connections it means.
    pub rules: Rules,
}

impl Policy {
    /// Whether istiod made it out of a PeerAuthentication, to refuse plain text.
    #[must_use]
    pub fn is_of_peer_authentication(&self) -> bool {
        self.action == Action::Deny
            && (*self.name == *"istio_converted_static_strict"
                || self.name.starts_with("converted_peer_authentication_"))
    }
}

/// Which workloads a policy covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All.
    Global,
    /// Those of its namespace.
    Namespace,
    /// Those that name it.
    WorkloadSelector,
}

/// What a policy does with the connections it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Allow; where any such policy exists, what none of them means is denied.
    Allow,
    /// Deny, whatever else allows.
    Deny,
}

/// Which connections a policy means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Those that one of the rules means; none when there is no rule.
    Any(Vec<Rule>),
    /// The policy came in a form we cannot read. It allows nothing, and denies everything it covers.
    Unreadable,
}

/// Means a connection when every clause does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// All must hold.
    pub clauses: Vec<Clause>,
}

/// Means a connection when one of the matches does, or when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clause {
    /// One is enough.
    pub matches: Vec<Match>,
}

/// Means a connection when every attribute agrees. One that asks for nothing at all means no connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The source's namespace; empty for a source without identity.
    pub namespaces: Attribute<StringMatch>,
    /// The source's identity without `spiffe://`; a source without identity matches no pattern.
    pub principals: Attribute<StringMatch>,
    /// The source's namespace and service account.
    pub service_accounts: Attribute<ServiceAccountMatch>,
    /// The source's address.
    pub source_ips: Attribute<IpNet>,
    /// The address that the application is reached at.
    pub destination_ips: Attribute<IpNet>,
    /// The port that the application is reached at.
    pub destination_ports: Attribute<u16>,
}

impl Match {
    /// Whether it asks for nothing at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.principals.is_empty()
            && self.service_accounts.is_empty()
            && self.source_ips.is_empty()
            && self.destination_ips.is_empty()
            && self.destination_ports.is_empty()
    }
}

/// What one attribute must be, and what it must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<T> {
    /// One of these, unless the list is empty.
    pub is: Vec<T>,
    /// None of these.
    pub is_not: Vec<T>,
}

impl<T> Attribute<T> {
    /// Whether the attribute may be anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.is.is_empty() && self.is_not.is_empty()
    }
}

impl<T> Default for Attribute<T> {
    fn default() -> Self {
        Self { is: Vec::new(), is_not: Vec::new() }
    }
}

/// A pattern over a text, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StringMatch {
    /// The whole text.
    Exact(Str),
    /// Its beginning.
    Prefix(Str),
    /// Its end.
    Suffix(Str),
    /// Anything but the empty text.
    Presence,
}

impl StringMatch {
    /// Whether the text fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(want) => text == &**want,
            Self::Prefix(want) => text.starts_with(&**want),
            Self::Suffix(want) => text.ends_with(&**want),
            Self::Presence => !text.is_empty(),
        }
    }
}

/// One service account, in any trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAccountMatch {
    /// Its namespace.
    pub namespace: Str,
    /// Its name.
    pub service_account: Str,
}
