//! A chart as Helm loads it: metadata, defaults, schema, templates, files, and the charts it depends on.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Chart, RenderError, values};

/// A loaded chart.
#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    /// Its name; the alias where a chart depends on it under one.
    pub(super) name: String,
    /// `Chart.yaml`.
    pub(super) metadata: Metadata,
    /// Defaults.
    pub(super) values: Map<String, Value>,
    /// What values must look like.
    pub(super) schema: Option<Value>,
    /// Templates by path below the chart.
    pub(super) templates: Vec<(String, String)>,
    /// Other files by path below the chart.
    pub(super) files: Vec<(String, String)>,
    /// Charts that are rendered with it.
    pub(super) dependencies: Vec<Self>,
}

/// What of `Chart.yaml` rendering needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) api_version: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) app_version: String,
    pub(super) kube_version: String,
    pub(super) description: String,
    pub(super) home: String,
    pub(super) icon: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) annotations: Map<String, Value>,
    pub(super) dependencies: Vec<Dependency>,
}

/// A chart that another depends on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) repository: String,
    pub(super) alias: String,
    pub(super) condition: String,
    pub(super) tags: Vec<String>,
}

impl Package {
    /// One of our charts.
    pub(super) fn of(chart: Chart) -> Result<Self, RenderError> {
        Self::load(chart.name(), &below(FILES, chart.name()))
    }

    /// A chart of these files, by path below it.
    pub(super) fn load(name: &str, files: &[(&str, &str)]) -> Result<Self, RenderError> {
        let broken = |file: &str, problem: String| RenderError::Chart {
            chart: name.to_owned(),
            file: file.to_owned(),
            problem,
        };
        let mut package = Self { name: name.to_owned(), ..Self::default() };
        for (path, text) in files {
            match *path {
                "Chart.yaml" => {
                    package.metadata =
                        serde_saphyr::from_str(text).map_err(|error| broken(path, error.to_string()))?;
                }
                "values.yaml" => {
                    let defaults = values::parse(text).map_err(|error| broken(path, error.to_string()))?;
                    if let Value::Object(defaults) = defaults {
                        package.values = defaults;
                    }
                }
                "values.schema.json" => {
                    let schema =
                        serde_json::from_str(text).map_err(|error| broken(path, error.to_string()))?;
                    package.schema = Some(schema);
                }
                _ if path.starts_with("templates/") => {
                    package.templates.push((path.to_string(), text.to_string()));
                }
                _ if path.starts_with("charts/") => {}
                _ => package.files.push((path.to_string(), text.to_string())),
            }
        }
        if package.metadata.name.is_empty() {
            return Err(broken("Chart.yaml", "there is none, or it has no name".to_owned()));
        }
        package.dependencies = dependencies(name, &package.metadata, files)?;
        Ok(package)
    }

    /// Without the charts that conditions and tags in the values turn off.
    pub(super) fn enabled(mut self, given: &Map<String, Value>) -> Result<Self, RenderError> {
        for dependency in &self.dependencies {
            // Null takes the parent's own defaults for it away.
            let part = given.get(&dependency.name);
            if part.is_some_and(|part| !part.is_object() && !part.is_null()) {
                return Err(RenderError::SubchartValues {
                    chart: self.name.clone(),
                    key: dependency.name.clone(),
                });
            }
        }
        let values = values::coalesce(&self, given.clone());
        let declared = &self.metadata.dependencies;
        self.dependencies.retain(|package| {
            declared
                .iter()
                .find(|dependency| dependency.called() == package.name)
                .is_none_or(|dependency| dependency.is_enabled(&values))
        });
        if !self.metadata.dependencies.is_empty() {
            self.values = values::defaults_with_subcharts(&self);
        }
        Ok(self)
    }
}

impl Dependency {
    fn called(&self) -> &str {
        if self.alias.is_empty() { &self.name } else { &self.alias }
    }

    /// The first condition that is true or false in the values decides, else the tags do.
    fn is_enabled(&self, values: &Map<String, Value>) -> bool {
        for path in self.condition.split(',').map(str::trim).filter(|path| !path.is_empty()) {
            let pointer = format!("/{}", path.replace('.', "/"));
            if let Some(Value::Bool(enabled)) = Value::Object(values.clone()).pointer(&pointer) {
                return *enabled;
            }
        }
        let tags: Vec<bool> =
            self.tags.iter().filter_map(|tag| values.get("tags")?.get(tag)?.as_bool()).collect();
        tags.is_empty() || tags.contains(&true)
    }
}

/// The charts that `metadata` names: from the chart's own `charts/`, else from beside it where the repository says so.
fn dependencies(
    chart: &str,
    metadata: &Metadata,
    files: &[(&str, &str)],
) -> Result<Vec<Package>, RenderError> {
    let mut packages = Vec::new();
    for dependency in &metadata.dependencies {
        let mut inner = below(files, &format!("charts/{}", dependency.name));
        if inner.is_empty()
            && let Some(beside) = dependency.repository.strip_prefix("file://../")
        {
            inner = below(FILES, beside);
        }
        if inner.is_empty() {
            return Err(RenderError::Chart {
                chart: chart.to_owned(),
                file: "Chart.yaml".to_owned(),
                problem: format!("the chart {} that it depends on is not there", dependency.name),
            });
        }
        packages.push(Package::load(dependency.called(), &inner)?);
    }
    Ok(packages)
}

/// The files of a folder, by path below it.
fn below<'a>(files: &[(&'a str, &'a str)], folder: &str) -> Vec<(&'a str, &'a str)> {
    files
        .iter()
        .filter_map(|(path, text)| {
            let path = path.strip_prefix(folder)?.strip_prefix('/')?;
            Some((path, *text))
        })
        .collect()
}

/// Every file of our charts, by path below `charts/`.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/charts.rs"));
