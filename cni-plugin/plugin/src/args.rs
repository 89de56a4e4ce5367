//! A runtime's call: the environment and `CNI_ARGS`, checked.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use crate::error::CniError;

/// What the runtime put into the environment; nothing is checked yet. An empty variable counts as unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`
    pub command: Option<String>,
    /// `CNI_CONTAINERID`
    pub container_id: Option<String>,
    /// `CNI_NETNS`
    pub netns: Option<String>,
    /// `CNI_IFNAME`
    pub ifname: Option<String>,
    /// `CNI_ARGS`
    pub args: Option<String>,
    /// `CNI_PATH`
    pub path: Option<String>,
    /// `CNI_NETNS_OVERRIDE`
    pub netns_override: Option<String>,
}

/// What the runtime wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

/// A call with everything its command needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) command: Command,
    /// Empty for commands that concern no container.
    pub(crate) container_id: String,
    pub(crate) netns: Option<PathBuf>,
    /// The caller insists that the namespace may be the plugin's own.
    pub(crate) netns_override: bool,
    pub(crate) args: String,
}

/// What `CNI_ARGS` says about the pod. Empty names: this container is no pod of Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: Option<String>,
}

impl Environment {
    /// Takes the variables that concern a plugin from `get`.
    #[must_use]
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| get(name).filter(|value| !value.is_empty());
        Self {
            command: get("CNI_COMMAND"),
            container_id: get("CNI_CONTAINERID"),
            netns: get("CNI_NETNS"),
            ifname: get("CNI_IFNAME"),
            args: get("CNI_ARGS"),
            path: get("CNI_PATH"),
            netns_override: get("CNI_NETNS_OVERRIDE"),
        }
    }
}

impl Call {
    /// `None` when no command is given: a person started the plugin by hand.
    pub(crate) fn understand(environment: &Environment) -> Result<Option<Self>, CniError> {
        let Some(name) = &environment.command else {
            return Ok(None);
        };
        let command = Command::named(name)?;
        let missing: Vec<&'static str> =
            environment.required(command).into_iter().filter(|(_, set)| !set).map(|(name, _)| name).collect();
        if !missing.is_empty() {
            return Err(CniError::VariablesMissing { command: command.name(), missing });
        }
        let call = Self {
            command,
            container_id: environment.container_id.clone().unwrap_or_default(),
            netns: environment.netns.as_ref().map(PathBuf::from),
            netns_override: environment.netns_override.as_deref().is_some_and(is_true),
            args: environment.args.clone().unwrap_or_default(),
        };
        if matches!(command, Command::Add | Command::Del | Command::Check) {
            let invalid =
                |variable, value: &str| CniError::VariableInvalid { variable, value: value.to_owned() };
            if !is_name(&call.container_id) {
                return Err(invalid("CNI_CONTAINERID", &call.container_id));
            }
            let ifname = environment.ifname.as_deref().unwrap_or_default();
            if !is_interface(ifname) {
                return Err(invalid("CNI_IFNAME", ifname));
            }
        }
        Ok(Some(call))
    }
}

impl Environment {
    /// The variables a command needs, and whether they are there.
    fn required(&self, command: Command) -> Vec<(&'static str, bool)> {
        let container = ("CNI_CONTAINERID", self.container_id.is_some());
        let netns = ("CNI_NETNS", self.netns.is_some());
        let ifname = ("CNI_IFNAME", self.ifname.is_some());
        let path = ("CNI_PATH", self.path.is_some());
        match command {
            Command::Add | Command::Check => vec![container, netns, ifname, path],
            Command::Del => vec![container, ifname, path],
            Command::Gc | Command::Status => vec![path],
            Command::Version => vec![],
        }
    }
}

impl Command {
    fn named(name: &str) -> Result<Self, CniError> {
        let all = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];
        all.into_iter()
            .find(|command| command.name() == name)
            .ok_or_else(|| CniError::VariableInvalid { variable: "CNI_COMMAND", value: name.to_owned() })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

impl Pod {
    /// Reads `K=V;K=V`. A key nobody knows is an error unless `IgnoreUnknown` says otherwise.
    pub(crate) fn parse(args: &str) -> Result<Self, CniError> {
        let invalid =
            |value: &str| CniError::VariableInvalid { variable: "CNI_ARGS", value: value.to_owned() };
        let mut pod = Self::default();
        let mut unknown = None;
        let mut ignore_unknown = false;
        for pair in args.split(';').filter(|_| !args.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| invalid(pair))?;
            if value.contains('=') {
                return Err(invalid(pair));
            }
            match key {
                "IgnoreUnknown" => ignore_unknown = boolean(value).ok_or_else(|| invalid(pair))?,
                "K8S_POD_NAME" => value.clone_into(&mut pod.name),
                "K8S_POD_NAMESPACE" => value.clone_into(&mut pod.namespace),
                "K8S_POD_UID" => pod.uid = Some(value.to_owned()).filter(|uid| !uid.is_empty()),
                "K8S_POD_INFRA_CONTAINER_ID" => {}
                _ => unknown = unknown.or(Some(pair)),
            }
        }
        match unknown {
            Some(pair) if !ignore_unknown => Err(invalid(pair)),
            _ => Ok(pod),
        }
    }

    /// Whether the container belongs to Kubernetes at all.
    pub(crate) const fn is_named(&self) -> bool {
        !self.name.is_empty() && !self.namespace.is_empty()
    }
}

/// What container ids and network names look like.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn is_interface(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace())
}

fn is_true(text: &str) -> bool {
    text == "1" || text.eq_ignore_ascii_case("true")
}

fn boolean(text: &str) -> Option<bool> {
    if is_true(text) {
        return Some(true);
    }
    (text == "0" || text.eq_ignore_ascii_case("false")).then_some(false)
}
