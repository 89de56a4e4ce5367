//! What a route was decided by, for who asks why: written down by the decision itself, and by nobody on the data path.

use std::{cell::RefCell, sync::Arc};

use super::balance::{self, Candidate, Purpose, Wanted};
use crate::{
    model::{GatewayAddress, Service, Workload},
    world::World,
};

/// One thing that a route was decided by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The address is this service's.
    Meant(Arc<Service>),
    /// The connection comes from this waypoint, which is not taken again.
    OwnWaypoint(GatewayAddress),
    /// The connection takes this waypoint.
    Waypoint(GatewayAddress),
    /// The connection takes this gateway to another network.
    Gateway(GatewayAddress),
    /// One of a service's endpoints was to be chosen.
    Choice(Choice),
}

/// A choice among the endpoints of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The service.
    pub service: Arc<Service>,
    /// The service port.
    pub port: u16,
    /// What the endpoint is for.
    pub purpose: Purpose,
    /// Every endpoint, sorted by uid.
    pub candidates: Vec<Candidate>,
}

impl Choice {
    /// The highest rank there is: one of those that have it is chosen.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        self.candidates.iter().filter_map(|candidate| Some(candidate.fit.ok()?.rank)).max()
    }
}

impl Turn {
    pub(super) fn choice(world: &World, source: &Workload, wanted: Wanted<'_>) -> Self {
        let Wanted { service, port, purpose } = wanted;
        Self::Choice(Choice {
            service: Arc::clone(service),
            port,
            purpose,
            candidates: balance::candidates(world, source, wanted),
        })
    }
}

/// Where a decision writes down what it came by: nowhere by default.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trail<'a>(Option<&'a RefCell<Vec<Turn>>>);

impl<'a> Trail<'a> {
    pub(super) const fn into(turns: &'a RefCell<Vec<Turn>>) -> Self {
        Self(Some(turns))
    }

    pub(super) fn note(self, turn: impl FnOnce() -> Turn) {
        if let Some(turns) = self.0 {
            turns.borrow_mut().push(turn());
        }
    }
}
