//! `adit status`: whether each node's proxy and agent work, in which version, with how many pods, and what they wait for.

use crate::cluster::{self, Cluster, Selection};
use crate::mesh::{self, captured_now};
use crate::output::{Style, Table};
use crate::release::{self, Record};
use crate::{Context, Exit, wait};

mod report;

pub use report::{Component, Node, Report, report};

/// No flags of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// What the installation kept cannot be used.
    #[error(transparent)]
    Record(#[from] release::Error),
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Cluster(error) | Self::Record(release::Error::Cluster(error)) => error.exit(),
            Self::Record(_) => Exit::Failed,
        }
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Record(error) => error.hint(),
        }
    }
}

/// Says it, and fails where a node does not work.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn run(_args: Args, context: &Context) -> Result<Exit, Error> {
    let cluster = context.cluster().await?;
    let report = look(&cluster, context.istio_namespace()).await?;
    let output = &context.output;
    if report.components.iter().all(|component| component.nodes == 0 && !component.there) {
        output
            .note(format_args!("Neither proxies nor agents are installed in {}.", context.istio_namespace()));
    }
    output.result(&report, || table(&report));
    if output.format() != crate::output::Format::Json {
        summarize(context, &report);
    }
    Ok(if report.ready { Exit::Done } else { Exit::Failed })
}

/// Gathers it.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn look(cluster: &Cluster, namespace: &str) -> Result<Report, Error> {
    let record = match Record::read(cluster, namespace).await {
        // Whoever may not read Secrets still sees what runs.
        Err(release::Error::Cluster(error)) if error.code() == Some(403) => None,
        record => record?,
    };
    let proxies = wait::see(cluster, &mesh::proxies(namespace)).await?;
    let agents = wait::see(cluster, &mesh::agents(namespace)).await?;
    let nodes = match cluster.list("v1", "Node", Selection::default()).await {
        Err(error) if error.code() == Some(403) => Vec::new(),
        nodes => nodes?,
    };
    let captured = captured_now(cluster).await?;
    Ok(report(&proxies, &agents, &nodes, &captured, record.map(|record| record.version)))
}

fn table(report: &Report) -> Table {
    let mut table = Table::new(["NODE", "PROXY", "AGENT", "PODS IN MESH", "WAITS FOR"]);
    for node in &report.nodes {
        let (proxy, agent) = (cell(node.proxy.as_deref()), cell(node.agent.as_deref()));
        let waits = if node.waits.is_empty() { Style::Plain } else { Style::Warning };
        table.push(vec![
            (Style::Plain, node.name.clone()),
            proxy,
            agent,
            (Style::Plain, node.pods.to_string()),
            (waits, node.waits.join("; ")),
        ]);
    }
    table
}

/// The version that is ready there.
fn cell(version: Option<&str>) -> (Style, String) {
    version.map_or_else(|| (Style::Bad, "not ready".to_owned()), |version| (Style::Good, version.to_owned()))
}

fn summarize(context: &Context, report: &Report) {
    let output = &context.output;
    for component in &report.components {
        let state = if component.waits.is_none() { Style::Good } else { Style::Warning };
        let text = format!(
            "{}/{} ready, {}/{} updated",
            component.ready, component.nodes, component.updated, component.nodes
        );
        let waits = component.waits.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        output.line(format_args!("{}  {}{waits}", component.name, output.paint(state, &text)));
    }
}
