//! What the agent does to its node: the plugin's binary and its place in the network configuration, kept and given back.

pub mod ask;
pub mod binaries;
pub mod decide;
pub mod depart;
pub mod document;
pub mod give_back;
pub mod leave;
pub mod lifecycle;
pub mod node;
mod pace;
mod round;
mod watch;
mod writer;

use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::binaries::Binaries;
use self::decide::Settings;
use self::node::ConfDir;
use self::round::{Looked, Rounds};
use self::watch::Watch;
use crate::metrics::{InstallResult, Installs};

/// Where things are on the node, and what is wanted of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub conf_dir: std::path::PathBuf,
    pub binaries: Binaries,
    pub settings: Settings,
}

/// Whether runtimes find the plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not looked yet.
    #[default]
    Unknown,
    Ready,
    /// Nothing is wrong, but for a network that the node does not have yet.
    Waiting(String),
    Wrong(String),
}

/// What happened in one look, to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Written,
    BinaryFailed,
    ConfigFailed,
    /// Somebody took out what we had put in.
    Undone,
    /// A file came to be loaded before the one with our plugin.
    Preempted,
    /// It is undone again and again.
    War {
        writer: String,
        advice: &'static str,
    },
}

/// Keeps the plugin installed for as long as it runs.
#[derive(Debug)]
pub struct Installer {
    rounds: Rounds,
    watch: Watch,
    state: channel::Sender<State>,
    metrics: Installs,
}

impl Installer {
    /// Nothing is touched before [`Installer::run`]. Needs a tokio runtime.
    #[must_use]
    pub fn new(site: &Site, metrics: Installs) -> (Self, channel::Receiver<State>) {
        let (state, states) = channel::channel(State::Unknown);
        let dirs = std::iter::once(site.conf_dir.clone()).chain(site.binaries.targets.clone());
        let rounds =
            Rounds::new(ConfDir(site.conf_dir.clone()), site.binaries.clone(), site.settings.clone());
        (Self { rounds, watch: Watch::new(dirs), state, metrics }, states)
    }

    /// Looks after every change and from time to time, until `stop`. What is in place stays in place then.
    pub async fn run(self, stop: CancellationToken) {
        let Self { mut rounds, mut watch, state, metrics } = self;
        let start = Instant::now();
        loop {
            watch.arm();
            let now = start.elapsed();
            let looked = tokio::task::spawn_blocking(move || {
                let looked = rounds.look(now);
                (rounds, looked)
            });
            let Ok((back, Looked { state: new, events, again })) = looked.await else { return };
            rounds = back;
            count(&metrics, &events);
            if let Some(new) = new {
                tell(&state, &metrics, new);
            }
            let again = if watch.is_complete() { again } else { again.min(UNWATCHED) };
            tokio::select! {
                // Others often write more than once.
                () = watch.changed() => tokio::time::sleep(DEBOUNCE).await,
                () = tokio::time::sleep(again) => {}
                () = stop.cancelled() => return,
            }
            watch.drain();
        }
    }
}

impl State {
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}

fn tell(state: &channel::Sender<State>, metrics: &Installs, new: State) {
    metrics.ready(new.is_ready());
    state.send_if_modified(|old| {
        if *old == new {
            return false;
        }
        match &new {
            State::Ready => {
                metrics.ended(InstallResult::Success);
                tracing::info!("runtimes find the plugin");
            }
            State::Waiting(why) => tracing::warn!("the plugin is not installed yet: {why}"),
            State::Wrong(why) => tracing::warn!("runtimes do not find the plugin: {why}"),
            State::Unknown => {}
        }
        *old = new;
        true
    });
}

fn count(metrics: &Installs, events: &[Event]) {
    for event in events {
        match event {
            Event::BinaryFailed => metrics.ended(InstallResult::CopyBinaries),
            Event::ConfigFailed => metrics.ended(InstallResult::CreateConfig),
            Event::Undone => metrics.undone(),
            Event::Preempted => metrics.preempted(),
            Event::Written | Event::War { .. } => {}
        }
    }
}

const DEBOUNCE: Duration = Duration::from_millis(100);
const UNWATCHED: Duration = Duration::from_secs(2);
