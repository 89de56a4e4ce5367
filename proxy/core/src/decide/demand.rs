//! Where addresses come on demand: what has to be asked for before a decision may take it for unknown.
//!
//! Whoever is unknown is reached in plain text, so nothing counts as unknown that the control plane was not asked for.

use std::net::IpAddr;

use super::Lookup;
use crate::{
    model::{Destination, GatewayAddress, NamespacedHostname, Service, Workload},
    world::{Found, World},
};

use super::outbound::waypoints;

/// What is lacking of an address that `source` wants to reach: what stands there, and what leads there.
pub(super) fn outbound(world: &World, source: &Workload, destination: IpAddr) -> Option<Lookup> {
    if !world.node().on_demand {
        return None;
    }
    let client = Some(&*source.namespace);
    let home = &*world.node().network;
    let elsewhere = Some(&*source.network).filter(|network| *network != home);
    [home].into_iter().chain(elsewhere).find_map(|network| {
        match world.find_address(network, destination, client) {
            None => address(world, network, destination),
            Some(Found::Service(service)) => of_service(world, source, service),
            Some(Found::Workload(workload)) => of_workload(world, workload),
        }
    })
}

/// What is lacking of an address that a tunnel stream asks for, which may be one that this workload fronts.
pub(super) fn inbound(world: &World, asked: IpAddr) -> Option<Lookup> {
    let network = &*world.node().network;
    if !world.node().on_demand || world.find_address(network, asked, None).is_some() {
        return None;
    }
    address(world, network, asked)
}

fn of_service(world: &World, source: &Workload, service: &Service) -> Option<Lookup> {
    let remote = world.endpoints(&service.key).filter(|endpoint| endpoint.workload.network != source.network);
    waypoints(service)
        .find_map(|waypoint| gateway(world, source, waypoint))
        .or_else(|| remote.into_iter().find_map(|endpoint| of_workload(world, &endpoint.workload)))
}

fn of_workload(world: &World, workload: &Workload) -> Option<Lookup> {
    let ways = workload.waypoint.iter().chain(&workload.network_gateway);
    ways.into_iter().find_map(|way| gateway(world, workload, way))
}

/// A waypoint or gateway, and where it is in another network, the gateway to it.
fn gateway(world: &World, from: &Workload, way: &GatewayAddress) -> Option<Lookup> {
    match world.find_gateway(way) {
        None => match &way.destination {
            Destination::Address(at) => address(world, &at.network, at.address),
            Destination::Hostname(key) => hostname(world, key),
        },
        Some(Found::Workload(hop)) if hop.network != from.network => {
            let next = hop.network_gateway.as_ref().filter(|next| world.find_gateway(next).is_none());
            next.and_then(|next| gateway(world, hop, next))
        }
        Some(Found::Workload(_) | Found::Service(_)) => None,
    }
}

fn address(world: &World, network: &str, address: IpAddr) -> Option<Lookup> {
    ask(world, format!("{network}/{address}"))
}

fn hostname(world: &World, key: &NamespacedHostname) -> Option<Lookup> {
    ask(world, key.to_string())
}

fn ask(world: &World, key: String) -> Option<Lookup> {
    (!world.was_asked_for(&key)).then(|| Lookup::Address(key.into()))
}

#[cfg(test)]
mod tests;
