use proptest::prelude::*;

use super::*;

#[test]
fn every_command_names_the_variables_it_lacks() {
    let rows = [
        ("ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
        ("DEL", "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ];
    for (command, want) in rows {
        let error = Call::understand(&environment(&[("CNI_COMMAND", command)])).unwrap_err();
        assert_eq!(error.code(), 4);
        assert_eq!(error.to_string(), format!("{command} needs the environment variables {want}"));
    }
}

#[test]
fn version_needs_nothing_else() {
    let call = Call::understand(&environment(&[("CNI_COMMAND", "VERSION")])).unwrap().unwrap();
    assert_eq!(call.command, Command::Version);
}

#[test]
fn del_may_lack_the_namespace() {
    let call = Call::understand(&without("DEL", "CNI_NETNS")).unwrap().unwrap();
    assert_eq!((call.command, call.netns), (Command::Del, None));
}

#[test]
fn an_empty_variable_is_a_missing_one() {
    let error = Call::understand(&with("ADD", "CNI_NETNS", "")).unwrap_err();
    assert!(matches!(error, CniError::VariablesMissing { missing, .. } if missing == ["CNI_NETNS"]));
}

#[test]
fn without_a_command_a_person_is_asking() {
    assert_eq!(Call::understand(&Environment::default()).unwrap(), None);
}

#[test]
fn a_variable_that_breaks_the_rules_is_named() {
    let rows = [
        ("CNI_COMMAND", "add"),
        ("CNI_COMMAND", "UPDATE"),
        ("CNI_CONTAINERID", "../etc"),
        ("CNI_CONTAINERID", "-a"),
        ("CNI_CONTAINERID", "a b"),
        ("CNI_CONTAINERID", "é"),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", "a b"),
        ("CNI_IFNAME", "0123456789abcdef"),
    ];
    for (name, bad) in rows {
        let error = Call::understand(&with("ADD", name, bad)).unwrap_err();
        assert_eq!(error.code(), 4);
        assert!(
            matches!(&error, CniError::VariableInvalid { variable, value } if *variable == name && value == bad),
            "{error:?}"
        );
    }
}

#[test]
fn only_true_and_one_override_the_namespace_check() {
    for (value, want) in [("TRUE", true), ("true", true), ("1", true), ("yes", false), ("0", false)] {
        let call = Call::understand(&with("ADD", "CNI_NETNS_OVERRIDE", value)).unwrap().unwrap();
        assert_eq!(call.netns_override, want, "{value}");
    }
}

#[test]
fn the_pod_is_read_from_the_arguments() {
    let pod = Pod::parse(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1",
    )
    .unwrap();
    assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_deref()), ("web", "shop", Some("u-1")));
    assert!(pod.is_named());
}

#[test]
fn no_arguments_mean_no_pod() {
    for args in ["", "IgnoreUnknown=true", "K8S_POD_NAME=web", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME="] {
        assert!(!Pod::parse(args).unwrap().is_named(), "{args}");
    }
}

#[test]
fn arguments_that_break_the_rules_are_named() {
    let rows = [
        ("K8S_POD_NAME", "K8S_POD_NAME"),
        ("K8S_POD_NAME=a=b", "K8S_POD_NAME=a=b"),
        ("K8S_POD_NAME=a;", ""),
        ("COLOR=blue", "COLOR=blue"),
        ("COLOR=blue;IgnoreUnknown=false", "COLOR=blue"),
        ("IgnoreUnknown=perhaps", "IgnoreUnknown=perhaps"),
    ];
    for (args, part) in rows {
        let error = Pod::parse(args).unwrap_err();
        assert!(
            matches!(&error, CniError::VariableInvalid { variable: "CNI_ARGS", value } if value == part),
            "{args}: {error:?}"
        );
    }
}

#[test]
fn unknown_arguments_are_ignored_wherever_the_wish_stands() {
    for args in ["IgnoreUnknown=TRUE;COLOR=blue", "COLOR=blue;IgnoreUnknown=1"] {
        assert_eq!(Pod::parse(args).unwrap(), Pod::default());
    }
}

proptest! {
    #[test]
    fn no_arguments_panic_the_reader(args in ".*", id in ".*", ifname in ".*") {
        let _ = Pod::parse(&args);
        let _ = Call::understand(&Environment {
            container_id: Some(id), ifname: Some(ifname), ..full("ADD")
        });
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::read(|name| {
        variables.iter().rev().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned())
    })
}

fn full(command: &str) -> Environment {
    with(command, "CNI_COMMAND", command)
}

fn with(command: &str, name: &str, value: &str) -> Environment {
    environment(&[
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/var/run/netns/c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
        (name, value),
    ])
}

fn without(command: &str, name: &str) -> Environment {
    with(command, name, "")
}
