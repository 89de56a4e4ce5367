//! `adit-control`: the standalone control plane, fed from a directory of Kubernetes YAML.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use xds_server::follow::{self, Folder, FollowError};
use xds_server::{Access, Ca, CaOptions, Control, MeshConfig};

/// Serves the xDS and the certificates that istiod would serve for the Kubernetes objects in a directory.
#[derive(Debug, Parser)]
#[command(name = "adit-control", version)]
struct Args {
    /// Directory of Kubernetes YAML (*.yaml, *.yml, one level of folders); followed while running.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of the redirection status that a node's agent writes; repeat it for every node.
    ///
    /// The same directory that adit-node-agent has as --status-dir; made if it is not there, followed while running. One
    /// file per pod, such as default_web.json, sets the annotation ambient.istio.io/redirection of the Pod in --dir;
    /// without the file, the Pod is as --dir has it. Only pods with the value "enabled" are reached through HBONE. Of
    /// two files for one pod, the one in the directory given later counts.
    #[arg(long = "status-dir", value_name = "DIR")]
    status_dirs: Vec<PathBuf>,
    /// Address to serve on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15012")]
    listen: SocketAddr,
    /// DNS names and addresses of the server certificate, separated by commas.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1,::1,istiod.istio-system.svc,istiod.istio-system.svc.cluster.local"
    )]
    tls_names: Vec<String>,
    /// Write the root certificate, which clients must trust, to this file (PEM).
    #[arg(long, value_name = "FILE")]
    root_out: Option<PathBuf>,
    /// Use this root certificate (PEM) instead of a new one for each start.
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_cert: Option<PathBuf>,
    /// Private key of the root certificate (PEM, PKCS #8).
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    trust_domain: String,
    /// Suffix of service host names.
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    cluster_domain: String,
    /// Network of every workload; empty when there is only one.
    #[arg(long, value_name = "NAME", default_value = "")]
    network: String,
    #[arg(long, value_name = "NAME", default_value = "Kubernetes")]
    cluster_id: String,
    /// Namespace whose policies are for all namespaces.
    #[arg(long, value_name = "NAME", default_value = "istio-system")]
    root_namespace: String,
    /// Send policies annotated istio.io/dry-run.
    #[arg(long)]
    dry_run_policies: bool,
    /// File with the bearer token that callers must present; any caller may come in when it is not given.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// File with the bearer token of a workload that runs a proxy of its own, and that workload's identity; may be given
    /// again.
    #[arg(long, value_name = "FILE=SPIFFE-ID")]
    workload_token: Vec<String>,
    /// Sign for identities that no pod in the directory has.
    #[arg(long)]
    any_identity: bool,
    /// Serve without TLS.
    #[arg(long)]
    plaintext: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        bail!("another crypto provider is installed already");
    }
    // Before anything can be waited for, so that no signal finds the default action.
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;

    let ca = authority(&args)?;
    let tls = if args.plaintext {
        None
    } else {
        Some(ca.server_tls(&args.tls_names).context("make the server certificate of --tls-names")?)
    };
    let access = Access {
        token: args.token.as_deref().map(token).transpose()?,
        workloads: args.workload_token.iter().map(|given| workload_token(given)).collect::<Result<_, _>>()?,
        any_identity: args.any_identity,
    };
    let control = Control::with_access(mesh(&args), ca, access);

    for dir in &args.status_dirs {
        // Whoever is started first, control plane or agent, makes it.
        std::fs::create_dir_all(dir).with_context(|| format!("make --status-dir {}", dir.display()))?;
    }
    let mut folder = Folder::new(&args.dir).with_statuses(&args.status_dirs);
    first_look(&mut folder, &control)?;
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("listen on {}", args.listen))?;
    let address = listener.local_addr().context("read back the address listened on")?;
    if let Some(path) = &args.root_out {
        write_whole(path, control.ca().root_pem())
            .with_context(|| format!("write --root-out {}", path.display()))?;
    }
    tracing::info!(%address, tls = tls.is_some(), dir = %args.dir.display(), "serving");

    let following = tokio::spawn(follow::follow(folder, control.clone(), follow::INTERVAL));
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    };
    control.serve_until(listener, tls, stop).await;
    following.abort();
    Ok(())
}

/// Reads the directories before the first client can ask; a file that is broken is no reason not to start.
fn first_look(folder: &mut Folder, control: &Control) -> anyhow::Result<()> {
    for problem in folder.scan().problems {
        match problem {
            FollowError::List { .. } => return Err(problem).context("read --dir and --status-dir"),
            FollowError::Read { .. } | FollowError::Object(_) | FollowError::Status(_) => {
                tracing::error!(cause = follow::cause(&problem), "{problem}");
            }
        }
    }
    control.update(|objects| *objects = folder.objects());
    Ok(())
}

fn authority(args: &Args) -> anyhow::Result<Ca> {
    let options = CaOptions::default();
    let (Some(certificate), Some(key)) = (&args.ca_cert, &args.ca_key) else {
        return Ca::generate(&args.trust_domain, options).context("make a root certificate");
    };
    let read =
        |path: &Path| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    Ca::from_pem(&read(certificate)?, &read(key)?, options).context("use --ca-cert with --ca-key")
}

fn mesh(args: &Args) -> MeshConfig {
    MeshConfig {
        trust_domain: args.trust_domain.clone(),
        cluster_domain: args.cluster_domain.clone(),
        network: args.network.clone(),
        cluster_id: args.cluster_id.clone(),
        root_namespace: args.root_namespace.clone(),
        dry_run_policies: args.dry_run_policies,
    }
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read the token {}", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        bail!("the token {} is empty; leave --token out to let every caller in", path.display());
    }
    Ok(token.to_owned())
}

fn workload_token(given: &str) -> anyhow::Result<(String, String)> {
    let (file, identity) =
        given.split_once('=').with_context(|| format!("--workload-token {given} is not FILE=SPIFFE-ID"))?;
    Ok((token(Path::new(file))?, identity.to_owned()))
}

/// Readers see the old file or the new one, never half of either.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
