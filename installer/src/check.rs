//! `adit check`: whether a cluster can take the node components, and whether they work there.

use std::time::Duration;

use tokio::time::Instant;

use crate::output::Format;
use crate::{Context, Error, Exit};

mod catalog;
mod enrollment;
mod facts;
mod finding;
mod gather;
mod node;
mod node_facts;
mod page;
mod pod;
mod policies;
mod report;
mod rights;
mod selector;
mod verdict;

pub use finding::{Finding, Severity};
pub use report::{Counts, Report};

use gather::Gatherer;
use gather::node_probe::NodeProbe;

/// Flags of `adit check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Check before an installation: what will be installed is not expected yet
    #[arg(long)]
    pub pre: bool,
    /// While there are errors, check again for so long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Run a short-lived pod on each node that says what the kernel and the CNI directories are like
    #[arg(long)]
    pub node_probe: bool,
    /// The agent's image, for these pods
    #[arg(long, value_name = "IMAGE", default_value = IMAGE, requires = "node_probe")]
    pub probe_image: String,
    /// Say what a check is about and what to do, and ask no cluster; `all` for the whole page
    #[arg(long, value_name = "ID")]
    pub explain: Option<String>,
    /// The namespace of these pods
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", requires = "node_probe")]
    pub probe_namespace: String,
}

/// Checks, and writes what was found.
///
/// # Errors
/// There is no cluster to ask.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    if let Some(id) = &args.explain {
        return Ok(explain(id, context));
    }
    let cluster = context.cluster().await?;
    let gatherer = Gatherer {
        client: cluster.client.clone(),
        istio_namespace: context.istio_namespace(),
        before: args.pre,
    };
    let deadline = args.wait.map(|wait| Instant::now() + wait);
    let mut progress = context.output.progress().step("checks", 0);
    let mut probed = None;
    loop {
        let mut facts = Box::pin(gatherer.facts()).await;
        if args.node_probe && probed.is_none() {
            let client = cluster.client.clone();
            let probe = NodeProbe {
                client,
                image: args.probe_image.clone(),
                namespace: args.probe_namespace.clone(),
            };
            progress.at(0, 0, "looking at each node");
            probed = Some(probe.look(facts.nodes.as_deref().unwrap_or_default()).await);
        }
        facts.probed.clone_from(&probed);
        let report = Report::new(&facts.version, args.pre, catalog::judge(&facts));
        let wrong = report.exit() != Exit::Done;
        if let Some(deadline) = deadline.filter(|deadline| wrong && Instant::now() < *deadline) {
            if context.output.format() != Format::Json {
                progress.at(0, 0, &format!("waiting: {} errors", report.counts.error));
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + AGAIN)).await;
            continue;
        }
        drop(progress);
        report.write(&context.output);
        return Ok(if wrong && deadline.is_some() { Exit::TimedOut } else { report.exit() });
    }
}

fn explain(id: &str, context: &Context) -> Exit {
    match if id == "all" { Some(page::page()) } else { page::explain(id) } {
        Some(text) => {
            context.output.line(format_args!("{}", text.trim_end()));
            Exit::Done
        }
        None => {
            context.output.complain(format_args!("no check has the id {id:?}; --explain all lists them"));
            Exit::Usage
        }
    }
}

/// A whole number with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|one: char| one.is_ascii_alphabetic());
    let unit = text.trim_start_matches(|one: char| one.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| WANTED.to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        _ => Err(WANTED.to_owned()),
    }
}

const WANTED: &str = "wanted: a duration such as 30s or 5m";
const AGAIN: Duration = Duration::from_secs(2);
const IMAGE: &str = concat!("ghcr.io/adit-mesh/adit-node-agent:", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;
