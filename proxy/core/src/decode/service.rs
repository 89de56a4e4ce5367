//! Service resources.

use xds_proto::istio::workload::{
    IpFamilies as WireFamilies, LoadBalancing, NetworkAddress as WireAddress, Service as Wire,
    WeightedWaypoint as WireWeighted,
    load_balancing::{HealthPolicy as WireHealth, Mode as WireMode, Scope},
    service::Visibility as WireVisibility,
};

use super::{
    common::{gateway, ip, network_address, ports, prefix, service_name, unknown},
    error::{Fault, Malformed},
};
use crate::model::{
    CidrVip, HealthPolicy, IpFamilies, LoadBalancer, LoadBalancerMode, Locale, NetworkAddress, Service,
    Visibility, WeightedWaypoint,
};

pub(super) fn decode(wire: Wire) -> Result<Service, Fault> {
    let Wire {
        name,
        namespace,
        hostname,
        addresses,
        ports: wire_ports,
        subject_alt_names,
        waypoint,
        load_balancing,
        ip_families,
        // Nothing that this proxy does depends on one.
        extensions: _,
        canonical,
        // For ingress gateways alone.
        ingress_use_waypoint: _,
        weighted_waypoints,
        visibility,
    } = wire;
    let mut vips = Vec::new();
    let mut cidr_vips = Vec::new();
    for wire in addresses {
        match virtual_address(wire)? {
            Virtual::Address(vip) => vips.push(vip),
            Virtual::Prefix(vip) => cidr_vips.push(vip),
        }
    }
    Ok(Service {
        name: name.into(),
        key: service_name("hostname", namespace, hostname)?,
        vips,
        cidr_vips,
        ports: ports("ports", wire_ports)?,
        // Names of another form are for other proxies; leaving one out accepts fewer peers, never more.
        subject_alt_names: subject_alt_names.iter().filter_map(|name| name.parse().ok()).collect(),
        waypoint: waypoint.map(|wire| gateway("waypoint", wire)).transpose()?,
        weighted_waypoints: weighted_waypoints.into_iter().map(weighted).collect::<Result<_, _>>()?,
        load_balancer: load_balancing.map(load_balancer).transpose()?,
        ip_families: families(ip_families)?,
        canonical,
        visibility: match WireVisibility::try_from(visibility) {
            // As ztunnel does.
            Ok(WireVisibility::Public) | Err(_) => Visibility::Public,
            Ok(WireVisibility::Namespace) => Visibility::Namespace,
        },
    })
}

enum Virtual {
    Address(NetworkAddress),
    Prefix(CidrVip),
}

/// A prefix as long as the address is the address.
fn virtual_address(wire: WireAddress) -> Result<Virtual, Fault> {
    let WireAddress { network, address, length } = wire;
    let host = ip("addresses", &address)?;
    let Some(length) = length else {
        return Ok(Virtual::Address(network_address(&network, host)));
    };
    let cidr = prefix("addresses", &address, length)?;
    Ok(if cidr.prefix_len() == cidr.max_prefix_len() {
        Virtual::Address(network_address(&network, host))
    } else {
        Virtual::Prefix(CidrVip { network: network.into(), cidr })
    })
}

fn weighted(wire: WireWeighted) -> Result<WeightedWaypoint, Fault> {
    let WireWeighted { destination, weight } = wire;
    let destination = destination.ok_or_else(|| ("weighted_waypoints".into(), Malformed::Missing))?;
    Ok(WeightedWaypoint { destination: gateway("weighted_waypoints", destination)?, weight })
}

fn load_balancer(wire: LoadBalancing) -> Result<LoadBalancer, Fault> {
    let LoadBalancing { routing_preference, mode, health_policy } = wire;
    Ok(LoadBalancer {
        preferences: routing_preference.into_iter().map(locale).collect::<Result<_, _>>()?,
        mode: match WireMode::try_from(mode) {
            Ok(WireMode::UnspecifiedMode) => LoadBalancerMode::Standard,
            Ok(WireMode::Strict) => LoadBalancerMode::Strict,
            Ok(WireMode::Failover) => LoadBalancerMode::Failover,
            Ok(WireMode::Passthrough) => LoadBalancerMode::Passthrough,
            Err(_) => return Err(unknown("load_balancing.mode", mode)),
        },
        health_policy: match WireHealth::try_from(health_policy) {
            Ok(WireHealth::OnlyHealthy) => HealthPolicy::OnlyHealthy,
            Ok(WireHealth::AllowAll) => HealthPolicy::AllowAll,
            Err(_) => return Err(unknown("load_balancing.health_policy", health_policy)),
        },
    })
}

fn locale(number: i32) -> Result<Locale, Fault> {
    match Scope::try_from(number) {
        Ok(Scope::Region) => Ok(Locale::Region),
        Ok(Scope::Zone) => Ok(Locale::Zone),
        Ok(Scope::Subzone) => Ok(Locale::Subzone),
        Ok(Scope::Node) => Ok(Locale::Node),
        Ok(Scope::Cluster) => Ok(Locale::Cluster),
        Ok(Scope::Network) => Ok(Locale::Network),
        Ok(Scope::UnspecifiedScope) | Err(_) => Err(unknown("load_balancing.routing_preference", number)),
    }
}

fn families(number: i32) -> Result<IpFamilies, Fault> {
    match WireFamilies::try_from(number) {
        Ok(WireFamilies::Automatic) => Ok(IpFamilies::Automatic),
        Ok(WireFamilies::Ipv4Only) => Ok(IpFamilies::Ipv4),
        Ok(WireFamilies::Ipv6Only) => Ok(IpFamilies::Ipv6),
        Ok(WireFamilies::Dual) => Ok(IpFamilies::Dual),
        Err(_) => Err(unknown("ip_families", number)),
    }
}
