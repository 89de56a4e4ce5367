//! The node agent's process: reads its settings, logs, and ends on a signal.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use cni_plugin_agent::app::{Agent, Parts};
use cni_plugin_agent::config::{Config, Install, Raw, Source};
use cni_plugin_agent::debug::{self, Part};
use cni_plugin_agent::facts::Facts;
use cni_plugin_agent::install::ask::Cluster;
use cni_plugin_agent::install::depart::Departure;
use cni_plugin_agent::install::leave::Heir;
use cni_plugin_agent::install::lifecycle::Lifecycle;
use cni_plugin_agent::kubernetes;
use cni_plugin_agent::logging::{self, LogControl, RawLogging};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Enrolls the pods of one node and serves their network namespaces to its proxies.
#[derive(Debug, Parser)]
#[command(name = "adit-node-agent", version)]
struct Args {
    #[command(flatten)]
    logging: RawLogging,
    #[command(flatten)]
    raw: Raw,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Take every pod out of the mesh and give the node back, where no DaemonSet that goes away tells the agent to; stop
    /// the agent first
    Uninstall {
        /// Put back what istio-cni had on the node, for istio-cni to go on with, and leave pods as they are
        #[arg(long)]
        hand_back: bool,
    },
    /// Say what this node is like, as JSON, and change nothing
    Facts,
    /// Print what the running agent says of its pods, its proxies or its plugin, as JSON
    Debug {
        /// Of what
        #[arg(value_enum, default_value = "pods")]
        part: Part,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let log = match logging::init(&args.logging) {
        Ok(log) => log,
        Err(error) => {
            // Somebody must be able to read why the agent ends.
            let _ = logging::init(&RawLogging::default());
            return Err(error).context("set the log up");
        }
    };
    // Fails only where one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = match Config::check(args.raw) {
        Ok(config) => config,
        Err(errors) => {
            for error in &errors {
                tracing::error!("{}", cni_plugin_agent::redirect::chain(error));
            }
            anyhow::bail!("{} setting(s) cannot be used", errors.len());
        }
    };
    if matches!(args.command, Some(Command::Facts)) {
        let facts = serde_json::to_string(&Facts::gather(&config)).context("write the facts down")?;
        return writeln!(std::io::stdout(), "{facts}").context("write the facts");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    if let Some(Command::Debug { part }) = args.command {
        let told = runtime.block_on(debug::ask(&config.run_dir, part))?;
        return write!(std::io::stdout(), "{told}").context("write what the agent says");
    }
    let outcome = runtime.block_on(serve(config, log, args.command));
    // A pod's rules are not left half done, but a program that hangs does not hold the end up.
    runtime.shutdown_timeout(LAST_STEPS);
    outcome
}

async fn serve(config: Config, log: LogControl, command: Option<Command>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let client = match &config.source {
        Source::Directory { .. } => None,
        Source::Kubernetes(settings) => Some(kubernetes::client(settings).await?),
    };
    let cluster = cluster(&config, client.as_ref());
    let install = Install::clone(&config.install);
    let (config, parts) = tokio::task::spawn_blocking(move || {
        let parts = Parts::real(&config, client)?;
        Ok::<_, cni_plugin_agent::app::AgentError>((config, parts))
    })
    .await
    .context("prepare the node")??;
    let agent = Agent::bind(config, parts).await?.with_log(log);
    tracing::info!("the node agent is up");
    let lifecycle = Lifecycle {
        install,
        cluster,
        handle: agent.handle(),
        exemptions: agent.exemptions(),
        health: agent.health(),
        metrics: agent.metrics().installs,
    };
    let stop = CancellationToken::new();
    let ending = tokio::spawn(end(lifecycle.clone(), command, stop.clone(), async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }));
    Box::pin(agent.run(stop.clone())).await?;
    let heir = if stop.is_cancelled() { ending.await.context("end")? } else { None };
    if let Some(heir) = heir {
        lifecycle.give_back(heir).await;
    }
    Ok(())
}

/// Keeps the plugin until the agent is `told` to end, then settles what becomes of the node: pods that must leave the mesh
/// do so while the agent still runs.
async fn end(
    lifecycle: Lifecycle,
    command: Option<Command>,
    stop: CancellationToken,
    told: impl Future<Output = ()>,
) -> Option<Heir> {
    let departure = match command {
        // Facts are told without an agent, and what another says without this one.
        None | Some(Command::Facts | Command::Debug { .. }) => {
            let enough = CancellationToken::new();
            let keeping = tokio::spawn(lifecycle.clone().keep(enough.clone()));
            told.await;
            enough.cancel();
            let _ = keeping.await;
            lifecycle.departure().await
        }
        Some(Command::Uninstall { hand_back }) => {
            tokio::select! {
                () = lifecycle.synced() => {}
                () = tokio::time::sleep(SYNC) => tracing::warn!("pods have not been read: some may stay captured"),
                () = told => {}
            }
            let because = "that was asked for".to_owned();
            if hand_back { Departure::HandBack { because } } else { Departure::Uninstall { because } }
        }
    };
    let because = departure.because();
    match &departure {
        Departure::Stay { .. } => tracing::info!(because, "rules stay in place, proxies go on serving"),
        Departure::HandBack { .. } => {
            tracing::info!(because, "istio-cni takes the node back");
            lifecycle.hand_back().await;
        }
        Departure::Uninstall { .. } => {
            tracing::info!(because, "every pod leaves the mesh");
            lifecycle.withdraw().await;
        }
    }
    stop.cancel();
    departure.heir()
}

fn cluster(config: &Config, client: Option<&kube::Client>) -> Option<Cluster> {
    let Source::Kubernetes(settings) = &config.source else { return None };
    Some(Cluster {
        client: client?.clone(),
        namespace: settings.pod_namespace.clone(),
        node: config.policy.node.clone(),
    })
}

/// How long an uninstall waits for pods to be read.
const SYNC: Duration = Duration::from_secs(10);
const LAST_STEPS: Duration = Duration::from_secs(5);
