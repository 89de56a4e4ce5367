//! The real binary, called as runtimes call it, against a scripted agent.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod node;

use std::fs;
use std::os::unix::fs::MetadataExt;

use cni_plugin_wire::event::{Event, Level, Outcome};
use serde_json::{Value, json};

use node::{Node, prev_result};

#[test]
fn an_enrolled_pod_gets_its_previous_result() {
    let node = Node::new("enrolled");
    let agent = node.agent(Outcome::Enrolled);
    let answer = node.call("ADD").run();
    assert_eq!(answer.success(), prev_result("1.0.0"));
    let Event::Add { pod, netns } = agent.join().unwrap() else { panic!("no add") };
    assert_eq!((pod.name.as_str(), pod.namespace.as_str()), ("web", "shop"));
    assert_eq!((pod.uid.as_deref(), pod.container_id.as_str()), (Some("u-1"), "c1"));
    assert_eq!(pod.netns_path, node.netns().display().to_string());
    assert_eq!(pod.ips, ["10.0.0.5".parse::<std::net::IpAddr>().unwrap()]);
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    assert_eq!(
        identity(fs::File::from(netns).metadata().unwrap()),
        identity(fs::metadata(node.netns()).unwrap())
    );
}

#[test]
fn a_pod_that_is_not_selected_gets_its_previous_result_in_every_version() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let node = Node::new(&format!("not-selected-{version}"));
        let agent = node.agent(Outcome::NotSelected);
        let answer =
            node.call("ADD").config("cniVersion", version).config("prevResult", prev_result(version)).run();
        assert_eq!(answer.success(), prev_result(version));
        agent.join().unwrap();
    }
}

#[test]
fn what_the_agent_refuses_the_runtime_hears() {
    for (retry, code) in [(true, 11), (false, 999)] {
        let node = Node::new(&format!("refused-{retry}"));
        let agent = node.agent(Outcome::Failed { message: "no proxy is connected".to_owned(), retry });
        let error = node.call("ADD").run().failure();
        assert_eq!(error["code"], code);
        assert!(error["msg"].as_str().unwrap().contains("no proxy is connected"), "{error}");
        assert_eq!(error["cniVersion"], "1.0.0");
        agent.join().unwrap();
    }
}

#[test]
fn without_the_agent_pods_of_selected_namespaces_wait_and_others_start() {
    let node = Node::new("away");
    node.select(&["shop", "kube-system"]);
    let error = node.call("ADD").run().failure();
    assert_eq!(error["code"], 11);
    assert!(error["msg"].as_str().unwrap().starts_with("pod shop/web belongs to the mesh"), "{error}");
    assert!(error["details"].as_str().unwrap().contains("connect to "), "{error}");
    for namespace in ["other", "kube-system"] {
        let answer = node.call("ADD").pod(namespace, "web").run();
        assert!(answer.stderr.contains("outside the mesh"), "{}", answer.stderr);
        answer.success();
    }
    let excluded = node.call("ADD").config("exclude_namespaces", json!(["shop"])).run();
    assert_eq!(excluded.stderr, "");
    excluded.success();
}

#[test]
fn an_agent_that_dies_over_a_pod_is_an_agent_away() {
    let node = Node::new("dies");
    node.select(&["shop"]);
    let agent = node.serve(None);
    assert_eq!(node.call("ADD").run().failure()["code"], 11);
    assert!(matches!(agent.join().unwrap(), Event::Add { .. }));
}

#[test]
fn before_any_agent_ran_pods_start() {
    Node::new("first").call("ADD").run().success();
}

#[test]
fn a_damaged_file_of_namespaces_makes_pods_wait() {
    let node = Node::new("damaged");
    fs::write(node.folder.join("selected-namespaces.json"), "?").unwrap();
    let error = node.call("ADD").run().failure();
    assert_eq!(error["code"], 11);
    assert!(error["details"].as_str().unwrap().contains("is not a file of selected namespaces"), "{error}");
}

#[test]
fn pods_that_are_none_of_the_meshs_do_not_meet_the_agent() {
    let node = Node::new("exempt");
    node.select(&["shop", "mesh"]);
    node.call("ADD").env("CNI_ARGS", "").run().success();
    node.call("ADD").config("exclude_namespaces", json!(["kube-system", "shop"])).run().success();
    let own = node.call("ADD").pod("mesh", "istio-cni-node-x7x2b").config("pod_namespace", "mesh");
    own.run().success();
    let namesake = node.call("ADD").pod("shop", "istio-cni-node-x7x2b").config("pod_namespace", "mesh");
    assert_eq!(namesake.run().failure()["code"], 11);
}

#[test]
fn the_hosts_namespace_is_refused_in_every_call_that_names_it() {
    let node = Node::new("host");
    for command in ["ADD", "CHECK", "DEL"] {
        let error = node.call(command).env("CNI_NETNS", "/proc/self/ns/net").run().failure();
        assert_eq!(error["code"], 8, "{command}");
    }
    // Where the first process can be seen, its namespace is the host's under any name.
    let call = node.call("ADD").env("CNI_NETNS", "/proc/1/ns/net").run();
    if fs::metadata("/proc/1/ns/net").is_ok() {
        assert_eq!(call.failure()["code"], 8);
    } else {
        assert_eq!(call.failure()["code"], 5);
    }
}

#[test]
fn a_caller_that_insists_on_the_hosts_namespace_changes_nothing() {
    let node = Node::new("override");
    node.select(&["shop"]);
    node.call("ADD").env("CNI_NETNS", "/proc/self/ns/net").env("CNI_NETNS_OVERRIDE", "1").run().success();
}

#[test]
fn a_namespace_that_is_not_there_is_an_io_failure() {
    let error = Node::new("gone").call("ADD").env("CNI_NETNS", "/nowhere/c1").run().failure();
    assert_eq!(
        (&error["code"], &error["msg"]),
        (&json!(5), &json!("open the network namespace /nowhere/c1"))
    );
}

#[test]
fn del_tells_the_agent_and_prints_nothing() {
    let node = Node::new("del");
    let agent = node.agent(Outcome::Done);
    node.call("DEL").run().silence();
    let Event::Delete(pod) = agent.join().unwrap() else { panic!("no delete") };
    assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.container_id.as_str()), ("web", "shop", "c1"));
}

#[test]
fn del_succeeds_whatever_the_agent_does() {
    let node = Node::new("del-away");
    node.select(&["shop"]);
    for args in ["K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop", "", "nonsense"] {
        node.call("DEL").env("CNI_ARGS", args).env("CNI_NETNS", "").run().silence();
    }
    node.call("DEL").env("CNI_NETNS", "/nowhere/c1").run().silence();
    let agent = node.agent(Outcome::Failed { message: "no".to_owned(), retry: false });
    node.call("DEL").run().silence();
    agent.join().unwrap();
}

#[test]
fn check_asks_the_agent() {
    for (outcome, code) in [
        (Outcome::Enrolled, None),
        (Outcome::NotSelected, None),
        (Outcome::Failed { message: "a rule is missing".to_owned(), retry: false }, Some(999)),
    ] {
        let node =
            Node::new(&format!("check-{code:?}-{outcome:?}").replace([' ', '"', '{', '}', '(', ')'], ""));
        let agent = node.agent(outcome);
        let answer = node.call("CHECK").run();
        match code {
            None => answer.silence(),
            Some(code) => assert_eq!(answer.failure()["code"], code),
        }
        let Event::Check(pod) = agent.join().unwrap() else { panic!("no check") };
        assert_eq!((pod.name.as_str(), pod.container_id.as_str()), ("web", "c1"));
    }
}

#[test]
fn check_without_the_agent_follows_the_same_rule_as_add() {
    let node = Node::new("check-away");
    node.call("CHECK").run().silence();
    node.select(&["shop"]);
    assert_eq!(node.call("CHECK").run().failure()["code"], 11);
}

#[test]
fn gc_names_what_still_exists() {
    let node = Node::new("gc");
    let attachments = json!([{ "containerID": "c1", "ifname": "eth0" }]);
    let call = || {
        node.call("GC").config("cniVersion", "1.1.0").config("cni.dev/valid-attachments", attachments.clone())
    };
    call().run().silence();
    let agent = node.agent(Outcome::Done);
    call().run().silence();
    let Event::Collect(collect) = agent.join().unwrap() else { panic!("no collect") };
    assert_eq!(collect.container_ids, ["c1"]);
}

#[test]
fn gc_without_a_list_forgets_nothing() {
    let node = Node::new("gc-bare");
    let _listening = node.agent(Outcome::Done);
    // The agent would answer only one; none comes.
    node.call("GC").config("cniVersion", "1.1.0").run().silence();
    node.call("STATUS").config("cniVersion", "1.1.0").run().silence();
}

#[test]
fn a_node_without_an_agent_is_ready_to_start_one() {
    let node = Node::new("status-away");
    node.call("STATUS").config("cniVersion", "1.1.0").run().silence();
}

#[test]
fn status_is_the_agents_where_it_was_asked_for() {
    let node = Node::new("status");
    let status = || node.call("STATUS").config("cniVersion", "1.1.0").config("status_needs_agent", true);
    let error = status().run().failure();
    assert_eq!(error["code"], 50);
    let agent = node.agent(Outcome::Done);
    status().run().silence();
    assert!(matches!(agent.join().unwrap(), Event::Status));
    let agent = node.agent(Outcome::Failed { message: "still starting".to_owned(), retry: true });
    let error = status().run().failure();
    assert_eq!(error["code"], 50);
    assert!(error["msg"].as_str().unwrap().contains("still starting"), "{error}");
    agent.join().unwrap();
}

#[test]
fn a_node_without_a_proxy_is_limited_only_where_that_was_asked_for() {
    let node = Node::new("status-proxy");
    let status = |key: &str| node.call("STATUS").config("cniVersion", "1.1.0").config(key, true);
    let limited = || Outcome::Limited { message: "no proxy is connected".to_owned() };
    let agent = node.agent(limited());
    status("status_needs_agent").run().silence();
    agent.join().unwrap();
    let agent = node.agent(limited());
    let error = status("status_needs_proxy").run().failure();
    assert_eq!(error["code"], 51);
    assert!(error["msg"].as_str().unwrap().contains("no proxy is connected"), "{error}");
    agent.join().unwrap();
    assert_eq!(status("status_needs_proxy").run().failure()["code"], 50);
}

#[test]
fn what_the_plugin_says_the_agent_hears_too() {
    let node = Node::new("says");
    let agent = node.serve(None);
    let answer = node.call("ADD").env("CNI_NETNS", "/nowhere/c1").run();
    assert!(
        answer.stderr.contains("adit-cni error ADD failed: open the network namespace"),
        "{}",
        answer.stderr
    );
    assert_eq!(answer.failure()["code"], 5);
    let Event::Say(said) = agent.join().unwrap() else { panic!("no lines") };
    assert_eq!((said.command.as_str(), said.pod.as_str()), ("ADD", "shop/web"));
    let [line] = said.lines.as_slice() else { panic!("{said:?}") };
    assert_eq!(line.level, Level::Error);
    assert!(line.message.starts_with("ADD failed: open the network namespace"), "{line:?}");
}

#[test]
fn an_agent_of_another_release_is_an_agent_away_that_says_so() {
    let node = Node::new("release");
    node.select(&["shop"]);
    let agent = node.answer_raw(br#"{"version":2,"outcome":"summoned"}"#);
    let error = node.call("ADD").run().failure();
    assert_eq!(error["code"], 11);
    assert!(error["details"].as_str().unwrap().contains("plugin and agent differ"), "{error}");
    agent.join().unwrap();
    let agent = node.answer_raw(br#"{"version":2,"outcome":"summoned"}"#);
    node.call("ADD").pod("other", "web").run().success();
    agent.join().unwrap();
}

#[test]
fn an_older_agent_that_does_not_know_a_word_costs_nothing_but_that_word() {
    let node = Node::new("older");
    let told = r#"{"version":1,"outcome":"failed","message":"the call is not understood","retry":false}"#;
    for command in ["DEL", "GC"] {
        let agent = node.answer_raw(told.as_bytes());
        node.call(command)
            .config("cniVersion", "1.1.0")
            .config("cni.dev/valid-attachments", json!([{ "containerID": "c1", "ifname": "eth0" }]))
            .run()
            .silence();
        agent.join().unwrap();
    }
}

#[test]
fn commands_younger_than_the_configuration_are_refused() {
    let node = Node::new("young");
    for (command, version) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")] {
        let error = node.call(command).config("cniVersion", version).run().failure();
        assert_eq!((&error["code"], &error["cniVersion"]), (&json!(1), &json!(version)), "{command}");
    }
}

#[test]
fn version_lists_all_versions() {
    let want = json!({
        "cniVersion": "1.1.0",
        "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    });
    assert_eq!(Node::new("version").call("VERSION").run().success(), want);
}

#[test]
fn calls_that_make_no_sense_are_refused_with_their_code() {
    let node = Node::new("nonsense");
    let rows = [
        (node.call("ADD").env("CNI_CONTAINERID", ""), 4, "CNI_CONTAINERID"),
        (node.call("ADD").env("CNI_IFNAME", "a/b"), 4, "CNI_IFNAME"),
        (node.call("ADD").env("CNI_ARGS", "COLOR=blue"), 4, "CNI_ARGS"),
        (node.call("UPDATE"), 4, "CNI_COMMAND"),
        (node.call("ADD").stdin("{"), 6, "stdin"),
        (node.call("ADD").config("name", Value::Null), 7, "name"),
        (node.call("ADD").config("cniVersion", "9.9.9"), 1, "9.9.9"),
    ];
    for (call, code, word) in rows {
        let error = call.run().failure();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["msg"].as_str().unwrap().contains(word), "{error}");
    }
}

#[test]
fn by_hand_the_plugin_says_what_it_is() {
    let answer = Node::new("hand").call("").run();
    assert!(answer.stderr.contains("CNI versions: 0.1.0"), "{}", answer.stderr);
    answer.silence();
}
