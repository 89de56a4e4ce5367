//! What a person may get wrong, and that they are told by its name.

use tests::lab::process::Program;
use tests::lab::{Lab, binaries, eventually};

pub(crate) fn a_malformed_variable_ends_the_proxy_with_its_name() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    node.proxy().process().kill();
    for (key, value) in [
        ("HTTP2_STREAM_WINDOW_SIZE", "plenty"),
        ("ENABLE_PROXY", "yes"),
        ("CONNECTION_TERMINATION_DEADLINE", "soon"),
        ("POOL_MAX_STREAMS_PER_CONNECTION", "70000"),
        ("ZTUNNEL_WORKER_THREADS", "120%"),
        ("PROXY_MODE", "both"),
    ] {
        let mut spec = node.proxy_spec().env(key, value);
        spec.log = node.home().join(format!("malformed-{key}.log"));
        let process = spec.start().process().clone();
        let status = process.wait();
        assert!(!status.success(), "{key}={value} was accepted");
        assert!(process.log().contains(key), "{key}={value} is not named:\n{}", process.log());
    }
}

pub(crate) fn an_unusable_root_is_told_by_its_name() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let path = node.home().join("not-a-root.pem");
    std::fs::write(&path, "this is no certificate\n").expect("a file");
    let file = path.display().to_string();
    let proxy = node.begin_proxy(|spec| spec.env("XDS_ROOT_CA", &file).env("CA_ROOT_CA", &file));
    eventually("the log names the root", || {
        let log = proxy.process().log();
        if log.contains(&file) || log.contains("XDS_ROOT_CA") { Ok(()) } else { Err(log) }
    });
}

pub(crate) fn an_unusable_token_is_told_by_its_file() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let path = node.home().join("empty-token");
    std::fs::write(&path, "").expect("a file");
    let file = path.display().to_string();
    let proxy = node.begin_proxy(|spec| spec.env("AUTH_TOKEN", &file));
    eventually("the log names the token's file", || {
        let log = proxy.process().log();
        if log.contains(&file) { Ok(()) } else { Err(log) }
    });
    proxy.process().assert_running();
    // It is read again for every attempt: mending it is enough.
    std::fs::write(&path, lab.control().token()).expect("a token");
    proxy.wait_ready();
}

pub(crate) fn a_missing_setting_ends_the_agent_with_its_name() {
    let lab = Lab::new().without_mesh().one_node().start();
    let node = lab.node("a");
    let log = node.home().join("agent.log");
    let agent = Program::new(binaries::find("adit-node-agent")).args(["--ipv6", "perhaps"]);
    let process = agent.start("agent", node.netns(), &log);
    assert!(!process.wait().success());
    for key in ["NODE_NAME", "PODS_DIR", "AMBIENT_IPV6"] {
        assert!(process.log().contains(key), "{key} is not named:\n{}", process.log());
    }
}
