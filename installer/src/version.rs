//! `adit version`: which version this tool has, and which versions run in the cluster.

use serde::Serialize;
use serde_json::Value;

use crate::cluster::{self, Cluster, Selection};
use crate::mesh::{self, version_of};
use crate::object::{list, text};
use crate::output::Table;
use crate::{Context, Error, Exit};

/// Whom to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only of this tool: no cluster is asked
    #[arg(long)]
    pub client: bool,
}

/// Says the versions. A cluster that cannot be asked is told of and no failure: the tool's own version is known.
///
/// # Errors
/// None of its own.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let mut versions = Versions { client: env!("CARGO_PKG_VERSION"), ..Versions::default() };
    if !args.client
        && let Err(error) = Box::pin(ask(context, &mut versions)).await
    {
        context.output.warn(format_args!("the cluster's versions are not known: {error}"));
    }
    context.output.result(&versions, || table(&versions));
    Ok(Exit::Done)
}

async fn ask(context: &Context, versions: &mut Versions) -> Result<(), cluster::Error> {
    let cluster = context.cluster().await?;
    let namespace = context.istio_namespace();
    versions.server = Some(cluster.server_version().await?);
    for (id, into) in
        [(mesh::proxies(namespace), &mut versions.proxies), (mesh::agents(namespace), &mut versions.agents)]
    {
        *into = cluster.get(&id).await?.map(|daemon_set| {
            let containers = list(&daemon_set, "/spec/template/spec/containers");
            containers.first().map_or("unknown", |it| version_of(text(it, "/image"))).to_owned()
        });
    }
    versions.istiod = istiod(&cluster, namespace).await?;
    Ok(())
}

/// What runs of istiod, each version once.
async fn istiod(cluster: &Cluster, namespace: &str) -> Result<Vec<String>, cluster::Error> {
    let which = Selection { namespace: Some(namespace), labels: "app=istiod", fields: "" };
    let pods = cluster.list("v1", "Pod", which).await?;
    let image = |pod: &Value| {
        let containers = list(pod, "/spec/containers");
        let discovery = containers.iter().find(|container| text(container, "/name") == "discovery");
        discovery.or_else(|| containers.first()).map(|it| version_of(text(it, "/image")).to_owned())
    };
    let mut versions: Vec<_> = pods.iter().filter_map(image).collect();
    versions.sort();
    versions.dedup();
    Ok(versions)
}

fn table(versions: &Versions) -> Table {
    let mut table = Table::new(["COMPONENT", "VERSION"]).row(["adit", versions.client]);
    let optional = [
        ("proxies (ztunnel)", versions.proxies.as_deref()),
        ("agents (istio-cni-node)", versions.agents.as_deref()),
        ("Kubernetes", versions.server.as_deref()),
    ];
    for (name, version) in optional {
        if let Some(version) = version {
            table = table.row([name, version]);
        }
    }
    for version in &versions.istiod {
        table = table.row(["istiod", version]);
    }
    table
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxies: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    istiod: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}
