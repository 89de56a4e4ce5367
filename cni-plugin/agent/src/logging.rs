//! The agent's log: istio-cni's flags, its JSON keys, and a level that can be changed while it runs.

mod format;

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// As given.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct RawLogging {
    /// What to log, such as `info` or `cni_plugin_agent=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// The same in istio-cni's words: `<scope>:<level>,...`; scopes are `default`, `all`, `cni-agent` and `cni-plugin`
    #[arg(long = "log_output_level", value_name = "SCOPES")]
    pub output_level: Option<String>,
    /// One JSON object a line
    #[arg(long = "log_as_json", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub as_json: bool,
    /// Taken as istio-cni takes it; the log is on stderr
    #[arg(long = "log_target", value_name = "PATHS", hide = true)]
    pub target: Option<String>,
    /// Taken as istio-cni takes it; lines name their module, not the line of code
    #[arg(long = "log_caller", value_name = "SCOPES", hide = true)]
    pub caller: Option<String>,
    /// Taken as istio-cni takes it; errors carry their causes instead
    #[arg(long = "log_stacktrace_level", value_name = "SCOPES", hide = true)]
    pub stacktrace_level: Option<String>,
}

impl Default for RawLogging {
    fn default() -> Self {
        Self {
            log_level: "info".to_owned(),
            output_level: None,
            as_json: false,
            target: None,
            caller: None,
            stacktrace_level: None,
        }
    }
}

/// Why the log cannot be as it was asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    #[error("{0:?} is no log level: want off, error, warn, info, debug or trace, or <target>=<level>,...")]
    Level(String),
    #[error(
        "--log_output_level is {0:?}, which is no list of <scope>:<level> with the levels debug, info, warn, error, fatal \
         and none"
    )]
    OutputLevel(String),
    #[error("logging is already set up")]
    AlreadySet,
    #[error("the log is gone")]
    Gone,
}

/// Changes the level while the agent runs; clones change the same.
#[derive(Clone, Debug)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
    start: Arc<str>,
    now: Arc<Mutex<String>>,
}

/// Sets logging up for the process.
///
/// # Errors
/// A level does not parse, or logging is set up already.
pub fn init(raw: &RawLogging) -> Result<LogControl, LogError> {
    let (subscriber, control) = subscriber(raw, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadySet)?;
    Ok(control)
}

fn subscriber<W>(
    raw: &RawLogging,
    out: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, LogControl), LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let mut start = raw.log_level.clone();
    if let Some(scopes) = raw.output_level.as_deref().filter(|scopes| !scopes.is_empty()) {
        start = format!("{start},{}", directives(scopes)?);
    }
    let (filter, handle) = reload::Layer::new(parse(&start)?);
    let layer = fmt::layer().with_ansi(false).with_writer(out);
    let layer = if raw.as_json { layer.event_format(format::Json).boxed() } else { layer.boxed() };
    let control = LogControl { handle, now: Arc::new(Mutex::new(start.clone())), start: start.into() };
    Ok((tracing_subscriber::registry().with(layer.with_filter(filter)), control))
}

impl LogControl {
    /// The filter in force.
    #[must_use]
    pub fn current(&self) -> String {
        self.now.lock().clone()
    }

    /// Replaces the filter; no text at all puts the one back that the process began with.
    ///
    /// # Errors
    /// The text is no filter; what was in force stays.
    pub fn change(&self, filter: &str) -> Result<(), LogError> {
        let wanted = if filter.is_empty() { self.start.as_ref() } else { filter };
        let parsed = parse(wanted)?;
        self.handle.reload(parsed).map_err(|_| LogError::Gone)?;
        wanted.clone_into(&mut self.now.lock());
        Ok(())
    }
}

/// A word that is no level would be taken for a module that never logs.
fn parse(text: &str) -> Result<EnvFilter, LogError> {
    let bare = text.split(',').map(str::trim).filter(|directive| !directive.contains('='));
    for level in bare {
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(LogError::Level(text.to_owned()));
        }
    }
    // What is said first gives way to what is asked for.
    let quiet = if text.is_empty() { String::new() } else { format!("{QUIET},{text}") };
    EnvFilter::try_new(quiet).map_err(|_| LogError::Level(text.to_owned()))
}

/// istio-cni's scopes as our targets; scopes that are none of ours change nothing.
fn directives(scopes: &str) -> Result<String, LogError> {
    let unknown = || LogError::OutputLevel(scopes.to_owned());
    let mut directives = Vec::new();
    for part in scopes.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (scope, level) = part.split_once(':').unwrap_or(("default", part));
        let level = match level {
            "none" => "off",
            "fatal" => "error",
            "debug" | "info" | "warn" | "error" => level,
            _ => return Err(unknown()),
        };
        match scope {
            "all" | "default" => directives.push(level.to_owned()),
            "cni-agent" => directives.push(format!("cni_plugin_agent={level}")),
            "cni-plugin" => directives.push(format!("cni-plugin={level}")),
            _ => {}
        }
    }
    Ok(directives.join(","))
}

/// The API server's client logs every failure as an error of its own, which whoever asked tells with a name to it.
const QUIET: &str = "kube_client=off,kube_runtime=off";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests;
