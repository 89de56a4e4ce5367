//! `adit install`: shows what it would do, asks, does it, waits until it works, and keeps what going back needs.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::desired::{Desired, Ground, desired, with_flags};
use crate::object::{Id, manifest};
use crate::output::{Answer, Format};
use crate::plan::{self, Leave, Owner, Plan, PodSecurity, Verdict, managers};
use crate::platform::Platform;
use crate::release::{Record, Replaced};
use crate::render::{self, values};
use crate::{Context, Exit, duration, kind, mesh, wait};

mod carry_out;
mod error;
mod facts;
mod show;

pub use carry_out::{Stage, carry_out};
pub use error::Error;
pub use facts::{look, missing_mounts};
pub use show::{Shown, ShownStep, show};

/// What to install, and what may be done for it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Values of the chart `adit`: those of `ztunnel` and `cni` below these keys.
    #[command(flatten)]
    pub values: values::Sources,
    /// A preset of the charts
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// On what the nodes run; else what they show is believed
    #[arg(long, value_enum)]
    pub platform: Option<Platform>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Print the objects as YAML, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take fields from whoever else owns them
    #[arg(long)]
    pub force_conflicts: bool,
    /// Take over what Helm or istioctl installed, and keep it for `adit uninstall --restore`
    #[arg(long)]
    pub replace: bool,
    /// Install although what istiod writes is not there: pods start once it is
    #[arg(long)]
    pub without_istiod: bool,
    /// Do not wait until every node is ready
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait until every node is ready
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Load the images into this kind cluster first, and change that one, unless --context says otherwise
    #[arg(long = "kind", value_name = "NAME")]
    pub kind_cluster: Option<String>,
    /// Where the images' archives are
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    pub images: PathBuf,
}

/// A plan with all that it was made of.
#[derive(Debug)]
pub struct Prepared {
    /// What to do.
    pub plan: Plan,
    /// What should be there.
    pub desired: Desired,
    /// What was kept before.
    pub earlier: Option<Record>,
    /// What Pod Security enforces now, where that changes.
    pub pod_security: Option<PodSecurity>,
}

/// Installs.
///
/// # Errors
/// Something is missing, refused, or owned by others; nothing has been changed then. Or the cluster refuses on the way, or is
/// not ready in time.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let given = values::load(&args.values)?;
    let cluster = context.cluster_or_kind(args.kind_cluster.as_deref()).await?;
    let namespace = context.istio_namespace();
    let output = &context.output;
    let ground = Ground::look(&cluster).await?;
    let platform = args
        .platform
        .map_or_else(|| ground.platform.to_string(), |it| it.value().unwrap_or("none").to_owned());
    let asked = args.platform.unwrap_or(ground.platform.platform).value();
    let values = with_flags(given, args.profile.as_deref(), asked, namespace);
    let desired = desired(&ground, namespace, values).map_err(crate::desired::Error::from)?;
    if args.dry_run {
        remark(context, &desired);
        print(context, &desired);
        return Ok(Exit::Done);
    }
    let leave = Leave { force_conflicts: args.force_conflicts, replace: args.replace };
    let prepared = prepare(&cluster, namespace, desired, leave).await?;
    if output.format() != Format::Json {
        output.line(format_args!("Plan for {} ({}), platform {platform}:", cluster.context, cluster.server));
        show(output, &prepared.plan);
    }
    let shown = |applied| Shown::new(&cluster.context, platform.clone(), &prepared.plan, applied);
    remark(context, &prepared.desired);
    refuse(&prepared.plan)?;
    if !args.without_istiod {
        let missing = missing_mounts(&cluster, &prepared.desired.objects).await?;
        if !missing.is_empty() {
            return Err(Error::NoIstiod { missing });
        }
    }
    let is_empty = prepared.plan.is_empty();
    if !is_empty {
        confirm(context, args.yes, &cluster.context)?;
    }
    if let Some(name) = &args.kind_cluster {
        kind::load(&kind::Programs::default(), name, &args.images, output).await?;
    }
    apply(&cluster, namespace, &prepared, args.force_conflicts).await?;
    if !args.no_wait {
        wait::ready(&cluster, output, &daemon_sets(&prepared.desired), args.timeout).await?;
    }
    match output.format() {
        Format::Json => output.json(&shown(!is_empty)),
        Format::Table | Format::Short => conclude(context, &prepared),
    }
    Ok(Exit::Done)
}

/// Makes the plan.
///
/// # Errors
/// Rights or kinds are missing, an object is refused, or the cluster cannot be asked.
pub async fn prepare(
    cluster: &Cluster,
    namespace: &str,
    desired: Desired,
    leave: Leave,
) -> Result<Prepared, Error> {
    let home = cluster.get(&Id::new("v1", "Namespace", "", namespace)).await;
    let is_new = matches!(home, Ok(None));
    let seen =
        Box::pin(look(cluster, &desired.objects, if is_new { namespace } else { "" }, home.as_ref().err()))
            .await?;
    let home = home?;
    let (first, pod_security) = plan::namespace(namespace, home.as_ref());
    let mut plan = Plan { steps: first.into_iter().collect() };
    for ((id, object), seen) in desired.objects.iter().zip(seen) {
        plan.steps.push(plan::step(id.clone(), object.clone(), seen, leave));
    }
    let earlier = Record::read(cluster, namespace).await?;
    let mut recorded = Vec::new();
    let canary = mesh::canary(namespace);
    for id in earlier.iter().flat_map(|record| &record.objects).chain([&canary]) {
        if let Some(live) = cluster.get(id).await? {
            recorded.push((id.clone(), live));
        }
    }
    plan.prune(&recorded);
    Ok(Prepared { plan, desired, earlier, pod_security })
}

/// Tells what the charts remark on the values.
pub fn remark(context: &Context, desired: &Desired) {
    for remark in &desired.remarks {
        context.output.warn(format_args!("{remark}"));
    }
}

/// Whether something stands in the way of the plan.
///
/// # Errors
/// It does.
pub fn refuse(plan: &Plan) -> Result<(), Error> {
    let (mut conflicts, mut owned): (Vec<_>, Vec<(Id, Owner)>) = (Vec::new(), Vec::new());
    for step in plan.refusals() {
        match &step.verdict {
            Verdict::Conflict { conflicts: more } => {
                conflicts.extend(more.iter().map(|conflict| (step.id.clone(), conflict.clone())));
            }
            Verdict::Owned { by } => owned.push((step.id.clone(), by.clone())),
            Verdict::Keep
            | Verdict::Create
            | Verdict::Change { .. }
            | Verdict::TakeOver { .. }
            | Verdict::Remove => {}
        }
    }
    if !owned.is_empty() {
        return Err(Error::Owned { objects: owned });
    }
    if !conflicts.is_empty() {
        return Err(Error::Conflicts { conflicts });
    }
    Ok(())
}

/// Asks, unless somebody has said yes already.
///
/// # Errors
/// A person says no, or there is none.
pub fn confirm(context: &Context, yes: bool, cluster: &str) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    match context.output.confirm(format_args!("Change {cluster} so?")) {
        Answer::Yes => Ok(()),
        Answer::No => Err(Error::NotConfirmed),
        Answer::Nobody => Err(Error::NobodyToAsk),
    }
}

/// Carries the plan out. What it is made of is kept before the first object changes: whatever happens then, it can be undone.
///
/// # Errors
/// The cluster refuses.
pub async fn apply(
    cluster: &Cluster,
    namespace: &str,
    prepared: &Prepared,
    force: bool,
) -> Result<(), Error> {
    let plan = &prepared.plan;
    Box::pin(carry_out(cluster, plan, Stage::Namespace, force)).await?;
    let record = record(prepared);
    if prepared.earlier.as_ref() != Some(&record) {
        record.write(cluster, namespace).await?;
    }
    for stage in [Stage::Needs, Stage::Pods, Stage::Removals] {
        Box::pin(carry_out(cluster, plan, stage, force)).await?;
    }
    Ok(())
}

/// What to keep of an installation.
fn record(prepared: &Prepared) -> Record {
    let mut record = Record::new(prepared.desired.values.clone(), &prepared.desired.objects);
    for step in &prepared.plan.steps {
        if let (Verdict::TakeOver { .. }, Some(live)) = (&step.verdict, &step.live) {
            let manager = managers(live).pop().unwrap_or_else(|| "helm".to_owned());
            record.replaced.push(Replaced { id: step.id.clone(), manager, manifest: manifest(live) });
        }
    }
    record.pod_security.clone_from(&prepared.pod_security);
    record.after(prepared.earlier.as_ref())
}

/// The DaemonSets among what should be there.
#[must_use]
pub fn daemon_sets(desired: &Desired) -> Vec<Id> {
    desired.objects.iter().map(|(id, _)| id).filter(|id| id.kind == "DaemonSet").cloned().collect()
}

/// What the objects are, as YAML; or, where it is asked for, as JSON.
fn print(context: &Context, desired: &Desired) {
    let objects: Vec<&Value> = desired.objects.iter().map(|(_, object)| object).collect();
    match context.output.format() {
        Format::Json => context.output.json(&objects),
        Format::Table | Format::Short => {
            for object in objects {
                context.output.line(format_args!("---\n{}", render::yaml(object)));
            }
        }
    }
}

/// What a person does next.
fn conclude(context: &Context, prepared: &Prepared) {
    let output = &context.output;
    if prepared.plan.is_empty() {
        output.line(format_args!("Nothing had to change."));
        return;
    }
    output.line(format_args!("Installed. `kubectl label namespace NAME istio.io/dataplane-mode=ambient` takes a namespace into the mesh."));
    let taken = prepared.plan.steps.iter().filter_map(|step| {
        if let Verdict::TakeOver { from: Owner::Helm { release, .. }, .. } = &step.verdict {
            Some(release.as_str())
        } else {
            None
        }
    });
    let releases: std::collections::BTreeSet<_> = taken.collect();
    for release in releases {
        output.warn(format_args!(
            "Helm still lists the release {release}: `helm uninstall {release}` would delete what runs now; `adit uninstall --restore` gives it back first"
        ));
    }
}
