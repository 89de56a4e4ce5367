//! Pod traffic to the proxy: what rules a pod wants (`plan`), how they are written (`render`), whether they are
//! there (`drift`), whether the proxy takes DNS (`listeners`), which way into the kernel a node has (`choose`), and putting
//! rules into or out of a pod's network namespace by it (`apply`, `backend`).

pub mod apply;
mod backend;
mod choose;
pub mod drift;
mod error;
pub mod host;
mod iptables;
mod ipv6;
mod listeners;
mod netns;
mod nfnetlink;
mod nftables;
pub mod observe;
pub mod plan;
mod program;
mod refusal;
pub mod render;
mod routing;
pub mod rule;
mod traces;

pub use apply::Applied;
pub use backend::{Backend, Kind, KindError};
pub use choose::{Chosen, Evidence, Wish, choose};
pub use drift::{Drift, Finding, drift};
pub use error::{RedirectError, Trial};
pub use iptables::{Iptables, Variant};
pub use listeners::dns_listeners;
pub use netns::in_netns;
pub use nftables::Nftables;
pub use plan::{
    DnsListeners, InterfaceName, InterfaceNameError, Plan, PodOverrides, Settings, plan, wants_dns,
};
pub use traces::Engine;
