//! Pod traffic to the proxy: what rules a pod wants (`plan`), how they are written (`render`), whether they are
//! there (`drift`), whether the proxy takes DNS (`listeners`), and putting rules into or out of a pod's network namespace
//! (`apply`).

pub mod apply;
pub mod drift;
mod error;
mod iptables;
mod listeners;
mod netns;
pub mod observe;
pub mod plan;
pub mod render;
mod routing;
pub mod rule;

pub use drift::{Drift, Finding, drift};
pub use error::RedirectError;
pub use iptables::{Iptables, Trial, Variant};
pub use listeners::dns_listeners;
pub use netns::in_netns;
pub use plan::{
    DnsListeners, InterfaceName, InterfaceNameError, Plan, PodOverrides, Settings, plan, wants_dns,
};
