//! Istio's security objects, read strictly: a misspelled field would silently widen a policy, so it is an error.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::kube::{Labels, Metadata};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AuthorizationPolicy {
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: AuthorizationSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AuthorizationSpec {
    pub selector: Option<Selector>,
    pub target_ref: Option<Ignored>,
    pub target_refs: Vec<Ignored>,
    pub action: Action,
    /// Only read so that it is not an unknown field; CUSTOM policies are for waypoints.
    pub provider: Option<Ignored>,
    pub rules: Vec<Rule>,
}

/// A value that is present and not looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(input).map(|_| Self)
    }
}

/// Which workloads of its namespace (all namespaces, from the root namespace) an object is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Selector {
    pub match_labels: Option<Labels>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    #[default]
    Allow,
    Deny,
    Audit,
    Custom,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    pub from: Vec<RuleFrom>,
    pub to: Vec<RuleTo>,
    pub when: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleFrom {
    pub source: Source,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Source {
    pub principals: Vec<String>,
    pub not_principals: Vec<String>,
    pub namespaces: Vec<String>,
    pub not_namespaces: Vec<String>,
    pub service_accounts: Vec<AccountName>,
    pub not_service_accounts: Vec<AccountName>,
    pub ip_blocks: Vec<IpBlock>,
    pub not_ip_blocks: Vec<IpBlock>,
    pub remote_ip_blocks: Vec<IpBlock>,
    pub not_remote_ip_blocks: Vec<IpBlock>,
    pub request_principals: Vec<String>,
    pub not_request_principals: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleTo {
    pub operation: Operation,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Operation {
    pub ports: Vec<PortText>,
    pub not_ports: Vec<PortText>,
    pub hosts: Vec<String>,
    pub not_hosts: Vec<String>,
    pub methods: Vec<String>,
    pub not_methods: Vec<String>,
    pub paths: Vec<String>,
    pub not_paths: Vec<String>,
}

/// A single address or a CIDR block. Host bits are kept as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IpBlock(pub IpNet);

impl TryFrom<String> for IpBlock {
    type Error = FieldError;

    fn try_from(text: String) -> Result<Self, FieldError> {
        let block = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        block.map(Self).ok_or(FieldError::IpBlock(text))
    }
}

/// A port, which Istio's API writes as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortText(pub u16);

impl TryFrom<String> for PortText {
    type Error = FieldError;

    fn try_from(text: String) -> Result<Self, FieldError> {
        text.parse().map(Self).map_err(|_| FieldError::Port(text))
    }
}

/// `name`, in the policy's own namespace, or `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AccountName {
    pub namespace: Option<String>,
    pub name: String,
}

impl TryFrom<String> for AccountName {
    type Error = FieldError;

    fn try_from(text: String) -> Result<Self, FieldError> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text.as_str()),
        };
        if name.is_empty() || name.contains('/') || namespace.is_some_and(str::is_empty) {
            return Err(FieldError::Account(text));
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

/// One `when` entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawCondition")]
pub enum Condition {
    SourceIp(Values<IpBlock>),
    SourceNamespace(Values<String>),
    SourcePrincipal(Values<String>),
    SourceServiceAccount(Values<AccountName>),
    DestinationIp(Values<IpBlock>),
    DestinationPort(Values<PortText>),
    /// An attribute that only a waypoint can see, such as a request header.
    Http(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values<T> {
    pub values: Vec<T>,
    pub not_values: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawCondition {
    key: String,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    not_values: Vec<String>,
}

impl TryFrom<RawCondition> for Condition {
    type Error = FieldError;

    fn try_from(RawCondition { key, values, not_values }: RawCondition) -> Result<Self, FieldError> {
        if values.is_empty() && not_values.is_empty() {
            return Err(FieldError::NoValues(key));
        }
        let text = |values, not_values| Values { values, not_values };
        Ok(match key.as_str() {
            "source.ip" => Self::SourceIp(typed(values, not_values)?),
            "source.namespace" => Self::SourceNamespace(text(values, not_values)),
            "source.principal" => Self::SourcePrincipal(text(values, not_values)),
            "source.serviceAccount" => Self::SourceServiceAccount(typed(values, not_values)?),
            "destination.ip" => Self::DestinationIp(typed(values, not_values)?),
            "destination.port" => Self::DestinationPort(typed(values, not_values)?),
            _ if is_http_attribute(&key) => Self::Http(key),
            _ => return Err(FieldError::Attribute(key)),
        })
    }
}

fn typed<T: TryFrom<String, Error = FieldError>>(
    values: Vec<String>,
    not_values: Vec<String>,
) -> Result<Values<T>, FieldError> {
    let parse = |list: Vec<String>| list.into_iter().map(T::try_from).collect::<Result<_, _>>();
    Ok(Values { values: parse(values)?, not_values: parse(not_values)? })
}

fn is_http_attribute(key: &str) -> bool {
    const EXACT: [&str; 6] = [
        "remote.ip",
        "source.trustDomain",
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
        "connection.sni",
    ];
    const WITH_NAME: [&str; 3] = ["request.headers[", "request.auth.claims[", "experimental.envoy.filters."];
    EXACT.contains(&key) || WITH_NAME.iter().any(|prefix| key.starts_with(prefix))
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PeerAuthentication {
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: PeerSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PeerSpec {
    pub selector: Option<Selector>,
    pub mtls: Mtls,
    pub port_level_mtls: BTreeMap<u16, Mtls>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mtls {
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// Whatever the level above says.
    #[default]
    Unset,
    Disable,
    Permissive,
    Strict,
}

/// A value that has the right type and makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("{0:?} is neither an IP address nor a CIDR block")]
    IpBlock(String),
    #[error("{0:?} is not a port number (0 to 65535)")]
    Port(String),
    #[error("{0:?} is neither `name` nor `namespace/name`")]
    Account(String),
    #[error("condition {0:?} has neither values nor notValues")]
    NoValues(String),
    #[error("unknown attribute {0:?} in a condition")]
    Attribute(String),
}
