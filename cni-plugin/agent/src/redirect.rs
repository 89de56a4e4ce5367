//! The rules of one pod: the seam to the kernel, and the errors of it in one piece.

use std::error::Error;
use std::os::fd::AsFd;

use cni_plugin_redirect::{
    Backend, DnsListeners, Plan, RedirectError, Settings, apply, dns_listeners, plan, wants_dns,
};

use crate::eligible;
use crate::model::Pod;
use crate::netns::Netns;
use crate::probes::ProbeError;

pub mod choice;

/// Puts a pod's rules into its namespace, takes them out, compares them. All methods block.
pub trait Redirect: Send + Sync + 'static {
    /// Brings the rules to what the pod wants, from whatever is there.
    ///
    /// # Errors
    /// They could not be put in place, or not all of them.
    fn apply(&self, netns: &Netns, pod: &Pod) -> Result<Applied, PodRulesError>;

    /// Captures no connection any more that begins; those that the proxy carries go on.
    ///
    /// # Errors
    /// The pod may still be captured.
    fn release(&self, netns: &Netns, pod: &Pod) -> Result<(), PodRulesError>;

    /// Takes everything of ours out.
    ///
    /// # Errors
    /// Something may have been left behind.
    fn remove(&self, netns: &Netns) -> Result<(), PodRulesError>;

    /// What differs from what the pod wants, if anything.
    ///
    /// # Errors
    /// It could not be told.
    fn inspect(&self, netns: &Netns, pod: &Pod) -> Result<Option<String>, PodRulesError>;

    /// Refuses TCP connections that would leave the pod past the proxy. Those that are redirected to it pass, the
    /// canary's among them.
    ///
    /// # Errors
    /// The pod is not held back.
    fn refuse_outbound(&self, netns: &Netns) -> Result<(), PodRulesError>;

    /// Ends that, also when nothing was refused.
    ///
    /// # Errors
    /// The pod may still be held back.
    fn allow_outbound(&self, netns: &Netns) -> Result<(), PodRulesError>;
}

/// What of the pod's wishes is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// DNS is to be captured and is not: the proxy does not listen for it, or not yet.
    pub dns_missing: bool,
    /// The pod has IPv6 addresses, and this node cannot load rules for them.
    pub ipv6_left_alone: bool,
}

/// Why a pod's rules are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum PodRulesError {
    #[error("see whether the proxy takes the pod's DNS")]
    Listeners(#[source] RedirectError),
    #[error("have the pod's probes pass before its rules are there")]
    Probes(#[source] ProbeError),
    #[error("put the pod's redirection rules in place")]
    Apply(#[source] RedirectError),
    #[error("redirect nothing of the pod's any more")]
    Release(#[source] RedirectError),
    #[error("take the pod's redirection rules away: {}", list(.0))]
    Remove(Vec<RedirectError>),
    #[error("inspect the pod's redirection rules")]
    Inspect(#[source] RedirectError),
    #[error("refuse what would leave the pod past the proxy")]
    Refuse(#[source] RedirectError),
    #[error("let the pod out again")]
    Allow(#[source] RedirectError),
}

/// The kernel's own.
#[derive(Debug)]
pub struct Kernel {
    pub backend: Backend,
    pub settings: Settings,
}

impl Kernel {
    /// What the pod wants now, and whether DNS is missing from it.
    fn plan(&self, netns: &Netns, pod: &Pod) -> Result<(Plan, bool), PodRulesError> {
        let (overrides, bad) = eligible::overrides(pod);
        for bad in bad {
            let (annotation, value) = (bad.annotation, bad.value);
            tracing::warn!(pod = %pod.full_name(), annotation, value, "an annotation's value is not understood and is ignored");
        }
        let wanted = wants_dns(&self.settings, &overrides);
        let listeners = if wanted {
            dns_listeners(netns.as_fd()).map_err(PodRulesError::Listeners)?
        } else {
            DnsListeners::default()
        };
        let dns_missing = wanted && listeners == DnsListeners::default();
        Ok((plan(&self.settings, &overrides, listeners), dns_missing))
    }
}

impl Redirect for Kernel {
    fn apply(&self, netns: &Netns, pod: &Pod) -> Result<Applied, PodRulesError> {
        let (plan, dns_missing) = self.plan(netns, pod)?;
        let applied = apply::apply(&self.backend, netns.as_fd(), &plan).map_err(PodRulesError::Apply)?;
        let rules = format!("{:016x}", applied.plan.hash());
        tracing::debug!(pod = %pod.full_name(), rules, backend = %self.backend.kind(), "rules are in place");
        Ok(Applied { dns_missing, ipv6_left_alone: applied.ipv6_left_alone })
    }

    fn release(&self, netns: &Netns, pod: &Pod) -> Result<(), PodRulesError> {
        let (plan, _) = self.plan(netns, pod)?;
        apply::release(&self.backend, netns.as_fd(), &plan).map_err(PodRulesError::Release)
    }

    fn remove(&self, netns: &Netns) -> Result<(), PodRulesError> {
        apply::remove(&self.backend, netns.as_fd()).map_err(PodRulesError::Remove)
    }

    fn inspect(&self, netns: &Netns, pod: &Pod) -> Result<Option<String>, PodRulesError> {
        let (plan, _) = self.plan(netns, pod)?;
        let drift = apply::inspect(&self.backend, netns.as_fd(), &plan).map_err(PodRulesError::Inspect)?;
        Ok((!drift.is_none()).then(|| drift.to_string()))
    }

    fn refuse_outbound(&self, netns: &Netns) -> Result<(), PodRulesError> {
        apply::refuse_outbound(&self.backend, netns.as_fd()).map_err(PodRulesError::Refuse)
    }

    fn allow_outbound(&self, netns: &Netns) -> Result<(), PodRulesError> {
        apply::allow_outbound(&self.backend, netns.as_fd()).map_err(PodRulesError::Allow)
    }
}

/// An error with all its causes, for a log line or a pod's events.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn list(errors: &[RedirectError]) -> String {
    errors.iter().map(|error| chain(error)).collect::<Vec<_>>().join("; ")
}
