//! The node agent's process: reads its settings, logs, and ends on a signal.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use cni_plugin_agent::app::{Agent, Parts};
use cni_plugin_agent::config::{Config, Raw, Source};
use cni_plugin_agent::kubernetes;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Enrolls the pods of one node and serves their network namespaces to its proxies.
#[derive(Debug, Parser)]
#[command(name = "adit-node-agent", version)]
struct Args {
    /// What to log, such as `info` or `cni_plugin_agent=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
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
    let filter = EnvFilter::try_new(&args.log_level);
    let usable = filter.is_ok();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    if !usable {
        anyhow::bail!("--log-level (LOG_LEVEL) is {:?}, which is no filter such as `info`", args.log_level);
    }
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
    let outcome = runtime.block_on(serve(config));
    // A pod's rules are not left half done, but a program that hangs does not hold the end up.
    runtime.shutdown_timeout(LAST_STEPS);
    outcome
}

async fn serve(config: Config) -> anyhow::Result<()> {
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
    let agent = Agent::bind(config, parts).await?;
    tracing::info!("the node agent is up");
    Box::pin(agent.run(stop)).await?;
    Ok(())
}

const LAST_STEPS: Duration = Duration::from_secs(5);
