//! What every template is given: `.Release`, `.Chart`, `.Values`, `.Files`, `.Capabilities`, `.Subcharts`, `.Template`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Release;
use super::chart::Package;
use super::template::Value;
use super::template::value::{Map, Object};

/// `.Release` and `.Capabilities`, the same for every chart of a release.
#[derive(Clone)]
pub(super) struct Common {
    release: Value,
    capabilities: Value,
}

impl Common {
    pub(super) fn new(release: &Release) -> Self {
        let text = |text: &str| Value::text(text);
        Self {
            release: map([
                ("Name", text(&release.name)),
                ("Namespace", text(&release.namespace)),
                ("IsUpgrade", Value::Bool(release.is_upgrade)),
                ("IsInstall", Value::Bool(!release.is_upgrade)),
                ("Revision", Value::Int(release.revision)),
                ("Service", text("Helm")),
            ]),
            capabilities: capabilities(release),
        }
    }
}

/// What the templates of one chart are given, and the same for the charts below it.
pub(super) struct Scope {
    /// What `.` is, but for `.Template`.
    pub(super) dot: Map,
    /// The chart's path in the names of its templates.
    pub(super) path: String,
    /// Its subcharts' scopes.
    pub(super) below: Vec<Self>,
}

impl Scope {
    /// The scope of a chart with its part of the values.
    pub(super) fn new(package: &Package, above: Option<&str>, values: &Value, common: &Common) -> Self {
        let path = match above {
            Some(above) => format!("{above}/charts/{}", package.name),
            None => package.name.clone(),
        };
        let mut below = Vec::new();
        let mut subcharts = BTreeMap::new();
        for subchart in &package.dependencies {
            let part = if let Value::Map(values) = values {
                values.borrow().get(&subchart.name).cloned()
            } else {
                None
            };
            let part = part.unwrap_or_else(|| Value::map(BTreeMap::new()));
            let scope = Self::new(subchart, Some(&path), &part, common);
            subcharts.insert(subchart.name.clone(), Value::Map(Rc::clone(&scope.dot)));
            below.push(scope);
        }
        let dot = entries([
            ("Chart", chart(package, above.is_none())),
            ("Files", files(package)),
            ("Release", common.release.clone()),
            ("Capabilities", common.capabilities.clone()),
            ("Values", values.clone()),
            ("Subcharts", Value::map(subcharts)),
        ]);
        Self { dot: Rc::new(RefCell::new(dot)), path, below }
    }

    /// Says which template is about to run.
    pub(super) fn begin(&self, template: &str) -> Value {
        let running = map([
            ("Name", Value::text(template)),
            ("BasePath", Value::text(format!("{}/templates", self.path))),
        ]);
        self.dot.borrow_mut().insert("Template".to_owned(), running);
        Value::Map(Rc::clone(&self.dot))
    }
}

fn chart(package: &Package, is_root: bool) -> Value {
    let metadata = &package.metadata;
    let text = |text: &str| Value::text(text);
    map([
        ("Name", text(&package.name)),
        ("Version", text(&metadata.version)),
        ("AppVersion", text(&metadata.app_version)),
        ("APIVersion", text(&metadata.api_version)),
        ("KubeVersion", text(&metadata.kube_version)),
        ("Description", text(&metadata.description)),
        ("Home", text(&metadata.home)),
        ("Icon", text(&metadata.icon)),
        ("Type", text(&metadata.kind)),
        ("Annotations", Value::from(&serde_json::Value::Object(metadata.annotations.clone()))),
        ("IsRoot", Value::Bool(is_root)),
    ])
}

fn files(package: &Package) -> Value {
    let files: Rc<BTreeMap<String, String>> = Rc::new(package.files.iter().cloned().collect());
    let get = method(move |arguments| match arguments {
        [Value::Text(name)] => Ok(Value::text(files.get(name.as_ref()).cloned().unwrap_or_default())),
        _ => Err("Get takes the name of a file".to_owned()),
    });
    object("Files", [("Get", get)])
}

fn capabilities(release: &Release) -> Value {
    let version = &release.kube_version;
    let field = |text: String| Value::text(text);
    let kube_version = object(
        &version.to_string(),
        [
            ("Version", field(version.to_string())),
            ("GitVersion", field(version.to_string())),
            ("Major", field(version.major.to_string())),
            ("Minor", field(version.minor.to_string())),
        ],
    );
    let known = release.api_versions.clone();
    let has = method(move |arguments| match arguments {
        [Value::Text(name)] => Ok(Value::Bool(known.iter().any(|known| known.as_str() == name.as_ref()))),
        _ => Err("Has takes a group and version, such as apps/v1".to_owned()),
    });
    let api_versions = object(&format!("[{}]", release.api_versions.join(" ")), [("Has", has)]);
    object("Capabilities", [("KubeVersion", kube_version), ("APIVersions", api_versions)])
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::map(entries(pairs))
}

fn entries<const N: usize>(pairs: [(&str, Value); N]) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn object<const N: usize>(text: &str, fields: [(&'static str, Value); N]) -> Value {
    Value::Object(Rc::new(Object { fields: BTreeMap::from(fields), text: text.to_owned() }))
}

fn method(call: impl Fn(&[Value]) -> Result<Value, String> + 'static) -> Value {
    Value::Method(Rc::new(call))
}
