//! How enrollment is proved.

use super::{Errors, Key};

/// As given.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct RawEnrollment {
    /// When a connection from inside a pod proves that it is captured: `on` for every measurement, `enrollment` only before
    /// a pod counts as enrolled, `off` never. A proxy other than Adit's logs one failed connection for each [default: on]
    #[arg(long, env = "ADIT_CANARY", value_name = "WHEN")]
    pub canary: Option<String>,

    /// Whether a pod that is to be captured and is not proved to be may open connections past the proxy meanwhile: `allow`,
    /// as istio-cni does, or `refuse`, with a reset, until it is proved [default: allow]
    #[arg(long, env = "ADIT_UNPROVED_OUTBOUND", value_name = "WHAT")]
    pub unproved_outbound: Option<String>,
}

/// When a pod is asked to prove by a connection that it is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    On,
    /// Before it counts as enrolled, and not again.
    Enrollment,
    Off,
}

/// What becomes of new TCP connections of a pod that runs, is to be captured, and is not proved to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    Allow,
    Refuse,
}

pub(super) fn canary(errors: &mut Errors, raw: &RawEnrollment) -> Canary {
    match raw.canary.as_deref() {
        None | Some("" | "on") => Canary::On,
        Some("enrollment") => Canary::Enrollment,
        Some("off") => Canary::Off,
        Some(other) => {
            errors.malformed(CANARY, other.to_owned(), "on, enrollment or off");
            Canary::On
        }
    }
}

pub(super) fn unproved(errors: &mut Errors, raw: &RawEnrollment) -> Unproved {
    match raw.unproved_outbound.as_deref() {
        None | Some("" | "allow") => Unproved::Allow,
        Some("refuse") => Unproved::Refuse,
        Some(other) => {
            errors.malformed(UNPROVED, other.to_owned(), "allow or refuse");
            Unproved::Allow
        }
    }
}

const CANARY: Key = ("canary", "ADIT_CANARY");
const UNPROVED: Key = ("unproved-outbound", "ADIT_UNPROVED_OUTBOUND");

#[cfg(test)]
mod tests;
