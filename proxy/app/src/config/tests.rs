//! Decision table of the configuration: what each variable means, and how a mistake is told.

use std::collections::BTreeMap;
use std::time::Duration;

use proxy_core::model::PodInfo;
use proxy_core::world::{MeshAddresses, Strictness};
use xds_client::{Credential, TrustAnchor};

use super::mesh::ProxyConfig;
use super::raw::{Reader, parse_cpus, parse_duration};
use super::{Config, ConfigError, DnsAddress, Keepalive, ProxyMode, ResolvConf, TlsPolicy, Vars};

struct Table(BTreeMap<String, String>);

impl Vars for Table {
    fn get(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }

    fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        self.0.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone()))).collect()
    }
}

fn check(vars: &[(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
    Config::check(&Table(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()))
}

#[track_caller]
fn good(vars: &[(&str, &str)]) -> Config {
    check(vars).unwrap_or_else(|e| panic!("{vars:?} is refused: {e:?}"))
}

#[track_caller]
fn refused(name: &str, value: &str) -> String {
    let errors = check(&[(name, value)]).expect_err("a mistake is refused");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let text = errors[0].to_string();
    assert!(text.contains(name), "{text:?} names {name}");
    text
}

#[test]
fn every_variable_of_the_chart_is_understood() {
    let config = good(&[
        ("CA_ADDRESS", "istiod.istio-system.svc:15012"),
        ("XDS_ADDRESS", "istiod.istio-system.svc:15012"),
        ("RUST_LOG", "info"),
        ("RUST_BACKTRACE", "1"),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
        ("INPOD_ENABLED", "true"),
        ("TERMINATION_GRACE_PERIOD_SECONDS", "30"),
        ("POD_NAME", "ztunnel-x"),
        ("POD_NAMESPACE", "istio-system"),
        ("NODE_NAME", "n1"),
        ("INSTANCE_IP", "10.0.0.1"),
        ("SERVICE_ACCOUNT", "ztunnel"),
        ("ZTUNNEL_CPU_LIMIT", "2"),
        ("NETWORK", "net"),
        ("LOG_FORMAT", "json"),
        ("ZTUNNEL_RESOURCE_CPU_LIMIT", "100m"),
        ("ZTUNNEL_RESOURCE_CPU_REQUEST", "100m"),
        ("CRL_PATH", "/var/run/secrets/istio/crl/ca-crl.pem"),
    ]);
    assert_eq!(config.drain_deadline, Duration::from_secs(25));
    assert_eq!(config.threads, 1);
    assert_eq!(config.node.network, "net");
    assert!(config.log.json);
    let revocation = config.revocation.expect("revocation is on");
    assert_eq!(revocation.path.display().to_string(), "/var/run/secrets/istio/crl/ca-crl.pem");
    assert_eq!(revocation.unreadable, Strictness::Report);
    let xds = config.xds.expect("xDS is on");
    assert_eq!(xds.endpoint.uri.to_string(), "https://istiod.istio-system.svc:15012/");
    assert_eq!(xds.node.pod_name, "ztunnel-x");
}

#[test]
fn a_malformed_value_names_its_variable_and_what_it_should_hold() {
    for (name, value) in [
        ("IPV6_ENABLED", "yes"),
        ("ENABLE_ORIG_SRC", "1"),
        ("KEEPALIVE_TIME", "soon"),
        ("KEEPALIVE_RETRIES", "-1"),
        ("HTTP2_FRAME_SIZE", "1"),
        ("HTTP2_STREAM_WINDOW_SIZE", "12"),
        ("POOL_MAX_STREAMS_PER_CONNECTION", "70000"),
        ("POOL_UNUSED_RELEASE_TIMEOUT", "5 parsecs"),
        ("PACKET_MARK", "0x539"),
        ("ZTUNNEL_WORKER_THREADS", "101%"),
        ("ZTUNNEL_RESOURCE_CPU_LIMIT", "many"),
        ("TERMINATION_GRACE_PERIOD_SECONDS", "0"),
        ("SECRET_TTL", "1s"),
        ("PROXY_MODE", "sidecar"),
        ("PROXY_CONFIG", "concurrency: many"),
        ("COMPLIANCE_POLICY", "fips"),
        ("ADIT_UNREADABLE_CRL", "never"),
        ("XDS_ADDRESS", "ftp://x"),
        ("CA_ADDRESS", ""),
        ("ENABLE_PROXY", "no"),
        ("ISTIO_META_DNS_PROXY_ADDR", "not-an-address"),
        ("ISTIO_META_DNS_PROXY_ADDR", "localhost:x"),
        ("ADIT_DNS_MAX_QUERIES_PER_POD", "many"),
        ("XDS_ON_DEMAND", "true"),
        ("FAKE_CA", "true"),
    ] {
        refused(name, value);
    }
    assert_eq!(refused("IPV6_ENABLED", "yes"), "invalid env var IPV6_ENABLED=yes (want true or false)");
}

#[test]
fn revocation_is_on_when_a_file_is_named_and_as_strict_as_told() {
    assert_eq!(good(&[("CRL_PATH", "")]).revocation, None);
    assert_eq!(good(&[("ADIT_UNREADABLE_CRL", "enforce")]).revocation, None);
    for (told, want) in
        [("compat", Strictness::Compat), ("report", Strictness::Report), ("enforce", Strictness::Enforce)]
    {
        let config = good(&[("CRL_PATH", "/crl.pem"), ("ADIT_UNREADABLE_CRL", told)]);
        assert_eq!(config.revocation.expect("revocation is on").unreadable, want);
    }
}

#[test]
fn the_mesh_s_own_addresses_are_prefixes_and_as_strict_as_told() {
    assert_eq!(good(&[]).mesh, MeshAddresses::default());
    let told = good(&[("ADIT_MESH_CIDRS", "10.96.0.0/12, fd00::/108"), ("ADIT_UNKNOWN_IN_MESH", "enforce")]);
    assert_eq!(told.mesh.unknown, Strictness::Enforce);
    assert!(told.mesh.contain("10.97.1.1".parse().unwrap()) && told.mesh.contain("fd00::1".parse().unwrap()));
    assert!(!told.mesh.contain("10.1.0.1".parse().unwrap()));
    let why = refused("ADIT_MESH_CIDRS", "10.96.0.0");
    assert!(why.contains("\"10.96.0.0\" is no prefix such as"), "{why}");
}

#[test]
fn the_tls_switches_hold_for_the_control_plane_too() {
    let config = good(&[("TLS12_ENABLED", "true"), ("COMPLIANCE_POLICY", "pqc")]);
    let xds = config.xds.expect("xDS is on").endpoint;
    for endpoint in [&xds, &config.ca.endpoint] {
        assert!(endpoint.tls12 && endpoint.pqc);
    }
    let usual = good(&[]).ca.endpoint;
    assert!(!usual.tls12 && !usual.pqc);
}

#[test]
fn a_dedicated_proxy_serves_the_workload_it_is_told() {
    let info = |namespace: &str, name: &str, account: &str| PodInfo {
        namespace: namespace.into(),
        name: name.into(),
        service_account: account.into(),
    };
    let config = good(&[("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "ns/web/web-account")]);
    assert_eq!(config.mode, ProxyMode::Dedicated(info("ns", "web", "web-account")));
    assert_eq!((config.sockets.mark, config.sockets.listener_mark), (None, None));
    assert!(!config.sockets.reuse_port, "a port conflict must show");
    let marked = good(&[
        ("PROXY_MODE", "dedicated"),
        ("PROXY_WORKLOAD_INFO", "ns/web/web-account"),
        ("PACKET_MARK", "7"),
    ]);
    assert_eq!((marked.sockets.mark, marked.sockets.listener_mark), (Some(7), None));
    for wrong in [None, Some(""), Some("ns/web"), Some("ns//sa"), Some("ns/web/sa/more")] {
        let mut vars = vec![("PROXY_MODE", "dedicated")];
        vars.extend(wrong.map(|wrong| ("PROXY_WORKLOAD_INFO", wrong)));
        let errors = check(&vars).expect_err("no workload");
        assert!(errors.iter().all(|error| error.to_string().contains("PROXY_WORKLOAD_INFO")), "{errors:?}");
    }
}

#[test]
fn a_shared_proxy_is_in_the_mesh_itself_when_it_knows_its_three_names() {
    let names =
        [("POD_NAMESPACE", "istio-system"), ("POD_NAME", "ztunnel-x"), ("SERVICE_ACCOUNT", "ztunnel")];
    let config = good(&names);
    let ProxyMode::Shared { itself: Some(itself) } = &config.mode else { panic!("{:?}", config.mode) };
    assert_eq!(itself.to_string(), "istio-system/ztunnel-x (ztunnel)");
    assert_eq!((config.sockets.mark, config.sockets.listener_mark), (Some(1337), Some(1337)));
    for left_out in 0..names.len() {
        let mut rest = names.to_vec();
        rest.remove(left_out);
        assert_eq!(good(&rest).mode, ProxyMode::Shared { itself: None }, "{rest:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let errors = check(&[("IPV6_ENABLED", "x"), ("PACKET_MARK", "y")]).expect_err("both are wrong");
    assert_eq!(errors.len(), 2);
}

#[test]
fn an_empty_discovery_address_switches_it_off() {
    assert!(good(&[("XDS_ADDRESS", "")]).xds.is_none());
}

#[test]
fn the_drain_deadline_leaves_time_to_stop() {
    for (vars, want) in [
        (&[][..], 5),
        (&[("TERMINATION_GRACE_PERIOD_SECONDS", "30")][..], 25),
        (&[("TERMINATION_GRACE_PERIOD_SECONDS", "10")], 9),
        (&[("TERMINATION_GRACE_PERIOD_SECONDS", "1")], 1),
        (&[("TERMINATION_GRACE_PERIOD_SECONDS", "30"), ("CONNECTION_TERMINATION_DEADLINE", "1m")], 60),
    ] {
        assert_eq!(good(vars).drain_deadline, Duration::from_secs(want), "{vars:?}");
    }
}

#[test]
fn worker_threads_follow_what_the_container_was_given() {
    for (vars, want) in [
        (&[("ZTUNNEL_WORKER_THREADS", "3")][..], 3),
        (&[("ZTUNNEL_WORKER_THREADS", "0"), ("ZTUNNEL_CPU_LIMIT", "8")], 8),
        (&[("ZTUNNEL_WORKER_THREADS", "30%"), ("ZTUNNEL_CPU_LIMIT", "8")], 3),
        (&[("ZTUNNEL_RESOURCE_CPU_LIMIT", "1500m")], 2),
        (&[("ZTUNNEL_RESOURCE_CPU_LIMIT", "1"), ("ZTUNNEL_RESOURCE_CPU_REQUEST", "3")], 3),
        (&[("ZTUNNEL_CPU_LIMIT", "16")], 4),
        (&[("ZTUNNEL_CPU_LIMIT", "2")], 2),
        (&[("PROXY_CONFIG", "concurrency: 5")], 5),
        (&[("PROXY_CONFIG", "concurrency: 0"), ("ZTUNNEL_CPU_LIMIT", "6")], 6),
    ] {
        assert_eq!(good(vars).threads, want, "{vars:?}");
    }
}

#[test]
fn proxy_config_needs_no_metadata_and_meta_keys_lose_their_prefix() {
    let config =
        good(&[("PROXY_CONFIG", "{discoveryAddress: 'd:1', proxyMetadata: {ISTIO_META_A: a, B: b}}")]);
    let xds = config.xds.expect("xDS is on");
    assert_eq!(xds.endpoint.uri.host(), Some("d"));
    assert_eq!(xds.node.metadata.get("A"), Some(&"a".into()));
    assert_eq!(xds.node.metadata.get("B"), Some(&"b".into()));
    assert_eq!(good(&[("PROXY_CONFIG", "statsPort: 1")]).ports.stats, 1);
}

#[test]
fn trust_is_a_file_the_system_or_pem_itself() {
    let trust = |value: &str| good(&[("XDS_ROOT_CA", value)]).xds.expect("xDS is on").endpoint.trust;
    assert!(matches!(trust("SYSTEM"), TrustAnchor::System));
    assert!(matches!(trust("-----BEGIN CERTIFICATE-----"), TrustAnchor::Pem(_)));
    assert!(matches!(trust("/etc/hostname"), TrustAnchor::File(_)));
    assert!(matches!(trust("/not/there/yet"), TrustAnchor::File(_)));
}

#[test]
fn a_token_is_a_file_or_the_token_itself() {
    let token = |value: &str| good(&[("AUTH_TOKEN", value)]).ca.endpoint.credential;
    assert!(matches!(token("/etc/hostname"), Credential::TokenFile(_)));
    assert!(matches!(token("/not/there/yet"), Credential::TokenFile(_)));
    assert!(matches!(token("abc.def"), Credential::Token(_)));
}

#[test]
fn headers_are_lower_cased() {
    let headers = good(&[("XDS_HEADER_X-Mesh", "a")]).xds.expect("xDS is on").endpoint.headers;
    assert_eq!(headers, [("x-mesh".to_owned(), "a".to_owned())]);
}

#[test]
fn durations_are_sums_of_numbers_with_units() {
    for (text, want) in [
        ("5s", 5_000),
        ("7", 7_000),
        ("1m30s", 90_000),
        ("3m+10s", 190_000),
        ("250ms", 250),
        ("1h 1m", 3_660_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(want)), "{text}");
    }
    for text in ["", "s", "5x", "-1s", "1.5.s", "99999999999999999999s", "4294967295w"] {
        assert!(parse_duration(text).is_err(), "{text} is refused");
    }
}

#[test]
fn cpu_quantities_round_up() {
    for (text, want) in [("2", 2), ("1.5", 2), ("500m", 1), ("1001m", 2), ("0.25", 1), ("1.", 1)] {
        assert_eq!(parse_cpus(text), Ok(want), "{text}");
    }
    for text in ["", "m", "x", "1.x", "-1"] {
        assert!(parse_cpus(text).is_err(), "{text} is refused");
    }
}

#[test]
fn every_variable_left_out_has_ztunnel_s_default() {
    let config = good(&[]);
    let node = &config.node;
    assert_eq!(
        (&*node.name, &*node.network, &*node.cluster_id, &*node.cluster_domain),
        ("", "", "Kubernetes", "cluster.local")
    );
    assert_eq!(node.istio_version, "unknown");
    let xds = config.xds.as_ref().expect("xDS is on");
    assert_eq!(xds.endpoint.uri.to_string(), "https://localhost:15012/");
    assert_eq!(xds.endpoint.uri, config.ca.endpoint.uri);
    assert_eq!(xds.node.instance_ip, "1.1.1.1");
    assert_eq!(config.ca.ttl, Duration::from_secs(86_400));
    let inside = good(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1")]);
    assert_eq!(inside.ca.endpoint.uri.to_string(), "https://istiod.istio-system.svc:15012/");
    let sockets = &config.sockets;
    assert_eq!((sockets.mark, sockets.original_source, sockets.reuse_port), (Some(1_337), None, true));
    assert_eq!(config.mode, ProxyMode::Shared { itself: None });
    assert_eq!(sockets.connect_timeout, Duration::from_secs(10));
    let (time, interval) = (Duration::from_secs(180), Duration::from_secs(180));
    assert_eq!(sockets.keepalive, Some(Keepalive { time, interval, retries: 9, user_timeout: false }));
    assert_eq!(good(&[("KEEPALIVE_ENABLED", "false")]).sockets.keepalive, None);
    let tunnel = &config.tunnel;
    assert_eq!(
        (tunnel.stream_window, tunnel.connection_window, tunnel.frame_size),
        (4 << 20, 16 << 20, 1 << 20)
    );
    assert_eq!((tunnel.pool_max_streams, tunnel.pool_idle), (100, Duration::from_secs(300)));
    assert_eq!((tunnel.max_streams, tunnel.response_baggage), (200, true));
    assert_eq!(config.inpod.socket, std::path::Path::new("/var/run/ztunnel/ztunnel.sock"));
    let ports = &config.ports;
    assert_eq!((ports.admin, ports.stats, ports.ready), (15_000, 15_020, 15_021));
    let log = &config.log;
    assert_eq!((&*log.filter, log.json, log.policy_decisions), ("info", false, false));
    assert_eq!(config.drain_deadline, Duration::from_secs(5));
    assert_eq!(config.tls, TlsPolicy::default());
}

#[test]
fn the_mesh_config_file_is_the_base_of_proxy_config() {
    let folder = std::env::temp_dir().join(format!("adit-mesh-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("mesh").display().to_string();
    let read = |vars: &[(&str, &str)]| {
        let table = Table(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let mut reader = Reader::new(&table);
        (ProxyConfig::read(&mut reader, &path), reader.into_errors())
    };
    let absent = read(&[]);
    std::fs::write(
        &path,
        "defaultConfig: {discoveryAddress: 'mesh:15012', statsPort: 1, proxyMetadata: {A: mesh, B: mesh}}\ntrustDomain: x\n",
    )
    .unwrap();
    let (alone, _) = read(&[]);
    let (over, none) = read(&[("PROXY_CONFIG", "{statsPort: 2, concurrency: 3, proxyMetadata: {B: own}}")]);
    std::fs::write(&path, "defaultConfig: []").unwrap();
    let (_, broken) = read(&[]);
    std::fs::remove_dir_all(&folder).unwrap();

    assert_eq!(absent, (ProxyConfig::default(), Vec::new()), "the file is optional");
    assert_eq!((alone.discovery_address.as_deref(), alone.stats_port), (Some("mesh:15012"), Some(1)));
    assert_eq!((over.discovery_address.as_deref(), over.stats_port), (Some("mesh:15012"), Some(2)));
    assert_eq!((over.concurrency, none), (Some(3), Vec::new()));
    let metadata: Vec<_> = over.metadata().collect();
    assert_eq!(metadata, [("A".into(), "mesh".into()), ("B".into(), "own".into())]);
    assert!(matches!(&*broken, [ConfigError::MeshFile { path: told, .. }] if *told == path), "{broken:?}");
}

#[test]
fn dns_is_captured_unless_it_is_switched_off() {
    for (vars, on) in [
        (&[][..], true),
        (&[("ISTIO_META_DNS_CAPTURE", "TRUE")], true),
        (&[("ISTIO_META_DNS_CAPTURE", "false")], false),
        (&[("ISTIO_META_DNS_CAPTURE", "")], false),
        (&[("PROXY_CONFIG", "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'false'}")], false),
        (
            &[("PROXY_CONFIG", "proxyMetadata: {DNS_CAPTURE: 'false'}"), ("ISTIO_META_DNS_CAPTURE", "true")],
            true,
        ),
    ] {
        assert_eq!(good(vars).dns.is_some(), on, "{vars:?}");
    }
    assert!(good(&[("ISTIO_META_DNS_CAPTURE", "false"), ("XDS_ON_DEMAND", "true")]).dns.is_none());
}

#[test]
fn dns_listens_on_loopback_or_exactly_where_it_is_told() {
    let at = |address: &str| good(&[("ISTIO_META_DNS_PROXY_ADDR", address)]).dns.expect("DNS is on").address;
    assert_eq!(good(&[]).dns.expect("DNS is on").address, DnsAddress::Loopback(15_053));
    let texts = |address: DnsAddress, ipv6| {
        address.addresses(ipv6).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(texts(at("localhost:53"), true), ["127.0.0.1:53", "[::1]:53"]);
    assert_eq!(texts(at("localhost:53"), false), ["127.0.0.1:53"]);
    assert_eq!(texts(at("127.0.0.2:5353"), true), ["127.0.0.2:5353"]);
    assert_eq!(texts(at("[::1]:5353"), false), ["[::1]:5353"]);
}

#[test]
fn something_must_be_left_to_run() {
    let config = good(&[("ENABLE_PROXY", "false")]);
    assert!(!config.proxy && config.dns.is_some());
    let errors = check(&[("ENABLE_PROXY", "false"), ("ISTIO_META_DNS_CAPTURE", "false")])
        .expect_err("with both off nothing runs");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(matches!(errors[0], ConfigError::Unsupported { name: "ENABLE_PROXY", .. }), "{errors:?}");
}

#[test]
fn a_preferred_namespace_is_one_that_has_a_name() {
    let preferred =
        |name| good(&[("PREFERED_SERVICE_NAMESPACE", name)]).dns.expect("DNS is on").preferred_namespace;
    assert_eq!(preferred("shared").as_deref(), Some("shared"));
    assert_eq!(preferred(""), None);
}

#[test]
fn the_resolver_file_reads_as_other_resolvers_read_it() {
    let read = ResolvConf::parse(
        "# a comment\n; another\nnameserver 10.96.0.10\nnameserver\t2001:db8::53 # here\nnameserver fe80::1%eth0\n\
         nameserver nonsense\nnameserver 10.0.0.1\nnameserver 10.0.0.2\ndomain old.example\n\
         search A.example. b.example\noptions ndots:5 timeout:2 attempts:9 rotate edns0 timeout:x\nsortlist x\n",
    );
    let servers: Vec<_> = read.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.96.0.10:53", "[2001:db8::53]:53", "10.0.0.1:53"]);
    assert_eq!(read.search, ["a.example", "b.example"]);
    assert_eq!((read.timeout, read.attempts, read.rotate), (Duration::from_secs(2), 5, true));
    assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    assert_eq!(ResolvConf::read("/not/there"), ResolvConf::default());
}

#[test]
fn resources_written_by_hand_are_read_from_the_variable_or_from_a_file() {
    let text = "workloads: [{uid: u, namespace: ns, workloadIps: [10.0.0.1]}]
policies: [{name: p, namespace: ns, scope: Namespace, action: Deny, rules: []}]";
    let config = good(&[("LOCAL_XDS", text)]);
    assert_eq!((config.local.shown.workloads.len(), config.local.changes.len()), (1, 2));
    let path = std::env::temp_dir().join(format!("adit-local-{}.yaml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let path_text = path.to_str().unwrap();
    assert_eq!(good(&[("LOCAL_XDS_PATH", path_text)]).local.changes.len(), 2);
    let errors = check(&[("LOCAL_XDS_PATH", path_text), ("LOCAL_XDS", text)]).unwrap_err();
    assert!(errors[0].to_string().contains("set one of them"), "{errors:?}");
    std::fs::remove_file(path).unwrap();
    assert!(refused("LOCAL_XDS_PATH", "/not/there").contains("read the file"));
    assert_eq!(good(&[("LOCAL_XDS", "")]).local.changes, []);
}

#[test]
fn what_is_wrong_with_resources_written_by_hand_is_told_by_its_field() {
    let wrong = |text| refused("LOCAL_XDS", text);
    assert!(wrong("workloads: [{nodeName: n}]").contains("workloads[0].nodeName"));
    assert!(wrong("workloads: [{uid: u}]").contains("workloads[0].namespace: missing"));
    assert!(wrong("workloads: [{uid: u, namespace: a/b}]").contains("u: namespace: \"a/b\" holds a slash"));
    assert!(wrong("workloads: [").contains("not valid YAML"));
}

#[test]
fn addresses_on_demand_and_the_dns_proxy_exclude_each_other() {
    let on_demand =
        |dns| good(&[("XDS_ON_DEMAND", "true"), ("ISTIO_META_DNS_CAPTURE", dns)]).xds.unwrap().on_demand;
    assert!(on_demand("false"));
    assert!(refused("XDS_ON_DEMAND", "true").contains("ISTIO_META_DNS_CAPTURE to false"));
    assert!(!good(&[]).xds.unwrap().on_demand);
}

#[test]
fn a_snapshot_is_kept_only_where_it_is_told_to() {
    assert!(good(&[]).snapshot.is_none());
    let snapshot =
        good(&[("ADIT_SNAPSHOT_DIR", "/var/lib/adit"), ("ADIT_SNAPSHOT_WAIT", "1s")]).snapshot.unwrap();
    assert_eq!((snapshot.dir.to_str(), snapshot.wait), (Some("/var/lib/adit"), Duration::from_secs(1)));
    assert_eq!(snapshot.max_age, Duration::from_secs(86_400));
}
