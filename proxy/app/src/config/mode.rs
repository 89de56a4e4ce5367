//! Whom the process serves: every pod that a node agent announces, or one workload where it runs.

use proxy_core::model::PodInfo;

use super::raw::Reader;
use super::{ConfigError, ProxyMode};

pub(super) fn mode(reader: &mut Reader<'_>) -> ProxyMode {
    let dedicated = reader.parse_with("PROXY_MODE", |value| match value {
        "shared" => Ok(false),
        "dedicated" => Ok(true),
        _ => Err("want shared or dedicated".to_owned()),
    });
    if dedicated != Some(true) {
        return ProxyMode::Shared { itself: itself(reader) };
    }
    if reader.text(WORKLOAD).is_none() {
        reader.refuse(ConfigError::Unsupported {
            name: WORKLOAD,
            why: "must name the one workload of dedicated mode as namespace/name/serviceaccount",
        });
    }
    let workload = reader.parse_with(WORKLOAD, workload);
    // A mistake is kept by the reader and ends the start: what stands here then is never used.
    ProxyMode::Dedicated(workload.unwrap_or_else(|| pod("", "", "")))
}

/// The proxy's own pod, when all three of its names are given.
///
/// Its trust domain comes from the control plane, as every workload's does: `TRUST_DOMAIN` is not asked.
fn itself(reader: &Reader<'_>) -> Option<PodInfo> {
    let given = |name| reader.text(name).filter(|value| !value.is_empty());
    Some(pod(&given("POD_NAMESPACE")?, &given("POD_NAME")?, &given("SERVICE_ACCOUNT")?))
}

fn workload(text: &str) -> Result<PodInfo, String> {
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(namespace), Some(name), Some(account), None)
            if [namespace, name, account].iter().all(|part| !part.is_empty()) =>
        {
            Ok(pod(namespace, name, account))
        }
        _ => Err("want namespace/name/serviceaccount".to_owned()),
    }
}

fn pod(namespace: &str, name: &str, service_account: &str) -> PodInfo {
    PodInfo { name: name.into(), namespace: namespace.into(), service_account: service_account.into() }
}

const WORKLOAD: &str = "PROXY_WORKLOAD_INFO";
