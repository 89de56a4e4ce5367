//! `adit upgrade`: node by node, a canary first, agents before proxies; stops on a node that fails and says how to go on.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Selection};
use crate::desired::{Desired, Ground, desired, merge};
use crate::install::{self, Prepared, Shown};
use crate::mesh::{self, captured_now};
use crate::object::{Id, text};
use crate::output::Format;
use crate::plan::{Leave, Step, Verdict};
use crate::release::{Previous, Record};
use crate::render::values;
use crate::{Context, Exit, duration, kind, wait};

mod agents;
mod decide;
mod error;
mod proxies;

pub use decide::{NodeState, batches, changes_pods, lost, node_state, order};
pub use error::Error;

/// What to change, and how carefully.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Values to change; all others stay as they were installed.
    #[command(flatten)]
    pub values: values::Sources,
    /// Forget the values that were installed
    #[arg(long)]
    pub reset_values: bool,
    /// Go back to what the last upgrade changed
    #[arg(long, conflicts_with = "reset_values")]
    pub undo: bool,
    /// The node to try first; else the one with the fewest pods in the mesh
    #[arg(long, value_name = "NODE")]
    pub canary: Option<String>,
    /// How long the canary must stay healthy before other nodes follow
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub soak: Duration,
    /// How many nodes change at once, after the canary
    #[arg(long, value_name = "NODES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_unavailable: u16,
    /// How long one node may take
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take fields from whoever else owns them
    #[arg(long)]
    pub force_conflicts: bool,
    /// Load the images into this kind cluster first, and change that one, unless --context says otherwise
    #[arg(long = "kind", value_name = "NAME")]
    pub kind_cluster: Option<String>,
    /// Where the images' archives are
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    pub images: PathBuf,
}

/// How carefully a DaemonSet's pods are changed.
#[derive(Clone, Debug)]
pub(crate) struct Care {
    /// Nodes, the canary first.
    pub(crate) order: Vec<String>,
    pub(crate) at_once: u16,
    pub(crate) soak: Duration,
    pub(crate) per_node: Duration,
    pub(crate) force: bool,
}

/// Upgrades.
///
/// # Errors
/// Nothing is installed, a plan is refused as for an installation, or a node fails: those after it are as they were.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let given = values::load(&args.values)?;
    let cluster = context.cluster_or_kind(args.kind_cluster.as_deref()).await?;
    let namespace = context.istio_namespace();
    let output = &context.output;
    let Some(record) = Record::read(&cluster, namespace).await? else {
        return Err(Error::NotInstalled { namespace: namespace.to_owned() });
    };
    let wanted = wanted(&cluster, namespace, &args, record, given).await?;
    let leave = Leave { force_conflicts: args.force_conflicts, replace: false };
    let prepared = install::prepare(&cluster, namespace, wanted, leave).await?;
    let care = care(&cluster, &args).await?;
    let rolls: Vec<&Step> = prepared.plan.steps.iter().filter(|step| changes_pods(step)).collect();
    if output.format() != Format::Json {
        output.line(format_args!("Plan for {} ({}):", cluster.context, cluster.server));
        install::show(output, &prepared.plan);
        if !rolls.is_empty() {
            output.line(format_args!(
                "  nodes, {} at once after the first: {}",
                care.at_once,
                care.order.join(", ")
            ));
        }
    }
    install::remark(context, &prepared.desired);
    install::refuse(&prepared.plan)?;
    let is_empty = prepared.plan.is_empty();
    let platform = String::new();
    if args.dry_run {
        if output.format() == Format::Json {
            output.json(&Shown::new(&cluster.context, platform, &prepared.plan, false));
        }
        return Ok(Exit::Done);
    }
    if !is_empty {
        install::confirm(context, args.yes, &cluster.context)?;
    }
    if let Some(name) = &args.kind_cluster {
        let loaded = kind::load(&kind::Programs::default(), name, &args.images, output).await;
        loaded.map_err(install::Error::from)?;
    }
    Box::pin(carry_out(context, &cluster, &prepared, &care)).await?;
    // Also what rolled: its controller has yet to see that it may replace pods by itself again.
    wait::ready(&cluster, output, &install::daemon_sets(&prepared.desired), args.timeout).await?;
    match output.format() {
        Format::Json => output.json(&Shown::new(&cluster.context, platform, &prepared.plan, !is_empty)),
        Format::Table | Format::Short if is_empty => output.line(format_args!("Nothing had to change.")),
        Format::Table | Format::Short => {
            output.line(format_args!("Upgraded. `adit upgrade --undo` goes back."))
        }
    }
    Ok(Exit::Done)
}

/// What should be there: with the values of before and those that are given, or as it was before the last upgrade.
async fn wanted(
    cluster: &Cluster,
    namespace: &str,
    args: &Args,
    record: Record,
    given: Value,
) -> Result<Desired, Error> {
    if args.undo {
        let Some(Previous { values, manifests, .. }) = record.previous else {
            return Err(Error::NothingBefore);
        };
        let objects = manifests.into_iter().map(|object| (Id::of(&object, namespace), object)).collect();
        return Ok(Desired { objects, values, remarks: Vec::new() });
    }
    let ground = Ground::look(cluster).await?;
    let values = if args.reset_values { given } else { merge(record.values, given) };
    Ok(desired(&ground, namespace, values).map_err(crate::desired::Error::from)?)
}

async fn care(cluster: &Cluster, args: &Args) -> Result<Care, Error> {
    let nodes = cluster.list("v1", "Node", Selection::default()).await?;
    let names: Vec<String> = nodes.iter().map(|node| text(node, "/metadata/name").to_owned()).collect();
    let captured = captured_now(cluster).await?;
    let order = order(&names, &captured, args.canary.as_deref())
        .map_err(|canary| Error::NoSuchNode { canary, nodes: names })?;
    Ok(Care {
        order,
        at_once: args.max_unavailable,
        soak: args.soak,
        per_node: args.timeout,
        force: args.force_conflicts,
    })
}

/// Everything but pods first; then agents node by node; then proxies, each new one beside the old one.
async fn carry_out(
    context: &Context,
    cluster: &Cluster,
    prepared: &Prepared,
    care: &Care,
) -> Result<(), Error> {
    let namespace = context.istio_namespace();
    let mut first = Prepared {
        plan: prepared.plan.clone(),
        desired: prepared.desired.clone(),
        earlier: prepared.earlier.clone(),
        pod_security: prepared.pod_security.clone(),
    };
    let mut rolls = Vec::new();
    for step in &mut first.plan.steps {
        if changes_pods(step) {
            rolls.push(step.clone());
            step.verdict = Verdict::Keep;
        }
    }
    install::apply(cluster, namespace, &first, care.force).await?;
    // As istio-cni before ztunnel: an older proxy understands a newer agent.
    rolls.sort_by_key(|step| !step.id.is(&mesh::agents(namespace)));
    for step in rolls {
        let Some(object) = &step.object else { continue };
        if step.id.is(&mesh::proxies(namespace)) {
            Box::pin(proxies::roll(context, cluster, (&step.id, object), care)).await?;
        } else {
            Box::pin(agents::roll(context, cluster, (&step.id, object), care)).await?;
        }
    }
    Ok(())
}

/// The object, with which its controller replaces no pod that nobody deletes.
pub(crate) fn held(object: &Value) -> Value {
    let mut held = object.clone();
    if let Some(spec) = held.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("updateStrategy".to_owned(), json!({"type": "OnDelete"}));
    }
    held
}
