//! The API server.

use super::control_plane::istiods;
use super::version::Version;
use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, known};
use crate::check::finding::{Judged, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "api-reachable",
        area: Area::Kubernetes,
        title: "the API server answers",
        when: When::Always,
        about: "Nothing else can be told without it; no other check is reported while it fails.",
        hint: "see whether `kubectl version` works with the same kubeconfig and context (--kubeconfig, --context)",
        judge: reachable,
    },
    Check {
        id: "api-version",
        area: Area::Kubernetes,
        title: "Kubernetes is new enough for istiod",
        when: When::Always,
        about: "Each istiod has an oldest Kubernetes that it supports: 1.30 for istiod 1.29 and 1.30, 1.32 for istiod 1.31. Without \
                an istiod, 1.28 is asked for.",
        hint: "upgrade Kubernetes, or use an older istiod",
        judge: version,
    },
    Check {
        id: "api-clock",
        area: Area::Kubernetes,
        title: "this machine's clock agrees with the API server's",
        when: When::Always,
        about: "Nodes' clocks and the ends of certificates are compared with the clock of the machine that runs the check.",
        hint: "set this machine's clock (timedatectl, chronyc), or that of the API server's node",
        judge: clock,
    },
];

fn reachable(facts: &Facts) -> Judged {
    Ok(match &facts.server {
        Ok(version) => Verdict::fine(format!("it is {version}")),
        Err(unread) => Verdict::error("", format!("{}: {}", unread.attempt, unread.why)),
    })
}

fn version(facts: &Facts) -> Judged {
    let text = known(&facts.server)?;
    let Some(version) = Version::parse(text) else {
        return Ok(Verdict::warning("", format!("{text:?} is no version that this tool can read")));
    };
    let istiod = istiods(facts).unwrap_or_default().iter().filter_map(|one| one.version).max();
    let needs = istiod.map_or(OLDEST, oldest);
    let whose = istiod.map_or_else(|| "Adit".to_owned(), |istiod| format!("istiod {istiod}"));
    Ok(if version < needs {
        Verdict::error("", format!("Kubernetes {version} is older than {needs}, which {whose} needs"))
    } else {
        Verdict::fine(format!("Kubernetes {version}; {whose} needs {needs}"))
    })
}

/// The oldest Kubernetes that an istiod supports.
fn oldest(istiod: Version) -> Version {
    match istiod {
        Version(1, ..29) => OLDEST,
        Version(1, 29..31) => Version(1, 30),
        _ => Version(1, 32),
    }
}

fn clock(facts: &Facts) -> Judged {
    let clocks = known(&facts.clocks)?;
    let apart = (clocks.here - clocks.server).abs() / 1000;
    let direction = if clocks.here > clocks.server { "ahead of" } else { "behind" };
    Ok(if apart > APART {
        Verdict::warning("", format!("this machine's clock is {apart} s {direction} the API server's"))
    } else {
        Verdict::fine(format!("{apart} s apart"))
    })
}

const OLDEST: Version = Version(1, 28);
/// Seconds; an answer takes some of them.
const APART: i64 = 10;
