//! The types in which other programs decode the dump: Go refuses a whole document for one value of another type.

use serde_json::Value;
use tests::lab::{Lab, Speaks};

use super::captured;

/// What a Go field decodes, beside null, which every one takes.
#[derive(Debug, Clone, Copy)]
enum Type {
    Text,
    Flag,
    Whole,
    /// A list of what the type decodes.
    List(&'static Self),
    /// An object whose values the type decodes, whatever their keys.
    Map(&'static Self),
    /// An object with these keys at least, where they are there.
    Object(&'static [(&'static str, Self)]),
    Anything,
}

use Type::{Anything, Flag, List, Map, Object, Text, Whole};

const DURATION: Type = Object(&[("secs", Whole), ("nanos", Whole)]);
const LOCAL: Type = Object(&[("Localhost", List(&Anything))]);
const SOCKET: Type = Object(&[("SocketAddr", Text)]);
const FILE: Type = Object(&[("File", Text)]);
const GATEWAY: Type = Object(&[("destination", Text), ("hboneMtlsPort", Whole)]);
const CERTIFICATES: Type =
    List(&Object(&[("pem", Text), ("serialNumber", Text), ("validFrom", Text), ("expirationTime", Text)]));

/// Kiali's, of `kubernetes/ztunnel.go`.
const CONFIG: Type = Object(&[
    ("adminAddr", LOCAL),
    ("altCaHostname", Text),
    ("altXdsHostname", Text),
    ("caAddress", Text),
    ("caRootCert", FILE),
    ("clusterDomain", Text),
    ("clusterId", Text),
    ("connectionWindowSize", Whole),
    ("dnsProxy", Flag),
    ("dnsProxyAddr", LOCAL),
    (
        "dnsResolverCfg",
        Object(&[("domain", Text), ("name_servers", List(&Object(&[]))), ("search", List(&Text))]),
    ),
    ("dnsResolverOpts", Object(&[("attempts", Whole), ("timeout", DURATION), ("ndots", Whole)])),
    ("fakeCa", Flag),
    ("fakeSelfInbound", Flag),
    ("frameSize", Whole),
    ("illegalPorts", List(&Whole)),
    ("inboundAddr", Text),
    ("inboundPlaintextAddr", Text),
    ("inpodPortReuse", Flag),
    ("inpodUds", Text),
    ("localNode", Text),
    ("network", Text),
    ("numWorkerThreads", Whole),
    ("outboundAddr", Text),
    ("packetMark", Whole),
    ("poolMaxStreamsPerConn", Whole),
    ("poolUnusedReleaseTimeout", DURATION),
    ("proxy", Flag),
    ("proxyArgs", Text),
    ("proxyMetadata", Map(&Text)),
    ("proxyMode", Text),
    ("proxyWorkloadInformation", Text),
    ("readinessAddr", SOCKET),
    ("requireOriginalSource", Text),
    ("secretTtl", DURATION),
    ("selfTerminationDeadline", DURATION),
    ("socks5Addr", Text),
    ("statsAddr", SOCKET),
    ("windowSize", Whole),
    ("xdsAddress", Text),
    ("xdsOnDemand", Flag),
    ("xdsRootCert", FILE),
]);

const SERVICE: Type = Object(&[
    ("name", Text),
    ("namespace", Text),
    ("hostname", Text),
    ("ipFamilies", Text),
    ("ports", Map(&Whole)),
    ("subjectAltNames", List(&Text)),
    ("vips", List(&Text)),
    ("waypoint", GATEWAY),
    ("endpoints", Map(&Object(&[("port", Map(&Whole)), ("status", Text), ("workloadUid", Text)]))),
]);

const WORKLOAD: Type = Object(&[
    ("workloadIps", List(&Text)),
    ("services", List(&Text)),
    ("protocol", Text),
    ("networkMode", Text),
    ("status", Text),
    ("uid", Text),
    ("name", Text),
    ("namespace", Text),
    ("node", Text),
    ("serviceAccount", Text),
    ("trustDomain", Text),
    ("workloadName", Text),
    ("workloadType", Text),
    ("canonicalName", Text),
    ("canonicalRevision", Text),
    ("clusterId", Text),
    ("capacity", Whole),
    ("waypoint", GATEWAY),
    ("networkGateway", GATEWAY),
    ("authorizationPolicies", List(&Text)),
    ("locality", Object(&[("region", Text), ("zone", Text), ("subzone", Text)])),
]);

const CONNECTION: Type =
    Object(&[("src", Text), ("originalDst", Text), ("actualDst", Text), ("protocol", Text)]);

/// Everything that Kiali or istioctl decodes.
const DUMP: Type = Object(&[
    ("config", CONFIG),
    ("services", List(&SERVICE)),
    ("workloads", List(&WORKLOAD)),
    (
        "policies",
        List(&Object(&[
            ("name", Text),
            ("namespace", Text),
            ("scope", Text),
            ("action", Text),
            ("rules", List(&List(&List(&Map(&List(&Anything)))))),
        ])),
    ),
    (
        "certificates",
        List(&Object(&[
            ("identity", Text),
            ("state", Text),
            ("certChain", CERTIFICATES),
            ("rootCerts", CERTIFICATES),
        ])),
    ),
    (
        "workloadState",
        Map(&Object(&[
            ("state", Text),
            ("connections", Object(&[("inbound", List(&CONNECTION)), ("outbound", List(&CONNECTION))])),
            ("info", Object(&[("name", Text), ("namespace", Text), ("serviceAccount", Text)])),
        ])),
    ),
    ("version", Map(&Text)),
    ("staticConfig", Map(&List(&Anything))),
    ("stagedServices", Map(&Map(&Anything))),
]);

pub(crate) fn every_value_of_the_dump_has_the_type_that_its_readers_decode() {
    let lab = Lab::new().proxy_env("ENABLE_ORIG_SRC", "false").start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "a"));
    lab.service("web").port(80, 7001).create().wait_endpoints(1);
    lab.apply_policy(POLICY, "default/some");
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open = client.connect(server.at(7001));
    open.echo("hello");
    let dump = lab.node("a").proxy().config_dump().unwrap_or_else(|e| panic!("{e}"));
    check(&dump, DUMP, "dump");
    let Object(keys) = DUMP else { return };
    for (key, _) in keys {
        assert!(!dump[key].is_null(), "{key} is there: {dump}");
    }
    // Sorted, so that two dumps can be compared.
    for (list, key) in [("workloads", "uid"), ("services", "hostname"), ("certificates", "identity")] {
        let all = dump[list].as_array().expect("a list");
        assert!(all.is_sorted_by_key(|entry| entry[key].as_str()), "{list}: {all:?}");
        assert!(!all.is_empty(), "{list} has entries");
    }
    assert!(!dump.to_string().contains("PRIVATE KEY"));
}

const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: some, namespace: default}
spec:
  action: ALLOW
  rules:
  - from: [{source: {principals: ['*'], notNamespaces: [kube-system], ipBlocks: [10.0.0.0/8]}}]
    to: [{operation: {ports: ['7001']}}]
";

#[track_caller]
fn check(value: &Value, wanted: Type, path: &str) {
    if value.is_null() {
        return;
    }
    match wanted {
        Anything => {}
        Text => assert!(value.is_string(), "{path} is text: {value}"),
        Flag => assert!(value.is_boolean(), "{path} is true or false: {value}"),
        Whole => assert!(value.is_i64() || value.is_u64(), "{path} is a whole number: {value}"),
        List(of) => {
            let all = value.as_array().unwrap_or_else(|| panic!("{path} is a list: {value}"));
            for (place, entry) in all.iter().enumerate() {
                check(entry, *of, &format!("{path}[{place}]"));
            }
        }
        Map(of) => {
            let all = value.as_object().unwrap_or_else(|| panic!("{path} is an object: {value}"));
            for (key, entry) in all {
                check(entry, *of, &format!("{path}.{key}"));
            }
        }
        Object(keys) => {
            assert!(value.is_object(), "{path} is an object: {value}");
            for (key, of) in keys {
                check(&value[key], *of, &format!("{path}.{key}"));
            }
        }
    }
}
