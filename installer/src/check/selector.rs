//! Label selectors, as Kubernetes reads them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

/// Labels of an object.
pub(super) type Labels = BTreeMap<String, String>;

/// Whether a selector picks an object. An empty one picks everything; one that is malformed picks nothing.
#[must_use]
pub(super) fn picks(selector: &LabelSelector, labels: &Labels) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests;
