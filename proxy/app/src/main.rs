//! `adit-proxy`: reads its environment, runs the node's proxy, drains on SIGTERM.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use proxy::config::{Config, ProcessVars};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const HELP: &str = "adit-proxy: the node proxy of an ambient mesh

usage: adit-proxy [proxy [NAME]]   run; configured by environment variables
       adit-proxy captured         tell whether this pod's connections come to a node proxy
       adit-proxy version          print the version
       adit-proxy help             print this
";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what a person asked for on the command line")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        None | Some("proxy") => {}
        Some("version") => {
            println!("adit-proxy {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some("captured") => {
            return match proxy::canary::captured(&proxy::canary::TARGETS) {
                Ok(target) => {
                    println!("connections of this pod come to a node proxy: it took one to {target}");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            };
        }
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprint!("unknown command {other:?}\n{HELP}");
            return ExitCode::FAILURE;
        }
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let config = Config::check(&ProcessVars).map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow!("{}", lines.join("\n"))
    })?;
    let (log, _guard) = proxy::init_log(&config.log).context("invalid env var RUST_LOG")?;
    anyhow::ensure!(proxy_mtls::install_provider(config.tls), "a crypto provider is already installed");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), node = config.node.name, "starting");
    proxy::run(config, log).context("cannot start")
}
