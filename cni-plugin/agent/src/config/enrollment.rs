//! How enrollment is proved.

use super::{Errors, Key};

/// As given.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct RawEnrollment {
    /// When a connection from inside a pod proves that it is captured: `on` for every measurement, `enrollment` only before
    /// a pod counts as enrolled, `off` never. A proxy other than Adit's logs one failed connection for each [default: on]
    #[arg(long, env = "ADIT_CANARY", value_name = "WHEN")]
    pub canary: Option<String>,
}

/// When a pod is asked to prove by a connection that it is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    On,
    /// Before it counts as enrolled, and not again.
    Enrollment,
    Off,
}

pub(super) fn canary(errors: &mut Errors, raw: RawEnrollment) -> Canary {
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

const CANARY: Key = ("canary", "ADIT_CANARY");
