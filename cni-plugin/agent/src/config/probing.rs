//! How the host lets probes through.

use super::{Errors, Key};

/// As given.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct RawProbing {
    /// The host's rules are those of its first process, not those of this one: for an agent with a network of its own
    /// [default: false]
    #[arg(long, env = "ALLOW_SWITCH_TO_HOST_NS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub allow_switch_to_host_ns: Option<String>,
    /// Say so where pods may be behind branch interfaces of AWS, past which probes are not routed back [default: true]
    #[arg(long, env = "AMBIENT_ENABLE_AWS_BRANCH_ENI_PROBE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub aws_branch_eni_probe: Option<String>,
}

/// As meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probing {
    /// Rules go to the first process's network namespace.
    pub switch_to_host: bool,
    /// Pods may be behind a branch interface: nothing routes their probes back, which is told.
    pub branch_eni: bool,
}

pub(super) fn check(errors: &mut Errors, raw: &RawProbing) -> Probing {
    Probing {
        switch_to_host: errors.flag(raw.allow_switch_to_host_ns.clone(), SWITCH, false),
        branch_eni: errors.flag(raw.aws_branch_eni_probe.clone(), BRANCH_ENI, true),
    }
}

const SWITCH: Key = ("allow-switch-to-host-ns", "ALLOW_SWITCH_TO_HOST_NS");
const BRANCH_ENI: Key = ("aws-branch-eni-probe", "AMBIENT_ENABLE_AWS_BRANCH_ENI_PROBE");
