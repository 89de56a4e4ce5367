//! Messages to resources, with bytes that do not depend on the order of a hash map.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use prost::Message;
use xds_proto::istio::security::Authorization;
use xds_proto::istio::workload::{Address, NetworkMode, Service, Workload, address::Type};

use super::{Resource, ResourceType};

/// The Address resource of a service, whose name is `namespace/hostname`.
pub(super) fn service(name: &str, service: &Service) -> Resource {
    let aliases =
        service.addresses.iter().filter_map(|vip| alias(&vip.network, &vip.address, vip.length)).collect();
    let bytes = Address { r#type: Some(Type::Service(service.clone())) }.encode_to_vec();
    address(name.to_owned(), bytes, aliases, Vec::new())
}

/// The Address resource of a workload, whose name is its uid.
pub(super) fn workload(mut workload: Workload) -> Resource {
    let shared = workload.network_mode == i32::from(NetworkMode::HostNetwork);
    let addresses = workload.addresses.iter().filter(|_| !shared);
    let aliases = addresses.filter_map(|address| alias(&workload.network, address, None)).collect();
    let services: BTreeMap<_, _> = std::mem::take(&mut workload.services).into_iter().collect();
    let serves = services.keys().cloned().collect();
    // prost writes a map in hash order. Entries of a map may stand anywhere in a message, so they follow one by one.
    let mut body = workload.encode_to_vec();
    for entry in services {
        let one = Workload { services: HashMap::from([entry]), ..Workload::default() };
        body.extend(one.encode_to_vec());
    }
    let mut bytes = Vec::with_capacity(body.len().saturating_add(8));
    prost::encoding::bytes::encode(WORKLOAD_TAG, &body, &mut bytes);
    Resource { node: workload.node, ..address(workload.uid, bytes, aliases, serves) }
}

pub(super) fn authorization(policy: &Authorization) -> Resource {
    let bytes = policy.encode_to_vec();
    Resource {
        kind: ResourceType::Authorization,
        name: format!("{}/{}", policy.namespace, policy.name),
        version: String::new(),
        digest: digest(&bytes),
        bytes,
        aliases: Vec::new(),
        node: String::new(),
        serves: Vec::new(),
    }
}

fn address(name: String, bytes: Vec<u8>, aliases: Vec<String>, serves: Vec<String>) -> Resource {
    let digest = digest(&bytes);
    let version = format!("{digest:x}");
    Resource {
        kind: ResourceType::Address,
        name,
        version,
        bytes,
        aliases,
        node: String::new(),
        serves,
        digest,
    }
}

/// `network/address`, and `/length` of a prefix.
fn alias(network: &str, address: &[u8], length: Option<u32>) -> Option<String> {
    let ip = <[u8; 4]>::try_from(address)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from))
        .ok()?;
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    Some(match length.filter(|length| *length != whole) {
        Some(length) => format!("{network}/{ip}/{length}"),
        None => format!("{network}/{ip}"),
    })
}

/// FNV-1a, 64 bits: the same on every machine and in every release, which a version that clients keep must be.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Field number of `workload` in `Address`.
const WORKLOAD_TAG: u32 = 1;
