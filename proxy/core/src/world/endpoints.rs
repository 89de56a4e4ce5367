//! The endpoints of one service, in a form that one can be drawn from without looking at all.

use std::{collections::BTreeMap, sync::Arc};

use rpds::VectorSync;

use super::map::Map;
use crate::{
    Str,
    model::{PortMap, Workload},
};

/// A workload as one endpoint of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The workload.
    pub workload: Arc<Workload>,
    /// Its own port for each service port.
    pub ports: Arc<PortMap>,
}

/// The endpoints of one service. Adding, replacing and removing one does not touch the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    /// In no order; a removed endpoint's place is taken by the last one.
    slots: VectorSync<Endpoint>,
    places: Map<Str, usize>,
    capacities: BTreeMap<u32, usize>,
}

impl Endpoints {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn at(&self, place: usize) -> Option<&Endpoint> {
        self.slots.get(place)
    }

    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Endpoint> {
        self.slots.get(*self.places.get(uid)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.slots.iter()
    }

    /// The largest capacity of any of them; 0 without endpoints.
    pub(crate) fn largest_capacity(&self) -> u32 {
        self.capacities.last_key_value().map_or(0, |(capacity, _)| *capacity)
    }

    /// Adds an endpoint or replaces that of the same workload.
    pub(super) fn put(&mut self, endpoint: Endpoint) {
        let uid = &endpoint.workload.uid;
        let known = self.capacities.entry(endpoint.workload.capacity).or_default();
        *known = known.saturating_add(1);
        if let Some(place) = self.places.get(uid).copied() {
            let old = self.at(place).map(|old| old.workload.capacity);
            self.uncount(old);
            self.slots.set_mut(place, endpoint);
        } else {
            self.places.insert_mut(uid.clone(), self.slots.len());
            self.slots.push_back_mut(endpoint);
        }
    }

    pub(super) fn remove(&mut self, uid: &str) {
        let Some(place) = self.places.get(uid).copied() else {
            return;
        };
        let old = self.at(place).map(|old| old.workload.capacity);
        self.uncount(old);
        self.places.remove_mut(uid);
        let last = self.slots.last().cloned();
        self.slots.drop_last_mut();
        if let Some(last) = last.filter(|_| place < self.slots.len()) {
            self.places.insert_mut(last.workload.uid.clone(), place);
            self.slots.set_mut(place, last);
        }
    }

    fn uncount(&mut self, capacity: Option<u32>) {
        let Some(capacity) = capacity else { return };
        let left = self.capacities.get(&capacity).map_or(0, |known| known.saturating_sub(1));
        if left == 0 {
            self.capacities.remove(&capacity);
        } else {
            self.capacities.insert(capacity, left);
        }
    }
}
