use cni_plugin_redirect::Variant;

use super::*;

fn given() -> Raw {
    Raw { node_name: Some("n1".to_owned()), pods_dir: Some("/pods".to_owned()), ..Raw::default() }
}

#[test]
fn the_parts_fit_into_one_command_line() {
    <Raw as clap::Args>::augment_args(clap::Command::new("agent")).debug_assert();
}

#[test]
fn what_is_not_given_has_a_default() {
    let config = Config::check(given()).unwrap();
    assert_eq!(config.policy.node, "n1");
    assert_eq!(config.policy.selectors, selector::parse(selector::DEFAULT).unwrap());
    assert_eq!(config.policy.excluded_namespaces, BTreeSet::from(["kube-system".to_owned()]));
    assert_eq!(config.policy.system_namespace, "istio-system");
    assert_eq!(config.redirect, Settings { dns: true, ..Settings::default() });
    assert_eq!(config.zds_socket, PathBuf::from("/var/run/ztunnel/ztunnel.sock"));
    assert_eq!(config.run_dir, PathBuf::from("/var/run/adit"));
    assert_eq!(config.selected_namespaces_file, PathBuf::from("/var/run/adit/selected-namespaces.json"));
    assert_eq!(config.places, Places { proc_root: "/proc".into(), netns_dir: None });
    assert_eq!(config.timing.measure, Some(Duration::from_secs(30)));
    assert_eq!(config.backend, Wish::Iptables(None));
    assert_eq!(config.source, Source::Directory { pods: "/pods".into(), status: None });
}

#[test]
fn everything_given_is_taken() {
    let text = |text: &str| Some(text.to_owned());
    let config = Config::check(Raw {
        status_dir: text("/status"),
        zds_socket: text("/z.sock"),
        run_dir: text("/run/a"),
        selected_namespaces_file: text("/var/lib/adit/selected.json"),
        enablement_selector: text(""),
        exclude_namespaces: text("a, b,,"),
        system_namespace: text("mesh"),
        ipv6: text("f"),
        dns: text("0"),
        probe_source: text("169.254.1.1"),
        probe_source_v6: text("fd00::1"),
        backend: RawBackend { iptables: text("legacy"), ..RawBackend::default() },
        proc_root: text("/host/proc"),
        netns_dir: text("/netns"),
        serving: RawServing {
            health_addr: text("127.0.0.1:8000"),
            monitoring_port: text("0"),
            istio_run_dir: text(""),
        },
        measure_interval: text("0s"),
        withdraw_grace: text("250ms"),
        pod_wait: text("2m"),
        plugin_deadline: text("20s"),
        ..given()
    })
    .unwrap();
    assert_eq!(config.source, Source::Directory { pods: "/pods".into(), status: Some("/status".into()) });
    assert_eq!(config.selected_namespaces_file, PathBuf::from("/var/lib/adit/selected.json"));
    assert_eq!(config.policy.selectors, Vec::new());
    assert_eq!(config.policy.excluded_namespaces, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert_eq!((config.redirect.ipv6, config.redirect.dns), (false, false));
    assert_eq!(config.redirect.probe_v4.to_string(), "169.254.1.1");
    assert_eq!(config.backend, Wish::Iptables(Some(Variant::Legacy)));
    let health = Endpoint::At("127.0.0.1:8000".parse().unwrap());
    assert_eq!(config.serving, Serving { health: Some(health), metrics: None, istio_run_dir: None });
    assert_eq!(config.timing.measure, None);
    assert_eq!(config.timing.withdraw_grace, Duration::from_millis(250));
    assert_eq!(config.timing.plugin_deadline, Duration::from_secs(20));
    assert_eq!(config.timing.pod_wait, Duration::from_secs(120));
    assert_eq!(config.places.netns_dir, Some("/netns".into()));
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_setting() {
    let text = |text: &str| Some(text.to_owned());
    let errors = Config::check(Raw {
        zds_socket: text(""),
        enablement_selector: text("- podSelektor: {}"),
        ipv6: text("yes"),
        probe_source: text("::1"),
        serving: RawServing {
            health_addr: text("8000"),
            monitoring_port: text("15014/tcp"),
            istio_run_dir: None,
        },
        measure_interval: text("30"),
        withdraw_grace: text("-1s"),
        backend: RawBackend { iptables: text("xtables"), ..RawBackend::default() },
        ..Raw::default()
    })
    .unwrap_err();
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for setting in [
        "--node-name (NODE_NAME)",
        "--pods-dir (PODS_DIR)",
        "--zds-socket (ZTUNNEL_UDS_ADDRESS)",
        "--enablement-selector (AMBIENT_ENABLEMENT_SELECTOR)",
        "--ipv6 (AMBIENT_IPV6)",
        "--probe-source (HOST_PROBE_SNAT_IP)",
        "--health-addr (HEALTH_ADDR)",
        "--monitoring-port (MONITORING_PORT)",
        "--measure-interval (MEASURE_INTERVAL)",
        "--withdraw-grace (WITHDRAW_GRACE)",
        "--iptables (FORCE_IPTABLES_BINARY)",
    ] {
        assert!(told.iter().any(|told| told.starts_with(setting)), "{setting} in {told:#?}");
    }
    assert_eq!(errors.len(), 11, "{told:#?}");
}

#[test]
fn health_and_metrics_have_istio_cni_s_ports_on_both_families() {
    let config = Config::check(given()).unwrap();
    let usual = Serving {
        health: Some(Endpoint::Port(8000)),
        metrics: Some(Endpoint::Port(15014)),
        istio_run_dir: Some("/var/run/istio-cni".into()),
    };
    assert_eq!(config.serving, usual);
    let told: Vec<String> = Endpoint::Port(8000).candidates().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["[::]:8000", "0.0.0.0:8000"]);
}

#[test]
fn the_command_line_is_one_that_can_be_parsed() {
    <Raw as clap::Args>::augment_args(clap::Command::new("agent")).debug_assert();
}

#[test]
fn durations_need_a_unit() {
    for (text, want) in [
        ("5s", Some(Duration::from_secs(5))),
        ("5ms", Some(Duration::from_millis(5))),
        ("2m", Some(Duration::from_secs(120))),
        ("5", None),
        ("s", None),
        ("", None),
        ("1h", None),
        ("1.5s", None),
        ("99999999999999999999s", None),
    ] {
        assert_eq!(parse_duration(text), want, "{text}");
    }
}

fn in_a_pod() -> Raw {
    let text = |text: &str| Some(text.to_owned());
    let kubernetes = RawKubernetes {
        kubernetes_service_host: text("10.96.0.1"),
        kubernetes_service_port: text("443"),
        pod_namespace: text("istio-system"),
        ..RawKubernetes::default()
    };
    Raw { node_name: text("n1"), kubernetes, ..Raw::default() }
}

#[test]
fn in_a_pod_the_api_server_is_the_source_unless_files_are_named() {
    let config = Config::check(in_a_pod()).unwrap();
    assert!(matches!(config.source, Source::Kubernetes(_)), "{:?}", config.source);
    let config = Config::check(Raw { pods_dir: Some("/pods".to_owned()), ..in_a_pod() }).unwrap();
    assert_eq!(config.source, Source::Directory { pods: "/pods".into(), status: None });
    let errors = Config::check(Raw { status_dir: Some("/status".to_owned()), ..in_a_pod() }).unwrap_err();
    assert!(matches!(errors.as_slice(), [ConfigError::Malformed { env: "STATUS_DIR", .. }]), "{errors:?}");
}

#[test]
fn an_agent_that_does_not_know_its_node_or_its_own_namespace_refuses_to_start() {
    let mut raw = in_a_pod();
    raw.node_name = None;
    raw.kubernetes.pod_namespace = None;
    let errors = Config::check(raw).unwrap_err();
    let mut missing: Vec<&str> = Vec::new();
    for error in &errors {
        let ConfigError::Missing { env, .. } = error else { panic!("{error}") };
        missing.push(env);
    }
    missing.sort_unstable();
    assert_eq!(missing, ["NODE_NAME", "POD_NAMESPACE"]);
}

#[test]
fn switched_off_it_selects_nothing() {
    let config = Config::check(Raw { ambient_enabled: Some("false".to_owned()), ..given() }).unwrap();
    assert_eq!(config.policy.selectors, Vec::new());
}

#[test]
fn excluded_namespaces_are_a_list_with_blanks_left_out() {
    for (text, want) in [
        ("", vec![]),
        (" ", vec![]),
        (",", vec![]),
        (" , ,", vec![]),
        ("a", vec!["a"]),
        (" a ", vec!["a"]),
        ("a,b", vec!["a", "b"]),
        ("a, b", vec!["a", "b"]),
        (",a,,b,", vec!["a", "b"]),
        ("a,a", vec!["a"]),
    ] {
        let config = Config::check(Raw { exclude_namespaces: Some(text.to_owned()), ..given() }).unwrap();
        let names: Vec<&str> = config.policy.excluded_namespaces.iter().map(String::as_str).collect();
        assert_eq!(names, want, "{text:?}");
    }
}
