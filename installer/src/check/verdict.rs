//! Facts to verdicts, area by area. Nothing here asks anybody anything.

use super::catalog::Check;

mod cluster;
mod conflicts;
mod control_plane;
mod identity;
mod istiod;
mod metrics;
mod namespace;
mod network;
mod node_probe;
mod nodes;
pub(super) mod platform;
mod pods;
mod proxies;
mod rights;
mod rollout;
mod version;
mod versions;

/// Every check, in the order of a report.
pub(super) const ALL: &[&[Check]] = &[
    cluster::CHECKS,
    rights::CHECKS,
    istiod::CHECKS,
    identity::CHECKS,
    nodes::CHECKS,
    node_probe::CHECKS,
    platform::CHECKS,
    conflicts::CHECKS,
    namespace::CHECKS,
    network::CHECKS,
    pods::CHECKS,
    rollout::CHECKS,
    versions::CHECKS,
    proxies::CHECKS,
];
