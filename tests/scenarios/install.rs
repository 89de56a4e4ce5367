//! What the agent does to its node: it stays through wars over the network configuration, and leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::lab::{Builder, Lab, Pod, Program, binaries, eventually};

use super::url;

pub(crate) fn an_uninstall_leaves_the_node_as_it_was_and_its_pods_outside_the_mesh() {
    let files = Files::new("uninstall");
    let lab = files.installing().agent_env("AMBIENT_DISABLE_SAFE_UPGRADE", "true").start();
    let (client, server) = (lab.pod("client").on("a").create(), lab.pod("web").on("a").create());
    server.sample_app("blue");
    eventually("the plugin is in the chain", || files.has_plugin());
    assert!(files.bin("adit-cni").exists());
    let before = [&client, &server].map(network);

    lab.enroll_namespace("default");
    for pod in [&client, &server] {
        pod.wait_enrolled();
    }
    assert_ne!(network(&client), before[0]);
    assert_eq!(client.curl(&[&url(server.at(8080), "/color")]).body, "blue");

    let agent = lab.node("a").agent();
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait().success(), "{}", agent.log());
    assert_eq!([&client, &server].map(network), before, "{}", agent.log());
    assert_eq!(files.list("net.d"), [CHAIN]);
    assert_eq!(files.read(), FOREIGN);
    assert_eq!(files.list("bin"), ["bridge"]);
    // Nobody waits for an agent any more, and what began with the plugin ends with it.
    let late = lab.pod("late").on("a").create();
    assert_eq!(late.curl(&[&url(server.at(8080), "/color")]).body, "blue");
    late.delete();
    client.delete();
}

pub(crate) fn an_agent_that_ends_for_another_leaves_the_plugin_and_pods_in_the_mesh() {
    let files = Files::new("upgrade");
    let lab = files.installing().start();
    lab.enroll_namespace("default");
    let client = lab.pod("client").on("a").create();
    client.wait_enrolled();
    eventually("the plugin is in the chain", || files.has_plugin());
    let before = network(&client);
    let agent = lab.node("a").agent();
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait().success(), "{}", agent.log());
    assert_eq!(network(&client), before);
    files.has_plugin().unwrap();
    assert!(files.bin("adit-cni").exists());
}

pub(crate) fn another_writer_of_the_chain_is_named_and_loses_in_the_end() {
    let files = Files::new("war");
    let lab = files.installing().start();
    eventually("the plugin is in the chain", || files.has_plugin());
    let war = files.rewrite_all_the_time();
    let agent = lab.node("a").agent();
    eventually("the other writer is named", || {
        let log = agent.log();
        if log.contains("undone 3 times") && log.contains("with plugins ptp") { Ok(()) } else { Err(log) }
    });
    war.end();
    eventually("the plugin is in the chain again", || files.has_plugin());
}

pub(crate) fn a_file_of_its_own_keeps_the_plugin_first_while_another_rewrites_the_chain() {
    let files = Files::new("owned");
    let lab = files.installing().agent_env("ISTIO_OWNED_CNI_CONFIG", "true").start();
    let copy = files.dir.join("net.d/02-istio-cni.conflist");
    eventually("our file is there", || fs::read_to_string(&copy));
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&copy).expect("our file stays"));
    let first = inode();
    let war = files.rewrite_all_the_time();
    lab.enroll_namespace("default");
    for name in ["one", "two", "three"] {
        let pod = lab.pod(name).on("a").create();
        assert!(
            network(&pod).iter().any(|line| line.contains("REDIRECT")),
            "{name} started outside the mesh"
        );
    }
    assert!(war.end() > 3);
    assert_eq!(inode(), first, "our file was written again");
    assert_eq!(files.read(), FOREIGN);
}

/// Directories of a node for an agent that installs.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("adit-lab-install-{name}-{}", std::process::id()));
        for sub in ["net.d", "bin", "cni/results"] {
            fs::create_dir_all(dir.join(sub)).expect("a folder of a node");
        }
        fs::write(dir.join("net.d").join(CHAIN), FOREIGN).expect("a chain");
        fs::write(dir.join("bin/bridge"), "another plugin").expect("a plugin");
        Self { dir }
    }

    fn installing(&self) -> Builder {
        let text = |path: &Path| path.display().to_string();
        let source = binaries::find("adit-cni");
        Lab::new()
            .one_node()
            .agent_env("INSTALL_CNI", "true")
            .agent_env("MOUNTED_CNI_NET_DIR", &text(&self.dir.join("net.d")))
            .agent_env("CNI_BIN_SOURCE_DIR", &text(source.parent().expect("a folder of binaries")))
            .agent_env("CNI_BIN_TARGET_DIRS", &text(&self.dir.join("bin")))
            .agent_env("CNI_CACHE_DIR", &text(&self.dir.join("cni")))
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    fn read(&self) -> String {
        fs::read_to_string(self.dir.join("net.d").join(CHAIN)).expect("the chain")
    }

    fn has_plugin(&self) -> Result<(), String> {
        let chain = self.read();
        if chain.contains("adit-cni") { Ok(()) } else { Err(chain) }
    }

    fn list(&self, sub: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join(sub)).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// As a network plugin's own agent that knows no other: ten times a second, and atomically.
    fn rewrite_all_the_time(&self) -> War {
        let over = Arc::new(AtomicBool::new(false));
        let (chain, aside) = (self.dir.join("net.d").join(CHAIN), self.dir.join("net.d/aside"));
        let told = Arc::clone(&over);
        let writer = std::thread::spawn(move || {
            let mut writes = 0;
            while !told.load(Ordering::Relaxed) {
                fs::write(&aside, FOREIGN).expect("write aside");
                fs::rename(&aside, &chain).expect("replace the chain");
                writes += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            writes
        });
        War { over, writer }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct War {
    over: Arc<AtomicBool>,
    writer: JoinHandle<usize>,
}

impl War {
    /// Answers how often the other one wrote.
    fn end(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.writer.join().expect("the other writer")
    }
}

/// Rules, routes and settings of a pod's network.
fn network(pod: &Pod) -> Vec<String> {
    pod.run(|| {
        let told = [
            ["iptables-save"].as_slice(),
            &["ip6tables-save"],
            &["ip", "rule"],
            &["ip", "-6", "rule"],
            &["ip", "route", "show", "table", "100"],
            &["ip", "-6", "route", "show", "table", "100"],
        ];
        let mut lines: Vec<_> = told
            .iter()
            .flat_map(|command| {
                let (program, args) = command.split_first().expect("a program");
                let output = Program::new(*program)
                    .args(args.iter().copied())
                    .command()
                    .stdin(Stdio::null())
                    .output()
                    .unwrap_or_else(|error| panic!("{program}: {error}"));
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            // What remains of a table that was used once is an empty table.
            .filter(|line| !line.starts_with(['#', '*']) && line != "COMMIT")
            .filter(|line| !line.starts_with(':') || line.contains("ISTIO"))
            .collect();
        for family in ["ipv4", "ipv6"] {
            for interface in ["all", "default", "lo", "eth0"] {
                for setting in ["forwarding", "rp_filter", "route_localnet", "accept_local"] {
                    let path = format!("/proc/sys/net/{family}/conf/{interface}/{setting}");
                    if let Ok(value) = fs::read_to_string(&path) {
                        lines.push(format!("{path}={}", value.trim()));
                    }
                }
            }
        }
        lines
    })
}

const CHAIN: &str = "10-lab.conflist";
const FOREIGN: &str = "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"lab\",\n  \"plugins\": [\n    {\n      \"type\": \"ptp\"\n    }\n  ]\n}\n";
