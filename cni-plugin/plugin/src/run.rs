//! One call from start to end: understand, ask the agent, answer.

#[cfg(test)]
mod tests;

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use cni_plugin_wire::cache::SelectedNamespaces;
use cni_plugin_wire::event::{
    self, AddPod, CheckPod, Collect, DATAGRAM_LIMIT, DelPod, Event, EventError, Outcome, Said,
};
use cni_plugin_wire::seqpacket::BlockingConnection;
use serde_json::Value;

use crate::args::{Call, Command, Environment, Pod};
use crate::config::Config;
use crate::error::{CniError, chain};
use crate::log::Log;
use crate::netns::Netns;
use crate::version::{self, V0_4_0, V1_1_0, Version};

/// What goes to stdout, and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Pretty JSON, without the last line's end.
    pub document: Option<String>,
    /// Exit status 0, otherwise 1.
    pub success: bool,
}

impl Reply {
    /// The reply to a call that failed before its version was known.
    #[must_use]
    pub fn failed(error: &CniError) -> Self {
        Self { document: Some(pretty(&error.document(V1_1_0.name()))), success: false }
    }

    fn done(document: Option<&Value>) -> Self {
        Self { document: document.map(pretty), success: true }
    }
}

/// Carries out the call that `environment` and `input` describe. Lines for people go to `stderr`.
pub fn run(environment: &Environment, input: impl Read, stderr: &mut dyn Write) -> Reply {
    // A runtime must get an error document whatever happens here.
    let work = AssertUnwindSafe(|| serve(environment, input, stderr));
    catch_unwind(work).unwrap_or_else(|_| Reply::failed(&CniError::Panicked))
}

fn serve(environment: &Environment, input: impl Read, stderr: &mut dyn Write) -> Reply {
    let call = match Call::understand(environment) {
        Ok(Some(call)) => call,
        Ok(None) => {
            let _ = writeln!(stderr, "{}\nCNI versions: {}", env!("CARGO_PKG_DESCRIPTION"), version::list());
            return Reply::done(None);
        }
        Err(error) => return Reply::failed(&error),
    };
    if call.command == Command::Version {
        return Reply::done(Some(&version::document()));
    }
    let config = match read(input).and_then(|input| Config::parse(&input)) {
        Ok(config) => config,
        Err(error) => return Reply::failed(&error),
    };
    let mut log = Log::new(config.log_level, stderr);
    let outcome = carry_out(&call, &config, &mut log);
    match &outcome {
        // The agent wrote its own words down already.
        Ok(_) | Err(CniError::AgentBusy { .. } | CniError::AgentRefused { .. }) => {}
        Err(error) => log.error(format_args!("{} failed: {}", call.command.name(), chain(error))),
    }
    say(&call, &config, log);
    match outcome {
        Ok(document) => Reply::done(document.as_ref()),
        Err(error) => {
            let document = error.document(config.version.name());
            Reply { document: Some(pretty(&document)), success: false }
        }
    }
}

fn read(mut input: impl Read) -> Result<Vec<u8>, CniError> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(CniError::Stdin)?;
    Ok(bytes)
}

fn carry_out(call: &Call, config: &Config, log: &mut Log<'_>) -> Result<Option<Value>, CniError> {
    match call.command {
        Command::Add => add(call, config, log).map(|()| Some(config.result())),
        Command::Del => del(call, config, log).map(|()| None),
        Command::Check => check(call, config, log).map(|()| None),
        Command::Gc => gc(call, config, log).map(|()| None),
        Command::Status => status(call, config).map(|()| None),
        Command::Version => Ok(Some(version::document())),
    }
}

fn add(call: &Call, config: &Config, log: &mut Log<'_>) -> Result<(), CniError> {
    let pod = Pod::parse(&call.args)?;
    let netns = Netns::open(call)?;
    if is_exempt(&pod, config) {
        log.debug(format_args!("{pod} is none of the mesh's"));
        return Ok(());
    }
    let netns = match netns {
        Netns::Open(file) => file,
        Netns::Host | Netns::Absent => return Ok(()),
        Netns::Unreadable(source) => {
            let path = call.netns.clone().unwrap_or_default();
            return Err(CniError::NetnsUnreadable { path, source });
        }
    };
    let add = AddPod {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        uid: pod.uid.clone(),
        container_id: call.container_id.clone(),
        netns_path: netns_path(call),
        ips: config.prev_result.as_ref().map(|result| result.ips.clone()).unwrap_or_default(),
    };
    judge(ask(config, &Event::Add { pod: add, netns: netns.as_fd() }, PATIENCE), &pod, config, log)
}

fn check(call: &Call, config: &Config, log: &mut Log<'_>) -> Result<(), CniError> {
    needs(V0_4_0, call, config)?;
    let pod = Pod::parse(&call.args)?;
    Netns::open(call)?;
    if is_exempt(&pod, config) {
        return Ok(());
    }
    let check = CheckPod {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        uid: pod.uid.clone(),
        container_id: call.container_id.clone(),
        netns_path: netns_path(call),
    };
    judge(ask(config, &Event::<OwnedFd>::Check(check), PATIENCE), &pod, config, log)
}

/// A pod must be able to end whatever state the node is in: only a call that makes no sense fails.
fn del(call: &Call, config: &Config, log: &mut Log<'_>) -> Result<(), CniError> {
    Netns::open(call)?;
    // Runtimes need not tell the pod's names any more; the container id will do.
    let pod = Pod::parse(&call.args).unwrap_or_default();
    if pod.is_named() && is_exempt(&pod, config) {
        return Ok(());
    }
    let Pod { name, namespace, uid: _ } = pod;
    let delete = DelPod { name, namespace, container_id: call.container_id.clone() };
    tell(config, &Event::<OwnedFd>::Delete(delete), log);
    Ok(())
}

fn gc(call: &Call, config: &Config, log: &mut Log<'_>) -> Result<(), CniError> {
    needs(V1_1_0, call, config)?;
    // Without a list nothing is known to be gone.
    if let Some(container_ids) = config.valid_container_ids.clone() {
        tell(config, &Event::<OwnedFd>::Collect(Collect { container_ids }), log);
    }
    Ok(())
}

fn status(call: &Call, config: &Config) -> Result<(), CniError> {
    needs(V1_1_0, call, config)?;
    if !config.status_needs_agent && !config.status_needs_proxy {
        return Ok(());
    }
    match ask(config, &Event::<OwnedFd>::Status, SHORT_PATIENCE) {
        Ok(Outcome::Limited { message }) if config.status_needs_proxy => Err(CniError::Limited { message }),
        Ok(Outcome::Limited { .. } | Outcome::Done | Outcome::Enrolled | Outcome::NotSelected) => Ok(()),
        Ok(Outcome::Failed { message, retry: _ }) => Err(CniError::NotReady { message }),
        Err(source) => Err(CniError::NotAvailable { socket: config.agent_socket.clone(), source }),
    }
}

/// Pods that start without a word to the agent: other containers, excluded namespaces, and the agent's own pod, which
/// would wait for itself.
fn is_exempt(pod: &Pod, config: &Config) -> bool {
    let is_agent = pod.name.starts_with(AGENT_POD_PREFIX)
        && config.agent_namespace.as_ref().is_some_and(|namespace| *namespace == pod.namespace);
    !pod.is_named() || is_agent || config.exclude_namespaces.contains(&pod.namespace)
}

fn judge(
    heard: Result<Outcome, EventError>,
    pod: &Pod,
    config: &Config,
    log: &mut Log<'_>,
) -> Result<(), CniError> {
    match heard {
        Ok(Outcome::Enrolled | Outcome::NotSelected) => Ok(()),
        Ok(Outcome::Failed { message, retry: true }) => {
            Err(CniError::AgentBusy { pod: pod.to_string(), message })
        }
        Ok(Outcome::Failed { message, retry: false }) => {
            Err(CniError::AgentRefused { pod: pod.to_string(), message })
        }
        Ok(Outcome::Done | Outcome::Limited { .. }) => Err(CniError::AgentConfused),
        Err(error) => without_agent(error, pod, config, log),
    }
}

/// Pods of the mesh wait, because they would start unprotected; all others start, because the node must work.
fn without_agent(heard: EventError, pod: &Pod, config: &Config, log: &mut Log<'_>) -> Result<(), CniError> {
    let socket = config.agent_socket.clone();
    if pod.namespace != NODE_CRITICAL_NAMESPACE {
        match SelectedNamespaces::read(&config.selected_namespaces) {
            Ok(Some(selected)) if selected.contains(&pod.namespace) => {
                return Err(CniError::AgentAway { socket, pod: pod.to_string(), source: heard });
            }
            Ok(_) => {}
            Err(source) => {
                log.warn(format_args!("no answer from the node agent: {}", chain(&heard)));
                let pod = pod.to_string();
                return Err(CniError::AgentAwayAndCacheUnusable { socket, pod, source });
            }
        }
    }
    log.warn(format_args!(
        "no answer from the node agent on {} ({}): {pod} starts outside the mesh until the agent returns",
        socket.display(),
        chain(&heard),
    ));
    Ok(())
}

/// What the agent may miss: it compares with the node anyway when it returns.
fn tell(config: &Config, event: &Event, log: &mut Log<'_>) {
    match ask(config, event, SHORT_PATIENCE) {
        Ok(Outcome::Done | Outcome::Enrolled | Outcome::NotSelected | Outcome::Limited { .. }) => {}
        Ok(Outcome::Failed { message, retry: _ }) => {
            log.warn(format_args!("the node agent failed: {message}"))
        }
        Err(error) => log.warn(format_args!("no answer from the node agent: {}", chain(&error))),
    }
}

/// Hands the log's lines to the agent if it takes them at once. Most calls have none.
fn say(call: &Call, config: &Config, log: Log<'_>) {
    let lines = log.into_lines();
    if lines.is_empty() {
        return;
    }
    let pod = Pod::parse(&call.args).ok().filter(Pod::is_named).map(|pod| pod.to_string());
    let said = Said {
        command: call.command.name().to_owned(),
        pod: pod.unwrap_or_default(),
        container_id: call.container_id.clone(),
        lines,
    };
    // Whatever goes wrong here is on stderr already.
    let _ = BlockingConnection::connect(&config.agent_socket, DATAGRAM_LIMIT, NO_PATIENCE)
        .map_err(EventError::from)
        .and_then(|connection| event::tell(&connection, &Event::<OwnedFd>::Say(said)));
}

fn ask<N: AsFd>(config: &Config, event: &Event<N>, patience: Duration) -> Result<Outcome, EventError> {
    let connection = BlockingConnection::connect(&config.agent_socket, DATAGRAM_LIMIT, patience)?;
    event::ask(&connection, event)
}

fn needs(version: Version, call: &Call, config: &Config) -> Result<(), CniError> {
    if config.version >= version {
        return Ok(());
    }
    let (needs, got) = (version.name(), config.version.name());
    Err(CniError::VersionTooOld { command: call.command.name(), needs, got })
}

fn netns_path(call: &Call) -> String {
    call.netns.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}

fn pretty(document: &Value) -> String {
    format!("{document:#}")
}

/// The name of the agent's DaemonSet, as charts for ambient mode have it.
const AGENT_POD_PREFIX: &str = "istio-cni-node-";
/// A node cannot recover without the pods in here.
const NODE_CRITICAL_NAMESPACE: &str = "kube-system";
/// How long a starting pod waits for the agent in all: longer than the agent takes to say what is wrong, shorter than any
/// runtime waits for a plugin.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an ending pod does.
const SHORT_PATIENCE: Duration = Duration::from_secs(4);
/// How long a call waits to be rid of its log.
const NO_PATIENCE: Duration = Duration::from_millis(100);
