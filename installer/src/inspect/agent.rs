//! `adit inspect agent`: where the enrollment of a node's pods stands, as its agent tells.

use clap::ValueEnum;
use serde_json::Value;

use super::exec::{self, Place};
use super::{Error, reach};
use crate::cluster::Selection;
use crate::object::text;
use crate::output::{Format, Style, Table};
use crate::{Context, Exit};

/// Whose agent, and what of it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The agent's pod: NAME, or NAME.NAMESPACE
    #[arg(value_name = "POD", conflicts_with = "node")]
    pod: Option<String>,
    /// The agent of this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// What to show
    #[arg(long, value_enum, default_value_t)]
    part: Part,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Every pod, and where its enrollment stands
    #[default]
    Pods,
    /// Which proxy serves which pods
    Zds,
    /// The plugin on the node
    Install,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Zds => "zds",
            Self::Install => "install",
        }
    }
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let cluster = context.cluster().await?;
    let asked = args.pod.as_deref().map(reach::named);
    let namespace = match &asked {
        Some((_, Some(namespace))) => namespace.clone(),
        Some((_, None)) | None => context.istio_namespace().to_owned(),
    };
    let which =
        Selection { namespace: Some(&namespace), labels: "k8s-app=istio-cni-node", ..Selection::default() };
    let mut pods = cluster.list("v1", "Pod", which).await?;
    pods.retain(|pod| text(pod, "/status/phase") == "Running");
    let pod = choose(&pods, asked.as_ref().map(|(name, _)| &**name), args.node.as_deref())?;
    let place = Place { namespace: &namespace, pod: text(pod, "/metadata/name"), container: "install-cni" };
    let told = exec::run(&cluster, place, &[AGENT, "debug", args.part.name()]).await?;
    let told: Value = serde_json::from_str(&told)
        .map_err(|source| Error::NotJson { from: format!("what {} says", place.pod), source })?;
    match (context.output.format(), args.part) {
        (Format::Table | Format::Short, Part::Pods) => context.output.table(&table(&told)),
        (Format::Json, _) | (Format::Table | Format::Short, Part::Zds | Part::Install) => {
            context.output.json(&told)
        }
    }
    Ok(Exit::Done)
}

fn choose<'a>(pods: &'a [Value], name: Option<&str>, node: Option<&str>) -> Result<&'a Value, Error> {
    let node_of = |pod: &Value| text(pod, "/spec/nodeName").to_owned();
    let mut nodes: Vec<_> = pods.iter().map(node_of).collect();
    nodes.sort();
    match (name, node, pods) {
        (Some(name), _, _) => pods
            .iter()
            .find(|pod| text(pod, "/metadata/name") == name)
            .ok_or_else(|| Error::NoProxy(format!("no agent's pod is called {name}"))),
        (None, Some(node), _) => pods
            .iter()
            .find(|pod| text(pod, "/spec/nodeName") == node)
            .ok_or_else(|| Error::NoProxy(format!("no agent runs on node {node}"))),
        (None, None, [pod]) => Ok(pod),
        (None, None, []) => {
            Err(Error::NoProxy("no pod with the label k8s-app=istio-cni-node runs".to_owned()))
        }
        (None, None, _) => Err(Error::WhichNode { nodes }),
    }
}

/// Of `/debug/pods`.
pub(super) fn table(told: &Value) -> Table {
    let mut table =
        Table::new(["POD", "GOAL", "WHY", "ENROLLED", "RULES", "STEP", "FAILURES", "LAST FAILURE"]);
    let all = told.as_array().map(Vec::as_slice).unwrap_or_default();
    for pod in all {
        let enrolled = pod.get("enrolled").and_then(Value::as_bool).unwrap_or_default();
        let wanted = text(pod, "/goal") == "in";
        let failures = pod.get("failures").and_then(Value::as_u64).unwrap_or_default();
        let cell = |text: &str| (Style::Plain, text.to_owned());
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let style = match (wanted, enrolled) {
            (true, false) => Style::Warning,
            (true, true) => Style::Good,
            (false, _) => Style::Plain,
        };
        table.push(vec![
            cell(text(pod, "/name")),
            cell(text(pod, "/goal")),
            cell(text(pod, "/verdict")),
            (style, enrolled.to_string()),
            cell(text(pod, "/rules")),
            cell(&or_dash(text(pod, "/step"))),
            (if failures > 0 { Style::Warning } else { Style::Plain }, failures.to_string()),
            cell(&or_dash(text(pod, "/last_failure"))),
        ]);
    }
    table
}

const AGENT: &str = "/usr/local/bin/adit-node-agent";
