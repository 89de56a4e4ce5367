//! Runs the sample application until SIGTERM or SIGINT.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A small HTTP server that says its color.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "[::]:8080")]
    listen: SocketAddr,
    /// What to say.
    #[arg(long, env = "COLOR", default_value = "blue")]
    color: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = match TcpListener::bind(args.listen).await {
        Ok(listener) => listener,
        // A host without IPv6 still has a sample application.
        Err(_) if args.listen.ip().is_unspecified() => TcpListener::bind(("0.0.0.0", args.listen.port()))
            .await
            .with_context(|| format!("listen on {}", args.listen))?,
        Err(why) => return Err(why).with_context(|| format!("listen on {}", args.listen)),
    };
    println!("sample-app is {} and listens on {}", args.color, args.listen);
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tests::sample_app::serve(listener, &args.color, stop).await.context("serve")
}
