//! `adit uninstall`: takes every pod out of the mesh, proves it, and only then takes the proxies away; or puts back what an
//! installation replaced.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Cluster, MANAGER, Selection};
use crate::mesh::{self, Captured, captured_now};
use crate::object::{Id, entry};
use crate::output::{Answer, Format, Output, Step, Style};
use crate::plan::ENFORCE;
use crate::release::{self, Record, Replaced};
use crate::{Context, Exit, duration, wait};

mod error;
mod plan;

pub use error::Error;
pub use plan::{Farewell, farewell};

/// How far to go.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Put back what the installation replaced; pods stay in the mesh, and no traffic is interrupted for it
    #[arg(long)]
    pub restore: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait for pods to leave the mesh, and for what is put back
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    pub timeout: Duration,
}

/// What became of the installation, for programs.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    removed: Vec<&'a Id>,
    restored: Vec<&'a Id>,
    left: Vec<&'a Id>,
    withdrawn: usize,
    applied: bool,
}

/// Uninstalls.
///
/// # Errors
/// There is nothing to put back, a person says no, pods do not leave the mesh in time, or the cluster refuses.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let cluster = context.cluster().await?;
    let namespace = context.istio_namespace();
    let output = &context.output;
    let Some(record) = Record::read(&cluster, namespace).await? else {
        match output.format() {
            Format::Json => {
                output.json(&json!({"applied": false, "removed": [], "restored": [], "left": []}))
            }
            Format::Table | Format::Short => {
                output.line(format_args!("Nothing is installed by adit in {namespace}."))
            }
        }
        return Ok(Exit::Done);
    };
    if args.restore && record.replaced.is_empty() {
        return Err(Error::NothingReplaced);
    }
    let live = look(&cluster, namespace, &record).await?;
    let captured = captured_now(&cluster).await?;
    let farewell = farewell(&record, &live, args.restore);
    if output.format() != Format::Json {
        show(output, &cluster, &farewell, &captured, &record);
    }
    let outcome = |applied| Outcome {
        removed: farewell.agents.iter().chain(&farewell.proxies).chain(&farewell.rest).collect(),
        restored: farewell.restore.iter().map(|replaced| &replaced.id).collect(),
        left: farewell.left.iter().map(|(id, _)| id).collect(),
        withdrawn: if args.restore && farewell.agents.is_empty() { 0 } else { captured.len() },
        applied,
    };
    if args.dry_run {
        if output.format() == Format::Json {
            output.json(&outcome(false));
        }
        return Ok(Exit::Done);
    }
    if !args.yes {
        match output.confirm(format_args!("Change {} so?", cluster.context)) {
            Answer::Yes => {}
            Answer::No => return Err(Error::NotConfirmed),
            Answer::Nobody => return Err(Error::NobodyToAsk),
        }
    }
    if args.restore {
        restore(&cluster, output, &farewell.restore, args.timeout).await?;
    }
    // Agents that nobody succeeds take their pods out of the mesh also where something else is put back.
    if !args.restore || !farewell.agents.is_empty() {
        Box::pin(withdraw(&cluster, output, &farewell, args.timeout)).await?;
    }
    finish(&cluster, namespace, &record, &farewell).await?;
    match output.format() {
        Format::Json => output.json(&outcome(true)),
        Format::Table | Format::Short if args.restore => {
            output.line(format_args!("What was there before runs again."))
        }
        Format::Table | Format::Short => {
            output.line(format_args!("Uninstalled: no pod's traffic goes through a node proxy."))
        }
    }
    Ok(Exit::Done)
}

/// The recorded objects that are there.
async fn look(cluster: &Cluster, namespace: &str, record: &Record) -> Result<Vec<(Id, Value)>, Error> {
    let mut live = Vec::new();
    // An upgrade that was cut short leaves its canary.
    let canary = mesh::canary(namespace);
    for id in record.objects.iter().chain([&canary]) {
        if let Some(object) = cluster.get(id).await? {
            live.push((id.clone(), object));
        }
    }
    Ok(live)
}

fn show(output: &Output, cluster: &Cluster, farewell: &Farewell, captured: &[Captured], record: &Record) {
    output.line(format_args!("Plan for {} ({}):", cluster.context, cluster.server));
    if farewell.restore.is_empty() || !farewell.agents.is_empty() {
        output.line(format_args!(
            "  pods that leave the mesh: {}; their connections live on, and new ones are direct",
            captured.len()
        ));
        if !record.replaced.is_empty() && farewell.restore.is_empty() {
            output.warn(format_args!(
                "what this installation replaced is forgotten with it; --restore puts it back instead"
            ));
        }
    }
    for replaced in &farewell.restore {
        output.line(format_args!("  {}   {}", output.paint(Style::Good, "restore"), replaced.id));
    }
    for id in farewell.agents.iter().chain(&farewell.proxies).chain(&farewell.rest) {
        output.line(format_args!("  {}    {id}", output.paint(Style::Bad, "remove")));
    }
    for (id, owner) in &farewell.left {
        output.line(format_args!("  {}     {id}, which is of {owner}", output.paint(Style::Faint, "leave")));
    }
}

/// Agents first: each takes its node's pods out of the mesh as it ends. The proxies serve until that is proved.
async fn withdraw(
    cluster: &Cluster,
    output: &Output,
    farewell: &Farewell,
    within: Duration,
) -> Result<(), Error> {
    let began = Instant::now();
    let progress = output.progress();
    let mut agents = progress.step("agents", 0);
    let mut pods = progress.step("pods", 0);
    let selections = selections(cluster, &farewell.agents).await?;
    for id in &farewell.agents {
        cluster.delete(id).await?;
    }
    loop {
        let left = running(cluster, &selections).await?;
        let captured = captured_now(cluster).await?;
        agents.at(0, 0, &format!("still take pods out of the mesh: {}", left.len()));
        pods.at(0, 0, &format!("still in the mesh: {}", captured.len()));
        if left.is_empty() && captured.is_empty() {
            break;
        }
        if began.elapsed() >= within {
            agents.failed("");
            pods.failed("");
            let pods = captured.into_iter().map(|pod| format!("{} on {}", pod.name, pod.node));
            return Err(Error::StillCaptured { after: within, agents: left, pods: pods.collect() });
        }
        tokio::time::sleep(LOOK).await;
    }
    agents.done("have ended");
    pods.done("none is in the mesh");
    let step = progress.step("proxies", 0);
    remove(cluster, farewell, step, began, within).await
}

async fn remove(
    cluster: &Cluster,
    farewell: &Farewell,
    mut step: Step,
    began: Instant,
    within: Duration,
) -> Result<(), Error> {
    let selections = selections(cluster, &farewell.proxies).await?;
    for id in &farewell.proxies {
        cluster.delete(id).await?;
    }
    loop {
        let left = running(cluster, &selections).await?;
        if left.is_empty() {
            step.done("have ended");
            return Ok(());
        }
        step.at(0, 0, &format!("still finish connections: {}", left.len()));
        if began.elapsed() >= within {
            step.failed("");
            return Err(Error::StillRunning { after: within, pods: left });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// By which namespace and labels the pods of DaemonSets are found once these are gone.
async fn selections(cluster: &Cluster, daemon_sets: &[Id]) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    for id in daemon_sets {
        if let Some(object) = cluster.get(id).await? {
            found.push((id.namespace.clone().unwrap_or_default(), wait::selector(&object)));
        }
    }
    Ok(found)
}

/// The pods of these selections, each with its node.
async fn running(cluster: &Cluster, selections: &[(String, String)]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for (namespace, labels) in selections {
        let which = Selection { namespace: Some(namespace), labels, fields: "" };
        for pod in cluster.list("v1", "Pod", which).await? {
            let name = crate::object::text(&pod, "/metadata/name");
            names.push(format!("{namespace}/{name} on {}", crate::object::text(&pod, "/spec/nodeName")));
        }
    }
    Ok(names)
}

/// Puts back what was replaced, and waits until it runs. An agent that finds istio-cni in its DaemonSet's place hands its node
/// over as it is.
async fn restore(
    cluster: &Cluster,
    output: &Output,
    replaced: &[Replaced],
    within: Duration,
) -> Result<(), Error> {
    for Replaced { id, manager, manifest } in replaced {
        let mut manifest = manifest.clone();
        // Nobody owns its fields any more than before we came; the server takes an empty entry for that.
        if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("managedFields".to_owned(), json!([{}]));
        }
        cluster.put(id, &manifest, manager).await?;
    }
    let daemon_sets: Vec<Id> =
        replaced.iter().map(|it| it.id.clone()).filter(|id| id.kind == "DaemonSet").collect();
    wait::ready(cluster, output, &daemon_sets, within).await?;
    Ok(())
}

/// Removes what is left, and last of all what we know of the installation.
async fn finish(
    cluster: &Cluster,
    namespace: &str,
    record: &Record,
    farewell: &Farewell,
) -> Result<(), Error> {
    for id in farewell.proxies.iter().chain(&farewell.rest) {
        cluster.delete(id).await?;
    }
    if let Some(security) = &record.pod_security {
        let id = Id::new("v1", "Namespace", "", namespace);
        let live = cluster.get(&id).await?;
        // Somebody may have decided otherwise since.
        if live.is_some_and(|live| entry(&live, "/metadata/labels", ENFORCE) == Some("privileged")) {
            let patch = json!({"metadata": {"labels": {ENFORCE: security.was}}});
            cluster.merge(&id, &patch, MANAGER).await?;
        }
    }
    cluster.delete(&release::id(namespace)).await?;
    Ok(())
}

/// Which of the DaemonSets are the agents'.
fn is_agents(id: &Id) -> bool {
    let namespace = id.namespace.as_deref().unwrap_or_default();
    id.is(&mesh::agents(namespace))
}

const LOOK: Duration = Duration::from_secs(1);
