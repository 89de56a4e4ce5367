//! Every check: its id, what it is about, what to do when it fails, and its verdict over the facts.

use super::facts::Facts;
use super::finding::{Finding, Judged, Severity};
use super::verdict;

/// One check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// Does not change, so that scripts may name it.
    pub(super) id: &'static str,
    /// Which checks it stands with.
    pub(super) area: Area,
    /// What is checked, as a statement that ought to hold.
    pub(super) title: &'static str,
    /// When it is asked.
    pub(super) when: When,
    /// Why it matters.
    pub(super) about: &'static str,
    /// What to do when it does not hold.
    pub(super) hint: &'static str,
    /// The verdict.
    pub(super) judge: fn(&Facts) -> Judged,
}

/// Checks that stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    /// The API server.
    Kubernetes,
    /// What the caller may do.
    Rights,
    /// The control plane.
    Istiod,
    /// The nodes and their network.
    Nodes,
    /// Namespaces, pods and their policies.
    Workloads,
    /// What is installed.
    Installation,
}

impl Area {
    /// All, as they are reported.
    pub(super) const ALL: [Self; 6] =
        [Self::Kubernetes, Self::Rights, Self::Istiod, Self::Nodes, Self::Workloads, Self::Installation];

    /// For people and for programs.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Rights => "rights",
            Self::Istiod => "istiod",
            Self::Nodes => "nodes",
            Self::Workloads => "workloads",
            Self::Installation => "installation",
        }
    }
}

/// When a check is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before an installation and after it.
    Always,
    /// Only before.
    Before,
    /// Only after.
    After,
    /// Only before, and of nodes that a probe has looked at.
    Probed,
}

/// Every check, in the order of a report.
pub(super) fn checks() -> impl Iterator<Item = &'static Check> {
    verdict::ALL.iter().copied().flatten()
}

/// What all checks that apply find in these facts. With an API server that does not answer, that is all there is to say.
#[must_use]
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in checks().filter(|check| check.applies(facts)) {
        findings.extend(check.findings(facts));
        if facts.server.is_err() {
            break;
        }
    }
    findings
}

impl Check {
    /// Whether it is asked.
    #[must_use]
    pub(super) const fn applies(&self, facts: &Facts) -> bool {
        match self.when {
            When::Always => true,
            When::Before => facts.before,
            When::After => !facts.before,
            When::Probed => facts.before && facts.probed.is_some(),
        }
    }

    /// Its verdict, as lines of a report.
    #[must_use]
    pub(super) fn findings(&self, facts: &Facts) -> Vec<Finding> {
        match (self.judge)(facts) {
            Ok(verdict) if verdict.problems.is_empty() => {
                vec![self.finding(Severity::Ok, String::new(), verdict.fine, None)]
            }
            Ok(verdict) => verdict
                .problems
                .into_iter()
                .map(|problem| {
                    let hint = problem.hint.unwrap_or_else(|| self.hint.to_owned());
                    let hint = hint.replace("-n istio-system", &format!("-n {}", facts.istio_namespace));
                    self.finding(problem.severity, problem.subject, problem.message, Some(hint))
                })
                .collect(),
            Err(unread) => {
                let message = format!("not known: {}: {}", unread.attempt, unread.why);
                let hint = if unread.forbidden {
                    format!("run this as somebody who may {}", unread.attempt)
                } else {
                    "run it again; with -v it says what is asked of the cluster".to_owned()
                };
                vec![self.finding(Severity::Warning, String::new(), message, Some(hint))]
            }
        }
    }

    fn finding(&self, severity: Severity, subject: String, message: String, hint: Option<String>) -> Finding {
        Finding {
            id: self.id,
            area: self.area.name(),
            title: self.title,
            severity,
            subject,
            message,
            hint,
            docs: format!("{PAGE}#{}", self.id),
        }
    }
}

/// Where each check has an anchor of its own.
pub(super) const PAGE: &str = "docs/checks.md";
