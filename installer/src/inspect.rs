//! `adit inspect`: what a node's proxy knows, in the tables that `istioctl ztunnel-config` has; and what its agent does.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use crate::output::Format;
use crate::{Context, Exit};

mod agent;
mod certificates;
mod connections;
mod dump;
mod error;
mod exec;
mod http;
pub(crate) mod reach;
mod tables;

pub use error::Error;

use dump::{Dump, Filters};
use reach::Target;

/// What to show.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Workloads that the proxy knows
    #[command(alias = "workload", alias = "w")]
    Workloads {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        filter: WorkloadFilter,
    },
    /// Services that the proxy knows
    #[command(alias = "service", alias = "svc", alias = "s")]
    Services {
        #[command(flatten)]
        which: Which,
        /// Only services of this namespace
        #[arg(long, value_name = "NAMESPACE")]
        service_namespace: Option<String>,
    },
    /// Authorization policies that the proxy knows
    #[command(alias = "policy", alias = "pol", alias = "p")]
    Policies {
        #[command(flatten)]
        which: Which,
        /// Only policies of this namespace
        #[arg(long, value_name = "NAMESPACE")]
        policy_namespace: Option<String>,
    },
    /// Certificates of the pods on one node
    #[command(alias = "certificate", alias = "certs", alias = "cert")]
    Certificates {
        #[command(flatten)]
        which: Which,
    },
    /// Open connections of the pods on one node
    #[command(alias = "connection", alias = "cons")]
    Connections {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        filter: ConnectionFilter,
    },
    /// All of it, of one node
    All {
        #[command(flatten)]
        which: Which,
    },
    /// What the node agent has to say of its pods
    Agent(agent::Args),
}

/// Whose dump to read.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    /// The proxy's pod: NAME, or NAME.NAMESPACE
    #[arg(value_name = "POD", conflicts_with_all = ["node", "file", "admin_address"])]
    pod: Option<String>,
    /// The proxy of this node
    #[arg(long, value_name = "NODE", conflicts_with_all = ["file", "admin_address"])]
    node: Option<String>,
    /// A dump that was kept, of /config_dump; - reads standard input
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "admin_address")]
    file: Option<PathBuf>,
    /// A proxy that is reached without a cluster, as on a standalone machine
    #[arg(long, value_name = "HOST:PORT")]
    admin_address: Option<String>,
    /// The proxy's admin port in its pod
    #[arg(long, value_name = "PORT", default_value_t = reach::ADMIN)]
    proxy_admin_port: u16,
}

#[derive(Clone, Debug, clap::Args)]
struct WorkloadFilter {
    /// Only workloads of this namespace
    #[arg(long, value_name = "NAMESPACE")]
    workload_namespace: Option<String>,
    /// Only workloads of this node
    #[arg(long, value_name = "NODE")]
    workload_node: Option<String>,
    /// Only workloads of this name
    #[arg(long, value_name = "NAME")]
    workload_name: Option<String>,
    /// Only the workload with this address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
struct ConnectionFilter {
    /// Only connections of workloads of this namespace
    #[arg(long, value_name = "NAMESPACE")]
    workload_namespace: Option<String>,
    /// Only connections of this direction
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// Addresses as they are, in place of names
    #[arg(long)]
    raw: bool,
}

/// Which way a connection goes, as its pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// To the pod.
    Inbound,
    /// From the pod.
    Outbound,
}

/// Shows it.
///
/// # Errors
/// The proxy or agent cannot be reached, or what it says cannot be read.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let (which, filters, kinds) = match args.part {
        Part::Agent(args) => return agent::run(args, context).await,
        Part::Workloads { which, filter } => {
            let WorkloadFilter { workload_namespace, workload_node, workload_name, address } = filter;
            let filters =
                Filters { workload_namespace, workload_node, workload_name, address, ..Filters::default() };
            (which, filters, &[Kind::Workloads][..])
        }
        Part::Services { which, service_namespace } => {
            (which, Filters { service_namespace, ..Filters::default() }, &[Kind::Services][..])
        }
        Part::Policies { which, policy_namespace } => {
            (which, Filters { policy_namespace, ..Filters::default() }, &[Kind::Policies][..])
        }
        Part::Certificates { which } => (which, Filters::default(), &[Kind::Certificates][..]),
        Part::Connections { which, filter } => {
            let ConnectionFilter { workload_namespace, direction, raw } = filter;
            (
                which,
                Filters { workload_namespace, direction, raw, ..Filters::default() },
                &[Kind::Connections][..],
            )
        }
        Part::All { which } => (which, Filters::default(), &Kind::ALL[..]),
    };
    let of_one = kinds.iter().any(|kind| kind.is_of_one_node());
    let target = Target::of(which, of_one);
    let text = target.dump(context).await?;
    let dump = Dump::parse(&text, &target.to_string())?;
    show(&dump, &filters, kinds, context);
    Ok(Exit::Done)
}

/// A part of the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Workloads,
    Services,
    Policies,
    Certificates,
    Connections,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Workloads, Self::Services, Self::Policies, Self::Certificates, Self::Connections];

    /// Whether every proxy knows something else of it.
    const fn is_of_one_node(self) -> bool {
        matches!(self, Self::Certificates | Self::Connections)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Workloads => "workloads",
            Self::Services => "services",
            Self::Policies => "policies",
            Self::Certificates => "certificates",
            Self::Connections => "connections",
        }
    }
}

fn show(dump: &Dump, filters: &Filters, kinds: &[Kind], context: &Context) {
    let output = &context.output;
    let value = || match kinds {
        [kind] => dump.part(*kind, filters),
        kinds => Value::Object(
            kinds.iter().map(|kind| (kind.name().to_owned(), dump.part(*kind, filters))).collect(),
        ),
    };
    match output.format() {
        Format::Json => output.json(&value()),
        Format::Table | Format::Short => {
            for (at, kind) in kinds.iter().enumerate() {
                if at > 0 {
                    output.line(format_args!(""));
                }
                let table = match kind {
                    Kind::Workloads => tables::workloads(dump, filters),
                    Kind::Services => tables::services(dump, filters),
                    Kind::Policies => tables::policies(dump, filters),
                    Kind::Certificates => certificates::table(dump, unix_now()),
                    Kind::Connections => connections::table(dump, filters),
                };
                output.table(&table);
            }
        }
    }
}

fn unix_now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

#[cfg(test)]
mod tests;
