//! `/config_dump`: what the proxy knows, in the shape that `istioctl ztunnel-config` and Kiali decode.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proxy_core::model::{
    Action, ApplicationTunnel, Attribute, GatewayAddress, Health, HealthPolicy, IpFamilies, LoadBalancerMode,
    Locale, Match, NetworkMode, Policy, PortMap, Protocol, Rules, Scope, Service, StringMatch,
    TunnelProtocol, Visibility, Workload, WorkloadType,
};
use proxy_core::world::Endpoint;
use proxy_mtls::{CertDump, CertInfo};
use serde_json::{Map, Value, json};

use crate::pod::OpenConnection;
use crate::workloads::Entry;

/// Leaves out what is at its default, as the readers expect.
struct Object(Map<String, Value>);

impl Object {
    fn new() -> Self {
        Self(Map::new())
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        if !value.is_empty() {
            self.put(key, value);
        }
        self
    }

    fn some<T>(&mut self, key: &str, value: Option<T>, show: impl FnOnce(T) -> Value) -> &mut Self {
        if let Some(value) = value {
            self.put(key, show(value));
        }
        self
    }

    fn list<T>(&mut self, key: &str, values: &[T], show: impl Fn(&T) -> Value) -> &mut Self {
        if !values.is_empty() {
            self.put(key, values.iter().map(show).collect::<Vec<_>>());
        }
        self
    }

    fn done(&mut self) -> Value {
        Value::Object(std::mem::take(&mut self.0))
    }
}

pub(super) fn workload(w: &Workload) -> Value {
    let mut out = Object::new();
    out.put("workloadIps", w.addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
        .some("waypoint", w.waypoint.as_ref(), gateway)
        .some("networkGateway", w.network_gateway.as_ref(), gateway)
        .put(
            "protocol",
            match w.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Hbone => "HBONE",
            },
        )
        .put(
            "networkMode",
            match w.network_mode {
                NetworkMode::Standard => "Standard",
                NetworkMode::HostNetwork => "HostNetwork",
            },
        )
        .text("uid", &w.uid)
        .text("name", &w.name)
        .text("namespace", &w.namespace)
        .text("trustDomain", &w.trust_domain)
        .text("serviceAccount", &w.service_account)
        .text("network", &w.network)
        .text("workloadName", &w.workload_name)
        .put(
            "workloadType",
            match w.workload_type {
                WorkloadType::Deployment => "deployment",
                WorkloadType::CronJob => "cronjob",
                WorkloadType::Pod => "pod",
                WorkloadType::Job => "job",
            },
        )
        .text("canonicalName", &w.canonical_name)
        .text("canonicalRevision", &w.canonical_revision)
        .text("hostname", &w.hostname)
        .text("node", &w.node);
    if w.native_tunnel {
        out.put("nativeTunnel", true);
    }
    out.some("applicationTunnel", w.application_tunnel, application_tunnel)
        .list("authorizationPolicies", &w.authorization_policies, |key| (&**key).into())
        .put("status", health(w.health))
        .text("clusterId", &w.cluster_id);
    let place = &w.locality;
    if !(place.region.is_empty() && place.zone.is_empty() && place.subzone.is_empty()) {
        let mut locality = Object::new();
        locality.text("region", &place.region).text("zone", &place.zone).text("subzone", &place.subzone);
        out.put("locality", locality.done());
    }
    out.put("services", w.services.keys().map(ToString::to_string).collect::<Vec<_>>())
        .put("capacity", w.capacity)
        .done()
}

pub(super) fn service<'a>(s: &Service, endpoints: impl Iterator<Item = &'a Endpoint>) -> Value {
    let mut out = Object::new();
    out.put("name", &*s.name)
        .put("namespace", &**s.namespace())
        .put("hostname", &**s.hostname())
        .put("vips", s.vips.iter().map(ToString::to_string).collect::<Vec<_>>())
        .list("cidrVips", &s.cidr_vips, |vip| json!({"network": &*vip.network, "cidr": vip.cidr.to_string()}))
        .put("ports", ports(&s.ports))
        .put("endpoints", self::endpoints(endpoints))
        .put("subjectAltNames", s.subject_alt_names.iter().map(ToString::to_string).collect::<Vec<_>>())
        .some("waypoint", s.waypoint.as_ref(), gateway)
        .list(
            "weightedWaypoints",
            &s.weighted_waypoints,
            |w| json!({"destination": gateway(&w.destination), "weight": w.weight}),
        )
        .some("loadBalancer", s.load_balancer.as_ref(), |lb| {
            json!({
                "routingPreferences": lb.preferences.iter().copied().map(locale).collect::<Vec<_>>(),
                "mode": mode(lb.mode),
                "healthPolicy": match lb.health_policy {
                    HealthPolicy::OnlyHealthy => "OnlyHealthy",
                    HealthPolicy::AllowAll => "AllowAll",
                },
            })
        })
        .some(
            "ipFamilies",
            match s.ip_families {
                IpFamilies::Automatic => None,
                IpFamilies::Ipv4 => Some("IPv4"),
                IpFamilies::Ipv6 => Some("IPv6"),
                IpFamilies::Dual => Some("Dual"),
            },
            Value::from,
        );
    if s.canonical {
        out.put("canonical", true);
    }
    out.put(
        "visibility",
        match s.visibility {
            Visibility::Public => "Public",
            Visibility::Namespace => "Namespace",
        },
    )
    .done()
}

/// Endpoints by the UID of their workload.
pub(super) fn endpoints<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> Value {
    let mut shown = Object::new();
    for endpoint in endpoints {
        let value = json!({
            "workloadUid": &*endpoint.workload.uid,
            "port": ports(&endpoint.ports),
            "status": health(endpoint.workload.health),
        });
        shown.put(&endpoint.workload.uid, value);
    }
    shown.done()
}

pub(super) fn policy(p: &Policy) -> Value {
    let rules: Vec<Vec<Vec<Value>>> = match &p.rules {
        Rules::Any(rules) => rules
            .iter()
            .map(|rule| rule.clauses.iter().map(|c| c.matches.iter().map(one_match).collect()).collect())
            .collect(),
        Rules::Unreadable => Vec::new(),
    };
    let mut out = Object::new();
    out.put("name", &*p.name)
        .put("namespace", &*p.namespace)
        .put(
            "scope",
            match p.scope {
                Scope::Global => "Global",
                Scope::Namespace => "Namespace",
                Scope::WorkloadSelector => "WorkloadSelector",
            },
        )
        .put(
            "action",
            match p.action {
                Action::Allow => "Allow",
                Action::Deny => "Deny",
            },
        )
        .put("rules", json!(rules))
        .put("dryRun", p.dry_run);
    if p.rules == Rules::Unreadable {
        out.put("unreadable", true);
    }
    out.done()
}

fn one_match(m: &Match) -> Value {
    let mut out = Object::new();
    pair(&mut out, ["namespaces", "notNamespaces"], &m.namespaces, string_match);
    pair(
        &mut out,
        ["serviceAccounts", "notServiceAccounts"],
        &m.service_accounts,
        |account| json!({"namespace": &*account.namespace, "serviceAccount": &*account.service_account}),
    );
    pair(&mut out, ["principals", "notPrincipals"], &m.principals, string_match);
    pair(&mut out, ["sourceIps", "notSourceIps"], &m.source_ips, |net| net.to_string().into());
    pair(&mut out, ["destinationIps", "notDestinationIps"], &m.destination_ips, |net| net.to_string().into());
    pair(&mut out, ["destinationPorts", "notDestinationPorts"], &m.destination_ports, |port| (*port).into());
    out.done()
}

fn pair<T>(out: &mut Object, [is, is_not]: [&str; 2], attribute: &Attribute<T>, show: impl Fn(&T) -> Value) {
    out.list(is, &attribute.is, &show).list(is_not, &attribute.is_not, &show);
}

fn string_match(m: &StringMatch) -> Value {
    match m {
        StringMatch::Exact(text) => json!({"Exact": &**text}),
        StringMatch::Prefix(text) => json!({"Prefix": &**text}),
        StringMatch::Suffix(text) => json!({"Suffix": &**text}),
        StringMatch::Presence => json!({"Presence": []}),
    }
}

pub(super) fn certificate(c: &CertDump) -> Value {
    json!({
        "identity": c.identity.to_string(),
        "state": c.state,
        "certChain": c.chain.iter().map(one_certificate).collect::<Vec<_>>(),
        "rootCerts": c.roots.iter().map(one_certificate).collect::<Vec<_>>(),
    })
}

fn one_certificate(c: &CertInfo) -> Value {
    json!({
        "pem": STANDARD.encode(&c.pem),
        "serialNumber": c.serial,
        "validFrom": rfc3339(c.not_before),
        "expirationTime": rfc3339(c.not_after),
    })
}

fn rfc3339(unix: u64) -> String {
    use time::format_description::well_known::Rfc3339;
    i64::try_from(unix)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// A duration as serde writes one.
pub(super) fn duration(d: Duration) -> Value {
    json!({"secs": d.as_secs(), "nanos": d.subsec_nanos()})
}

fn gateway(g: &GatewayAddress) -> Value {
    json!({"destination": g.destination.to_string(), "hboneMtlsPort": g.hbone_mtls_port})
}

fn application_tunnel(t: ApplicationTunnel) -> Value {
    let mut out = Object::new();
    out.put(
        "protocol",
        match t.protocol {
            TunnelProtocol::None => "NONE",
            TunnelProtocol::Proxy => "PROXY",
        },
    )
    .some("port", t.port, Value::from)
    .done()
}

fn ports(map: &PortMap) -> Value {
    map.iter().map(|(from, to)| (from.to_string(), Value::from(*to))).collect::<Map<_, _>>().into()
}

const fn health(h: Health) -> &'static str {
    match h {
        Health::Healthy => "Healthy",
        Health::Unhealthy => "Unhealthy",
    }
}

const fn mode(m: LoadBalancerMode) -> &'static str {
    match m {
        LoadBalancerMode::Standard => "Standard",
        LoadBalancerMode::Strict => "Strict",
        LoadBalancerMode::Failover => "Failover",
        LoadBalancerMode::Passthrough => "Passthrough",
    }
}

const fn locale(l: Locale) -> &'static str {
    match l {
        Locale::Region => "Region",
        Locale::Zone => "Zone",
        Locale::Subzone => "Subzone",
        Locale::Node => "Node",
        Locale::Cluster => "Cluster",
        Locale::Network => "Network",
    }
}

/// One pod of this node and its open connections.
pub(super) fn pod(entry: &Entry) -> Value {
    let open = entry.pod.as_ref().map(|pod| pod.open.list()).unwrap_or_default();
    let side = |outbound| open.iter().filter(|c| c.outbound == outbound).map(connection).collect::<Vec<_>>();
    json!({
        "state": if entry.pod.is_some() { "Up" } else { "Pending" },
        "connections": {"inbound": side(false), "outbound": side(true)},
        "info": {
            "name": &*entry.info.name,
            "namespace": &*entry.info.namespace,
            "serviceAccount": &*entry.info.service_account,
        },
    })
}

fn connection(c: &OpenConnection) -> Value {
    json!({
        "src": c.source.to_string(),
        "originalDst": c.original,
        "actualDst": c.actual.map(|address| address.to_string()),
        "protocol": c.protocol,
    })
}
