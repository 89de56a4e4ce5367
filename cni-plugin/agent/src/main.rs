//! The node agent's process: reads its settings, logs, and ends on a signal.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use cni_plugin_agent::app::{Agent, Parts};
use cni_plugin_agent::config::{Config, Raw, Source};
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
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let outcome = runtime.block_on(serve(config, log));
    // A pod's rules are not left half done, but a program that hangs does not hold the end up.
    runtime.shutdown_timeout(LAST_STEPS);
    outcome
}

async fn serve(config: Config, log: LogControl) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to end: rules stay in place, proxies go on serving");
        told.cancel();
    });
    let client = match &config.source {
        Source::Directory { .. } => None,
        Source::Kubernetes(settings) => Some(kubernetes::client(settings).await?),
    };
    let (config, parts) = tokio::task::spawn_blocking(move || {
        let parts = Parts::real(&config, client)?;
        Ok::<_, cni_plugin_agent::app::AgentError>((config, parts))
    })
    .await
    .context("prepare the node")??;
    let agent = Agent::bind(config, parts).await?.with_log(log);
    tracing::info!("the node agent is up");
    Box::pin(agent.run(stop)).await?;
    Ok(())
}

const LAST_STEPS: Duration = Duration::from_secs(5);
