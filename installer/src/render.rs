//! Renders the charts that are built into this tool, with the values that Helm takes, to the objects that Helm renders.
//!
//! Helm itself is not needed. That both render the same is what `make check` holds, value by value.

mod chart;
mod context;
mod objects;
mod schema;
mod template;
#[cfg(test)]
mod tests;
pub mod values;
mod version;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Exit;

use self::chart::Package;
use self::context::{Common, Scope};
pub use self::schema::{Mismatch, SchemaError};
use self::template::Templates;
pub use self::template::{Failure, Place};
pub use self::version::{KubeVersion, NoVersion};

/// A chart that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Chart {
    /// Both of the others at once, with defaults for people who start fresh.
    Adit,
    /// The node proxy, in the place of Istio's chart `ztunnel`.
    Ztunnel,
    /// The node agent with its CNI plugin, in the place of Istio's chart `cni`.
    Cni,
}

impl Chart {
    /// Every chart.
    pub const ALL: [Self; 3] = [Self::Adit, Self::Ztunnel, Self::Cni];

    /// The chart's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adit => "adit",
            Self::Ztunnel => "ztunnel",
            Self::Cni => "cni",
        }
    }
}

/// What a chart is rendered for.
#[derive(Clone, Debug)]
pub struct Release {
    /// The release's name, which stands in labels.
    pub name: String,
    /// Where namespaced objects go.
    pub namespace: String,
    /// Whether the release is there already.
    pub is_upgrade: bool,
    /// Which time it is rendered, from 1.
    pub revision: i64,
    /// The API server's version.
    pub kube_version: KubeVersion,
    /// What the API server knows: `apps/v1`, and `apps/v1/DaemonSet` for kinds.
    pub api_versions: Vec<String>,
}

/// A rendered chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// Objects in the order of installation.
    pub objects: Vec<Value>,
    /// What the chart has to say to people.
    pub notes: String,
}

/// Why a chart could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A chart with a file that cannot be used; ours have none.
    #[error("the chart {chart} has a {file} that cannot be used: {problem}")]
    Chart {
        /// The chart.
        chart: String,
        /// The file.
        file: String,
        /// Why not.
        problem: String,
    },
    /// A subchart's values that are no map.
    #[error("the value `{key}` is for the chart {key} in {chart} and must be a map")]
    SubchartValues {
        /// The chart above.
        chart: String,
        /// The subchart, and the key.
        key: String,
    },
    /// Values that the schema of a chart does not allow.
    #[error("values do not fit the chart {chart}:{}", lines(mismatches))]
    Values {
        /// The chart.
        chart: String,
        /// Every value that does not fit.
        mismatches: Vec<Mismatch>,
    },
    /// A schema that cannot be used.
    #[error("the chart {chart} has a values.schema.json that cannot be used: {source}")]
    Schema {
        /// The chart.
        chart: String,
        /// Why.
        source: SchemaError,
    },
    /// The cluster is too old.
    #[error("the chart {chart} needs Kubernetes {wants}, and the server is {got}")]
    KubeVersion {
        /// The chart.
        chart: String,
        /// What it needs.
        wants: String,
        /// What is there.
        got: KubeVersion,
    },
    /// A template that failed, or that refused the values.
    #[error("{}{failure}", if failure.meant { "the chart refuses these values: " } else { "" })]
    Template {
        /// The chart.
        chart: String,
        /// Where and why.
        failure: Failure,
    },
    /// A template that printed something other than YAML.
    #[error("{file} renders to something that is not YAML: {source}")]
    NotYaml {
        /// The chart.
        chart: String,
        /// The template.
        file: String,
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
    /// A template that printed something other than objects.
    #[error("{file} renders to something without a kind")]
    NoKind {
        /// The chart.
        chart: String,
        /// The template.
        file: String,
    },
}

impl RenderError {
    /// How the process ends: values that a chart refuses are the caller's to change.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::SubchartValues { .. } | Self::Values { .. } | Self::Template { .. } => Exit::Usage,
            Self::Chart { .. }
            | Self::Schema { .. }
            | Self::KubeVersion { .. }
            | Self::NotYaml { .. }
            | Self::NoKind { .. } => Exit::Failed,
        }
    }
}

/// An object as YAML, without a newline at the end.
#[must_use]
pub fn yaml(object: &Value) -> String {
    template::yaml(object)
}

/// Renders a chart.
///
/// # Errors
/// Values that the chart does not take, a cluster that is too old for it, or a fault of the chart; each says where.
pub fn render(chart: Chart, release: &Release, values: &Value) -> Result<Rendered, RenderError> {
    package(Package::of(chart)?, release, values)
}

fn package(package: Package, release: &Release, values: &Value) -> Result<Rendered, RenderError> {
    let given = values.as_object().cloned().unwrap_or_default();
    let package = package.enabled(&given)?;
    let values = Value::Object(values::coalesce(&package, given));
    check(&package, release, &values)?;
    let scope = Scope::new(&package, None, &template::Value::from(&values), &Common::new(release));
    let printed = execute(&package, &scope)
        .map_err(|failure| RenderError::Template { chart: package.name.clone(), failure })?;
    let notes = printed.get(&format!("{}/templates/NOTES.txt", package.name)).cloned().unwrap_or_default();
    let manifests = printed.iter().filter(|(file, _)| !file.ends_with("NOTES.txt"));
    Ok(Rendered { objects: objects::objects(&package.name, manifests)?, notes })
}

/// Whether values and cluster are what a chart and its subcharts want.
fn check(package: &Package, release: &Release, values: &Value) -> Result<(), RenderError> {
    let chart = || package.name.clone();
    let wants = &package.metadata.kube_version;
    match release.kube_version.meets(wants) {
        Ok(true) => {}
        Ok(false) => {
            return Err(RenderError::KubeVersion {
                chart: chart(),
                wants: wants.clone(),
                got: release.kube_version.clone(),
            });
        }
        Err(error) => {
            return Err(RenderError::Chart {
                chart: chart(),
                file: "Chart.yaml".to_owned(),
                problem: error.to_string(),
            });
        }
    }
    if let Some(schema) = &package.schema {
        let mismatches =
            schema::check(schema, values).map_err(|source| RenderError::Schema { chart: chart(), source })?;
        if !mismatches.is_empty() {
            return Err(RenderError::Values { chart: chart(), mismatches });
        }
    }
    for subchart in &package.dependencies {
        check(subchart, release, values.get(&subchart.name).unwrap_or(&Value::Null))?;
    }
    Ok(())
}

/// What every file of a chart and its subcharts prints, by path. The order of execution is Helm's: deepest path first.
fn execute(package: &Package, scope: &Scope) -> Result<BTreeMap<String, String>, Failure> {
    let mut files = Vec::new();
    list(package, scope, &mut files);
    files.sort_by(|(left, ..), (right, ..)| {
        let depth = |path: &str| path.matches('/').count();
        depth(right).cmp(&depth(left)).then_with(|| right.cmp(left))
    });
    let mut templates = Templates::default();
    for (path, source, _) in &files {
        templates.add(path, source)?;
    }
    let mut printed = BTreeMap::new();
    for (path, _, scope) in &files {
        let is_partial = path.rsplit('/').next().is_some_and(|name| name.starts_with('_'));
        if !is_partial {
            printed.insert(path.clone(), templates.execute(path, &scope.begin(path))?);
        }
    }
    Ok(printed)
}

fn list<'a>(package: &'a Package, scope: &'a Scope, files: &mut Vec<(String, &'a str, &'a Scope)>) {
    for (path, source) in &package.templates {
        files.push((format!("{}/{path}", scope.path), source, scope));
    }
    for (subchart, scope) in package.dependencies.iter().zip(&scope.below) {
        list(subchart, scope, files);
    }
}

fn lines(mismatches: &[Mismatch]) -> String {
    mismatches.iter().map(|mismatch| format!("\n  {mismatch}")).collect()
}
