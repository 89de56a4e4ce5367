//! Log lines in the form that ztunnel's readers parse, written off the data path, with levels changed while running.

mod format;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::LogConfig;

pub use writer::LogGuard;

/// The level that everything has unless the configuration says otherwise.
const BASE: &str = "info";

/// Changes the log filter of the running process.
#[derive(Clone)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
    start: Arc<str>,
    now: Arc<Mutex<String>>,
    lost: Counter,
}

impl std::fmt::Debug for LogControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogControl").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Why a log filter was refused.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The text is not a level and not a list of `target=level`.
    #[error(
        "invalid level {0:?}: want off, error, warn, info, debug or trace, or target=level,target=level (or target:level)"
    )]
    Level(String),
    /// The subscriber is gone.
    #[error("the log filter cannot be changed: {0}")]
    Gone(String),
    /// Another subscriber is installed.
    #[error("logging is already set up")]
    AlreadySet,
}

/// Sets up logging for the process. The guard flushes what is queued when it is dropped.
///
/// # Errors
/// `RUST_LOG` does not parse, or logging is already set up.
pub fn init(config: &LogConfig) -> Result<(LogControl, LogGuard), LogError> {
    let (subscriber, control, guard) = subscriber(config, std::io::stdout())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadySet)?;
    Ok((control, guard))
}

fn subscriber<W>(
    config: &LogConfig,
    out: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, LogControl, LogGuard), LogError>
where
    W: std::io::Write + Send + 'static,
{
    let start = merged(BASE, &with_equals_signs(&config.filter));
    let (filter, handle) = reload::Layer::new(parse(&start)?);
    let lost = Counter::default();
    let (writer, guard) = writer::spawn(out, lost.clone());
    let layer = if config.json {
        fmt::layer()
            .with_ansi(false)
            .fmt_fields(format::Json)
            .event_format(format::Json)
            .with_writer(writer)
            .boxed()
    } else {
        fmt::layer()
            .with_ansi(false)
            .fmt_fields(format::Plain)
            .event_format(format::Plain)
            .with_writer(writer)
            .boxed()
    };
    let now = Arc::new(Mutex::new(start.clone()));
    let control = LogControl { handle, now, start: start.into(), lost };
    Ok((tracing_subscriber::registry().with(layer.with_filter(filter)), control, guard))
}

impl LogControl {
    /// The filter in force.
    #[must_use]
    pub fn current(&self) -> String {
        self.now.lock().clone()
    }

    /// Lines that were left out because their reader was too slow.
    pub(crate) fn lines_lost(&self) -> Counter {
        self.lost.clone()
    }

    /// Adds `directives` to the filter in force; with `reset`, to the one the process started with.
    ///
    /// # Errors
    /// The directives do not parse; the filter stays as it was.
    pub fn change(&self, directives: &str, reset: bool) -> Result<(), LogError> {
        let mut now = self.now.lock();
        let base = if reset { self.start.as_ref() } else { now.as_str() };
        let directives = with_equals_signs(directives);
        let wanted = merged(base, &directives);
        let filter = parse_known_levels(&directives).and_then(|()| parse(&wanted))?;
        self.handle.reload(filter).map_err(|error| LogError::Gone(error.to_string()))?;
        *now = wanted;
        Ok(())
    }
}

/// The directives of both, the later one of two for the same target: a filter that is changed often stays short.
fn merged(base: &str, more: &str) -> String {
    let target = |directive: &str| directive.rsplit_once('=').map(|(target, _)| target.to_owned());
    let mut kept: Vec<&str> = Vec::new();
    for directive in base.split(',').chain(more.split(',')).map(str::trim).filter(|d| !d.is_empty()) {
        kept.retain(|earlier| target(earlier) != target(directive));
        kept.push(directive);
    }
    kept.join(",")
}

/// `target:level` as `target=level`: it is what istioctl's help and ztunnel's usage text tell people to write.
fn with_equals_signs(directives: &str) -> String {
    let one = |directive: &str| match directive.rsplit_once(':') {
        Some((target, level)) if !directive.contains('=') && !target.ends_with(':') => {
            format!("{target}={level}")
        }
        _ => directive.to_owned(),
    };
    directives.split(',').map(one).collect::<Vec<_>>().join(",")
}

fn parse(directives: &str) -> Result<EnvFilter, LogError> {
    parse_known_levels(directives)?;
    EnvFilter::builder().parse(directives).map_err(|_| LogError::Level(directives.to_owned()))
}

/// A bare word that is no level would silently be taken for a target.
fn parse_known_levels(directives: &str) -> Result<(), LogError> {
    for directive in directives.split(',').filter(|d| !d.is_empty()) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        // The library takes an empty level for `error`.
        if level.is_empty() || level.parse::<tracing::level_filters::LevelFilter>().is_err() {
            return Err(LogError::Level(directive.to_owned()));
        }
    }
    Ok(())
}
