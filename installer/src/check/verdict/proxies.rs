//! What proxies and agents say of themselves.

use std::collections::BTreeMap;

use super::metrics::{count, sum};
use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, Known, known};
use crate::check::finding::{Judged, Problem, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "agent-health",
        area: Area::Installation,
        title: "each agent is well",
        when: When::After,
        about: "The agent's own words at :8000/readyz: whether the plugin is in place, a proxy is connected, and pods wait to be enrolled.",
        hint: "see the agent's log: kubectl -n istio-system logs -l k8s-app=istio-cni-node",
        judge: agents,
    },
    Check {
        id: "proxy-control-plane",
        area: Area::Installation,
        title: "each proxy has heard from istiod",
        when: When::After,
        about: "A proxy that knows no configuration serves its pods by what it kept on disk, or not at all.",
        hint: "see the proxy's log for its reason: kubectl -n istio-system logs -l app=ztunnel; and the checks istiod-*",
        judge: control_plane,
    },
    Check {
        id: "proxy-certificates",
        area: Area::Installation,
        title: "each proxy has certificates for its pods",
        when: When::After,
        about: "Counted by each proxy: `unavailable` ones were refused by istiod, `overdue` ones were not renewed in time and `expired` \
                ones let nobody in any more.",
        hint: "istiod's log has the reason for what it refused; see the checks istiod-trusted-account and node-clock",
        judge: certificates,
    },
    Check {
        id: "proxy-traffic",
        area: Area::Installation,
        title: "traffic between pods went through the mesh",
        when: When::After,
        about: "Proven by connections with mutual TLS that proxies have counted since they started. Before the first of them nobody can \
                tell whether port 15008 is open between nodes.",
        hint: "send a request from one pod of the mesh to another on another node, and check again",
        judge: traffic,
    },
];

/// Judges each one's words; where nobody could be asked, that is all there is to say.
fn each(
    facts: &BTreeMap<String, Known<String>>,
    fine: impl Into<String>,
    judge: impl Fn(&str) -> Vec<Problem>,
) -> Judged {
    if let Some(unread) = facts.values().next().and_then(|one| one.as_ref().err())
        && facts.values().all(Result::is_err)
    {
        return Err(unread.clone());
    }
    let mut verdict = Verdict::fine(fine);
    for (pod, said) in facts {
        let subject = format!("pod {pod}");
        match said {
            Ok(said) => {
                verdict
                    .problems
                    .extend(judge(said).into_iter().map(|one| Problem { subject: subject.clone(), ..one }));
            }
            Err(unread) => {
                verdict
                    .add(Problem::warning(subject, format!("not known: {}: {}", unread.attempt, unread.why)));
            }
        }
    }
    Ok(verdict)
}

fn agents(facts: &Facts) -> Judged {
    each(&facts.agents, format!("{} agents", facts.agents.len()), |said| {
        let unready = said.lines().filter_map(|line| line.strip_prefix("not ready: "));
        let degraded = said.lines().filter_map(|line| line.strip_prefix("degraded: "));
        let unready = unready.map(|why| Problem::error("", format!("it is not ready: {why}")));
        unready.chain(degraded.map(|why| Problem::warning("", why))).collect()
    })
}

fn control_plane(facts: &Facts) -> Judged {
    each(&facts.proxies, format!("{} proxies", facts.proxies.len()), |said| {
        if count(said, "istio_xds_message_total", &[]) == 0.0 {
            vec![Problem::error("", "no message of istiod has come")]
        } else if count(said, "adit_snapshot_serving", &[]) > 0.0 {
            vec![Problem::warning(
                "",
                "it serves what it kept on disk: istiod has not answered since it started",
            )]
        } else {
            Vec::new()
        }
    })
}

fn certificates(facts: &Facts) -> Judged {
    let here = known(&facts.clocks)?.here / 1000;
    let of = |state: &'static str| {
        let counts = facts.proxies.values().flatten();
        counts.map(|said| count(said, "adit_certificates", &[("state", state)])).sum::<f64>()
    };
    each(&facts.proxies, format!("{} in use", of("available")), |said| {
        let of = |state| count(said, "adit_certificates", &[("state", state)]);
        let mut problems = Vec::new();
        for (state, what) in [("unavailable", "istiod has refused"), ("expired", "have expired")] {
            let number = of(state);
            if number > 0.0 {
                problems.push(Problem::error("", format!("certificates of {number} identities {what}")));
            }
        }
        if of("overdue") > 0.0 {
            let first = sum(said, "adit_certificate_first_expiry_timestamp_seconds", &[]);
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
            let left = first.map(|end| (end - here as f64) / 60.0);
            let left =
                left.map(|minutes| format!(", the first ends in {minutes:.0} min")).unwrap_or_default();
            problems.push(Problem::warning(
                "",
                format!("{} certificates were not renewed in time{left}", of("overdue")),
            ));
        }
        problems
    })
}

fn traffic(facts: &Facts) -> Judged {
    let readable: Vec<&String> = facts.proxies.values().flatten().collect();
    if let Some(unread) = facts.proxies.values().find_map(|one| one.as_ref().err())
        && readable.is_empty()
    {
        return Err(unread.clone());
    }
    let counted = readable.iter().map(|said| {
        let labels = [("reporter", "destination"), ("connection_security_policy", "mutual_tls")];
        count(said, "istio_tcp_connections_opened_total", &labels)
    });
    let counted: f64 = counted.sum();
    Ok(if counted > 0.0 {
        Verdict::fine(format!("{counted} connections with mutual TLS"))
    } else {
        Verdict::warning("", "no connection with mutual TLS has been counted yet")
    })
}
