//! Who a peer says it is, for telemetry: the `baggage` header (W3C Baggage), with the keys that ambient proxies use.
//!
//! Values are percent-encoded, so that a comma or an equals sign in a name cannot become another member.

use std::{borrow::Cow, fmt::Write as _};

use crate::{
    Str,
    model::{Workload, WorkloadType},
};

/// What a peer says about itself. Telemetry only: none of it is proven. Every value is printable, not empty, and at most
/// 256 bytes long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Baggage {
    /// `k8s.cluster.name`
    pub cluster: Option<Str>,
    /// `k8s.namespace.name`
    pub namespace: Option<Str>,
    /// `k8s.<type>.name`
    pub workload: Option<(WorkloadType, Str)>,
    /// `service.name`
    pub service: Option<Str>,
    /// `service.version`
    pub version: Option<Str>,
    /// `cloud.region`
    pub region: Option<Str>,
    /// `cloud.availability_zone`
    pub zone: Option<Str>,
}

/// The header that describes a workload; empty parts are left out.
#[must_use]
pub fn encode(workload: &Workload) -> String {
    let Workload {
        cluster_id,
        namespace,
        workload_name,
        workload_type,
        canonical_name,
        canonical_revision,
        ..
    } = workload;
    let mut header = String::with_capacity(192);
    member(&mut header, CLUSTER, cluster_id);
    member(&mut header, NAMESPACE, namespace);
    member(&mut header, workload_key(*workload_type), workload_name);
    member(&mut header, SERVICE, canonical_name);
    member(&mut header, VERSION, canonical_revision);
    member(&mut header, REGION, &workload.locality.region);
    member(&mut header, ZONE, &workload.locality.zone);
    header
}

/// Reads a header. What is malformed, unknown or beyond a limit is left out; the first of two members of one key counts.
#[must_use]
pub fn parse(header: &[u8]) -> Baggage {
    let mut baggage = Baggage::default();
    let header = header.get(..LONGEST_HEADER).unwrap_or(header);
    for member in header.split(|byte| *byte == b',').take(MOST_MEMBERS) {
        if let Some((key, value)) = read(member) {
            keep(&mut baggage, key, value);
        }
    }
    baggage
}

fn keep(baggage: &mut Baggage, key: &str, value: Str) {
    let Baggage { cluster, namespace, workload, service, version, region, zone } = baggage;
    let place = match key {
        CLUSTER => cluster,
        NAMESPACE => namespace,
        SERVICE => service,
        VERSION => version,
        REGION => region,
        ZONE => zone,
        _ => {
            if let Some(kind) = KINDS.into_iter().find(|kind| workload_key(*kind) == key) {
                workload.get_or_insert((kind, value));
            }
            return;
        }
    };
    place.get_or_insert(value);
}

/// One member's key and value, without properties.
fn read(member: &[u8]) -> Option<(&str, Str)> {
    let member = member.split(|byte| *byte == b';').next()?;
    let at = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = member.split_at_checked(at)?;
    let key = str::from_utf8(key).ok()?.trim();
    let value = decode(value.get(1..)?.trim_ascii())?;
    let value = value.as_ref();
    let fits = !value.is_empty() && value.len() <= LONGEST_VALUE && !value.chars().any(char::is_control);
    fits.then(|| (key, value.into()))
}

fn member(header: &mut String, key: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    if !header.is_empty() {
        header.push(',');
    }
    header.push_str(key);
    header.push('=');
    for byte in value.bytes() {
        if is_plain(byte) {
            header.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(header, "%{byte:02X}");
        }
    }
}

/// A byte that W3C Baggage lets stand for itself, but for `=`, which peers split at.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\' | b'%' | b'=')
}

/// Undoes percent-encoding. A `%` that encodes nothing stands for itself, as ztunnel sends it.
fn decode(value: &[u8]) -> Option<Cow<'_, str>> {
    if !value.contains(&b'%') {
        return str::from_utf8(value).ok().map(Cow::Borrowed);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        if let (b'%', [high, low, after @ ..]) = (*first, after)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

const fn workload_key(kind: WorkloadType) -> &'static str {
    match kind {
        WorkloadType::Deployment => "k8s.deployment.name",
        WorkloadType::CronJob => "k8s.cronjob.name",
        WorkloadType::Pod => "k8s.pod.name",
        WorkloadType::Job => "k8s.job.name",
    }
}

const CLUSTER: &str = "k8s.cluster.name";
const NAMESPACE: &str = "k8s.namespace.name";
const SERVICE: &str = "service.name";
const VERSION: &str = "service.version";
const REGION: &str = "cloud.region";
const ZONE: &str = "cloud.availability_zone";
const KINDS: [WorkloadType; 4] =
    [WorkloadType::Deployment, WorkloadType::CronJob, WorkloadType::Pod, WorkloadType::Job];

/// W3C Baggage, section 3.3.2: what every platform must carry, and all that we read.
const LONGEST_HEADER: usize = 8192;
const MOST_MEMBERS: usize = 64;
const LONGEST_VALUE: usize = 256;

#[cfg(test)]
mod tests;
