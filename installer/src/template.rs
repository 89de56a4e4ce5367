//! `adit template`: what a chart renders to, for people who look first and for pipelines that apply it themselves.

use serde::Serialize;

use crate::output::Format;
use crate::render::{self, Chart, KubeVersion, Release, values};
use crate::{Context, Error, Exit};

/// What to render, and with which values.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The chart
    #[arg(value_enum)]
    chart: Chart,
    /// Its values.
    #[command(flatten)]
    values: values::Sources,
    /// The release's name, which stands in labels; the chart's by default
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where namespaced objects go; the namespace of istiod by default
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The version of Kubernetes to render for
    #[arg(long, value_name = "VERSION", default_value = KUBE_VERSION)]
    kube_version: KubeVersion,
    /// What the API server knows beside the usual, such as monitoring.coreos.com/v1
    #[arg(long, short = 'a', value_name = "GROUP/VERSION", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Render as for a release that is there already
    #[arg(long)]
    is_upgrade: bool,
}

/// Prints the objects as YAML, or with the chart's notes as JSON.
///
/// # Errors
/// Values that cannot be read or that the chart does not take.
#[expect(clippy::unused_async, reason = "every command is asked the same way")]
pub async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let values = values::load(&args.values)?;
    let release = Release {
        name: args.name.unwrap_or_else(|| args.chart.name().to_owned()),
        namespace: args.namespace.unwrap_or_else(|| context.istio_namespace().to_owned()),
        is_upgrade: args.is_upgrade,
        revision: 1,
        kube_version: args.kube_version,
        api_versions: args.api_versions,
    };
    let rendered = render::render(args.chart, &release, &values)?;
    match context.output.format() {
        Format::Json => context.output.json(&Document { objects: &rendered.objects, notes: &rendered.notes }),
        Format::Table | Format::Short => {
            for object in &rendered.objects {
                context.output.line(format_args!("---\n{}", render::yaml(object)));
            }
        }
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    objects: &'a [serde_json::Value],
    notes: &'a str,
}

/// What the objects that we send are written for.
const KUBE_VERSION: &str = "v1.33.0";
