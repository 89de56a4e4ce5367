use super::super::{Config, ConfigError, Raw};
use super::*;

#[track_caller]
fn check(change: impl FnOnce(&mut RawInstall)) -> Result<Install, Vec<ConfigError>> {
    let text = |text: &str| Some(text.to_owned());
    let mut raw = Raw { node_name: text("n1"), pods_dir: text("/pods"), ..Raw::default() };
    change(&mut raw.install);
    Config::check(raw).map(|config| *config.install)
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn without_a_cluster_the_node_is_not_touched_unless_that_is_asked_for() {
    let install = check(|_| {}).unwrap();
    assert!(!install.keep && install.safe_upgrade);
    assert_eq!(install.site.settings.mode, Mode::Chained);
    assert_eq!(install.site.conf_dir, PathBuf::from("/host/etc/cni/net.d"));
    assert_eq!(install.site.binaries.source, PathBuf::from("/opt/cni/bin"));
    assert_eq!(install.site.binaries.targets, [PathBuf::from("/host/opt/cni/bin")]);
    assert_eq!(install.traces.cni_cache, PathBuf::from("/host/var/lib/cni"));
    assert!(check(|raw| raw.install_cni = text("true")).unwrap().keep);
}

#[test]
fn the_plugin_is_told_what_it_reads() {
    let install = check(|_| {}).unwrap();
    let want = r#"{"type":"adit-cni","agent_socket":"/var/run/adit/plugin.sock","selected_namespaces_file":"/var/run/adit/selected-namespaces.json","exclude_namespaces":["kube-system"],"log_level":"info","status_needs_agent":false}"#;
    assert_eq!(install.site.settings.entry, want);
    let alone: Value = serde_json::from_str(&install.site.settings.alone).unwrap();
    assert_eq!(
        (&alone["name"], &alone["type"], &alone["cniVersion"]),
        (&"istio-cni".into(), &"adit-cni".into(), &"0.3.1".into())
    );
}

#[test]
fn the_names_of_the_chart_are_taken_its_misspelling_too() {
    let owned = |name: fn(&mut RawInstall)| {
        check(|raw| {
            raw.istio_owned_cni_config = text("true");
            name(raw);
        })
        .unwrap()
        .site
        .settings
    };
    assert_eq!(owned(|_| {}).owned_name, "02-istio-cni.conflist");
    assert_eq!(owned(|_| {}).mode, Mode::Owned);
    assert_eq!(
        owned(|raw| raw.istio_owned_cni_config_filename = text("01-a.conflist")).owned_name,
        "01-a.conflist"
    );
    assert_eq!(
        owned(|raw| raw.istio_owned_cni_conf_filename = text("01-b.conflist")).owned_name,
        "01-b.conflist"
    );
    assert_eq!(owned(|raw| raw.istio_owned_cni_conf_filename = text("")).owned_name, "02-istio-cni.conflist");
    let install = check(|raw| {
        raw.chained_cni_plugin = text("false");
        raw.cni_conf_name = text("istio-cni.conf");
        raw.cni_conf_group_read = text("true");
        raw.ambient_disable_safe_upgrade = text("true");
        raw.cni_bin_target_dirs = text("/a, /b");
        raw.uninstall_within = text("5s");
    })
    .unwrap();
    assert_eq!(install.site.settings.mode, Mode::Standalone);
    assert_eq!(install.site.settings.conf_name.as_deref(), Some("istio-cni.conf"));
    assert_eq!((install.site.settings.file_mode, install.safe_upgrade), (0o640, false));
    assert_eq!(install.site.binaries.targets, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(install.within, Duration::from_secs(5));
}

#[test]
fn names_that_no_runtime_would_load_are_refused() {
    let refused = |change: fn(&mut RawInstall), key: &str| {
        let errors = check(change).unwrap_err();
        assert!(errors.iter().any(|error| error.to_string().contains(key)), "{errors:?}");
    };
    refused(|raw| raw.cni_conf_name = text("../x.conf"), "CNI_CONF_NAME");
    refused(|raw| raw.cni_conf_name = text("x.yaml"), "CNI_CONF_NAME");
    refused(|raw| raw.istio_owned_cni_config_filename = text("x"), "ISTIO_OWNED_CNI_CONFIG_FILENAME");
    refused(
        |raw| {
            raw.chained_cni_plugin = text("false");
            raw.cni_conf_name = text("x.conflist");
        },
        "CNI_CONF_NAME",
    );
    refused(|raw| raw.cni_plugin_log_level = text("loud"), "CNI_PLUGIN_LOG_LEVEL");
}
