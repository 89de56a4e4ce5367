//! Label selectors as Kubernetes writes them, and the list of pairs that enables pods.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::Labels;

/// Which pods, in which namespaces; an absent or empty half matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    pub pod: Selector,
    pub namespace: Selector,
}

/// A Kubernetes LabelSelector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    /// An absent label passes.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// Why a selector list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SelectorError {
    #[error("not a YAML list of {{podSelector, namespaceSelector}}")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    #[error(
        "{half} of entry {index}: operator {operator:?} of {key:?} is none of In, NotIn, Exists, DoesNotExist"
    )]
    Operator { half: &'static str, index: usize, key: String, operator: String },
    #[error("{half} of entry {index}: {operator} of {key:?} needs at least one value")]
    NoValues { half: &'static str, index: usize, key: String, operator: String },
    #[error("{half} of entry {index}: {operator} of {key:?} takes no values")]
    Values { half: &'static str, index: usize, key: String, operator: String },
}

impl Selector {
    /// Whether every requirement holds; no requirement holds for every set of labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|one| one.holds(labels))
    }

    /// Whether it says nothing, and so matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

/// Reads the list of selector pairs from YAML; blank text is the empty list, which enables nothing.
///
/// # Errors
/// Text that is no such list, and operators or values that Kubernetes itself refuses.
pub fn parse(yaml: &str) -> Result<Vec<Pair>, SelectorError> {
    if yaml.trim().is_empty() {
        return Ok(Vec::new());
    }
    let raw: Vec<RawPair> =
        serde_saphyr::from_str(yaml).map_err(|source| SelectorError::Yaml(Box::new(source)))?;
    raw.into_iter()
        .enumerate()
        .map(|(index, pair)| {
            Ok(Pair {
                pod: check(pair.pod_selector, "podSelector", index)?,
                namespace: check(pair.namespace_selector, "namespaceSelector", index)?,
            })
        })
        .collect()
}

fn check(raw: Option<RawSelector>, half: &'static str, index: usize) -> Result<Selector, SelectorError> {
    let raw = raw.unwrap_or_default();
    let labels = raw.match_labels.unwrap_or_default().into_iter();
    let mut requirements: Vec<Requirement> =
        labels.map(|(key, value)| Requirement { key, test: Test::In(vec![value]) }).collect();
    for RawRequirement { key, operator, values } in raw.match_expressions.unwrap_or_default() {
        let values = values.unwrap_or_default();
        let test = match operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                return Err(SelectorError::NoValues { half, index, key, operator });
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                return Err(SelectorError::Values { half, index, key, operator });
            }
            "In" => Test::In(values),
            "NotIn" => Test::NotIn(values),
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::DoesNotExist,
            _ => {
                return Err(SelectorError::Operator { half, index, key, operator });
            }
        };
        requirements.push(Requirement { key, test });
    }
    Ok(Selector { requirements })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawPair {
    pod_selector: Option<RawSelector>,
    namespace_selector: Option<RawSelector>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawSelector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<RawRequirement>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRequirement {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

/// What Istio's chart sets: pods labelled `ambient`, and pods of `ambient` namespaces unless labelled `none`.
pub const DEFAULT: &str = "\
- podSelector:
    matchLabels:
      istio.io/dataplane-mode: ambient
- podSelector:
    matchExpressions:
      - key: istio.io/dataplane-mode
        operator: NotIn
        values: [none]
  namespaceSelector:
    matchLabels:
      istio.io/dataplane-mode: ambient
";

#[cfg(test)]
mod tests;
