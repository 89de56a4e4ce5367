//! The versions of the CNI specification this plugin speaks, in their order.

use serde_json::{Value, json};

/// A version of the specification. Their order is that of their release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(&'static str);

pub(crate) const V0_1_0: Version = Version("0.1.0");
pub(crate) const V0_4_0: Version = Version("0.4.0");
pub(crate) const V1_1_0: Version = Version("1.1.0");

impl Version {
    /// The version with that name; a configuration without one is of the first.
    pub(crate) fn named(name: Option<&str>) -> Option<Self> {
        let name = name.unwrap_or(V0_1_0.0);
        ALL.into_iter().find(|version| *version == name).map(Self)
    }

    pub(crate) const fn name(self) -> &'static str {
        self.0
    }
}

/// The answer to VERSION.
pub(crate) fn document() -> Value {
    json!({ "cniVersion": V1_1_0.name(), "supportedVersions": ALL })
}

pub(crate) fn list() -> String {
    ALL.join(", ")
}

// Single digits: the order of the texts is that of the versions.
const ALL: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
