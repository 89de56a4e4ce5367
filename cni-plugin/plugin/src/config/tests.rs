use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn a_bare_configuration_has_defaults() {
    let config = parse(json!({ "cniVersion": "1.0.0", "name": "net" })).unwrap();
    assert_eq!(config.agent_socket, PathBuf::from("/var/run/adit/plugin.sock"));
    assert_eq!(config.selected_namespaces, PathBuf::from("/var/run/adit/selected-namespaces.json"));
    assert_eq!(config.log_level, Level::Info);
    assert!(config.exclude_namespaces.is_empty() && !config.status_needs_agent);
    assert_eq!(config.result(), json!({ "cniVersion": "1.0.0" }));
}

#[test]
fn the_file_of_selected_namespaces_lies_beside_the_socket_unless_named() {
    let config = parse(json!({ "name": "net", "agent_socket": "/run/x/plugin.sock" })).unwrap();
    assert_eq!(config.selected_namespaces, PathBuf::from("/run/x/selected-namespaces.json"));
    let named = json!({ "name": "net", "selected_namespaces_file": "/etc/x.json" });
    assert_eq!(parse(named).unwrap().selected_namespaces, PathBuf::from("/etc/x.json"));
}

#[test]
fn keys_of_others_and_nulls_are_nobodys_business() {
    let config = parse(json!({
        "cniVersion": "0.3.1", "name": "net", "type": "adit-cni", "ipam": {}, "dns": {}, "capabilities": null,
        "exclude_namespaces": null, "plugin_log_level": "debug", "enablement_selectors": [{ "podSelector": {} }],
        "ambient_enabled": true, "pod_namespace": "istio-system",
    }))
    .unwrap();
    assert_eq!((config.log_level, config.agent_namespace.as_deref()), (Level::Debug, Some("istio-system")));
}

#[test]
fn a_configuration_without_a_name_has_a_code_of_its_own() {
    for document in [json!({}), json!({ "name": "" }), json!({ "name": null })] {
        let error = parse(document).unwrap_err();
        assert!(matches!(error, CniError::NameMissing) && error.code() == 7, "{error:?}");
    }
    let error = parse(json!({ "name": "a/b" })).unwrap_err();
    assert!(matches!(error, CniError::NameInvalid { .. }) && error.code() == 7, "{error:?}");
}

#[test]
fn what_is_no_configuration_is_not_decoded() {
    for input in ["", "null", "[]", "{", r#"{"name":1}"#, r#"{"name":"net","prevResult":7}"#] {
        let error = Config::parse(input.as_bytes()).unwrap_err();
        assert!(matches!(error, CniError::ConfigUndecodable(_)) && error.code() == 6, "{input}: {error:?}");
    }
}

#[test]
fn a_version_nobody_knows_is_refused_by_name() {
    for version in ["2.0.0", "1.2.0", "0.3.2", "one"] {
        let error = parse(json!({ "cniVersion": version, "name": "net" })).unwrap_err();
        assert!(matches!(&error, CniError::VersionUnknown { got } if got == version), "{error:?}");
        assert_eq!(error.code(), 1);
    }
}

#[test]
fn a_configuration_without_a_version_is_of_the_first() {
    for document in [json!({ "name": "net" }), json!({ "name": "net", "cniVersion": "" })] {
        assert_eq!(parse(document).unwrap().version.name(), "0.1.0");
    }
}

#[test]
fn a_previous_result_is_passed_on_as_it_came_in_every_version() {
    let old = json!({
        "cniVersion": "0.2.0", "ip4": { "ip": "10.0.0.5/24", "gateway": "10.0.0.1" }, "ip6": { "ip": "fd00::5/64" },
        "dns": {},
    });
    let new = |version: &str| {
        json!({
            "cniVersion": version, "zulu": 1, "interfaces": [{ "name": "eth0", "sandbox": "/x" }],
            "ips": [{ "address": "10.0.0.5/24", "interface": 0, "gateway": "10.0.0.1" }, { "address": "fd00::5/64" }],
            "routes": [{ "dst": "0.0.0.0/0" }], "alpha": [null, 1.5, 18_446_744_073_709_551_615_u64], "dns": {},
        })
    };
    let rows = [
        ("0.1.0", old.clone()),
        ("0.2.0", old),
        ("0.3.0", new("0.3.0")),
        ("0.3.1", new("0.3.1")),
        ("0.4.0", new("0.4.0")),
        ("1.0.0", new("1.0.0")),
        ("1.1.0", new("1.1.0")),
    ];
    for (version, result) in rows {
        let config = parse(json!({ "cniVersion": version, "name": "net", "prevResult": result })).unwrap();
        // As text: the order of keys stays too.
        assert_eq!(config.result().to_string(), result.to_string());
        let want: [IpAddr; 2] = ["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        assert_eq!(config.prev_result.unwrap().ips, want, "{version}");
    }
}

#[test]
fn a_previous_result_without_a_version_gets_the_configurations() {
    let config = parse(json!({ "cniVersion": "0.4.0", "name": "net", "prevResult": { "dns": {} } })).unwrap();
    assert_eq!(config.result(), json!({ "dns": {}, "cniVersion": "0.4.0" }));
}

#[test]
fn an_address_of_the_other_family_in_disguise_is_unmasked() {
    let result = json!({ "ips": [{ "address": "::ffff:10.0.0.5/128" }] });
    let config = parse(json!({ "name": "net", "prevResult": result })).unwrap();
    assert_eq!(config.prev_result.unwrap().ips, ["10.0.0.5".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_previous_result_that_is_none_is_not_decoded() {
    let undecodable = json!({ "name": "net", "prevResult": { "ips": [{}] } });
    let error = parse(undecodable).unwrap_err();
    assert!(matches!(error, CniError::PrevResultUndecodable(_)) && error.code() == 6, "{error:?}");
    let error = parse(json!({ "name": "net", "prevResult": { "ips": [{ "address": "ten" }] } })).unwrap_err();
    assert!(matches!(error, CniError::PrevResultAddress { .. }) && error.code() == 6, "{error:?}");
}

#[test]
fn valid_attachments_are_read_for_garbage_collection() {
    let attachments =
        json!([{ "containerID": "c1", "ifname": "eth0" }, { "containerID": "c2", "ifname": "eth0" }]);
    let config = parse(json!({ "name": "net", "cni.dev/valid-attachments": attachments })).unwrap();
    assert_eq!(config.valid_container_ids.unwrap(), ["c1", "c2"]);
    assert_eq!(parse(json!({ "name": "net" })).unwrap().valid_container_ids, None);
}

proptest! {
    #[test]
    fn no_input_panics_the_reader(input in proptest::collection::vec(any::<u8>(), 0..200), address in ".*") {
        let _ = Config::parse(&input);
        let _ = parse(json!({ "name": "net", "prevResult": { "ips": [{ "address": address }] } }));
    }
}

fn parse(document: Value) -> Result<Config, CniError> {
    Config::parse(document.to_string().as_bytes())
}
