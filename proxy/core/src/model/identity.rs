//! Who a workload is: its SPIFFE identity.

use std::{fmt, str::FromStr};

use crate::Str;

/// A SPIFFE identity of the form `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
///
/// None of the three parts is empty or holds a `/` when the value came from [`FromStr`] or from the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The domain whose authority signs the identity, such as `cluster.local`.
    pub trust_domain: Str,
    /// The Kubernetes namespace.
    pub namespace: Str,
    /// The Kubernetes service account.
    pub service_account: Str,
}

/// A text that is not a SPIFFE identity of a Kubernetes service account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
pub struct ParseIdentityError(String);

impl Identity {
    /// The identity of a service account.
    pub fn new(
        trust_domain: impl Into<Str>,
        namespace: impl Into<Str>,
        service_account: impl Into<Str>,
    ) -> Self {
        Self {
            trust_domain: trust_domain.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        }
    }

    /// The text that policies call a principal: the identity without `spiffe://`.
    #[must_use]
    pub fn principal(&self) -> String {
        format!("{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, namespace, service_account } = self;
        write!(f, "spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
    }
}

impl FromStr for Identity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseIdentityError(text.chars().take(LONGEST_QUOTE).collect()))
    }
}

fn parse(text: &str) -> Option<Identity> {
    let mut parts = text.strip_prefix("spiffe://")?.split('/');
    let (Some(trust_domain), Some("ns"), Some(namespace), Some("sa"), Some(account), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if trust_domain.is_empty() || namespace.is_empty() || account.is_empty() {
        return None;
    }
    Some(Identity::new(trust_domain, namespace, account))
}

/// How much of a peer's text an error repeats, in characters.
const LONGEST_QUOTE: usize = 256;
