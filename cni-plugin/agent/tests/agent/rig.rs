//! A pod's namespace, a proxy that obeys, an agent with its directories.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cni_plugin_agent::app::{Agent, AgentError, Parts};
use cni_plugin_agent::config::{Config, Raw, RawEnrollment, RawServing};
use cni_plugin_agent::probes::HostRules;
use cni_plugin_redirect::host::{HandedBack, HostError, Settled, Target, Who};
use cni_plugin_redirect::in_netns;
use cni_plugin_wire::event::{self, Outcome};
use cni_plugin_wire::seqpacket::Connection;
use cni_plugin_wire::zds::{self, Answer, Request};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// A directory of its own for one test.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("adit-agent-it-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.join(name).to_str().map(str::to_owned)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The network namespace of a pod, which lives as long as this does.
pub(crate) struct PodNetns(OwnedFd);

impl PodNetns {
    /// With nothing but loopback in it.
    pub(crate) fn empty() -> Self {
        let made = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
                .expect("make a network namespace: this test needs root");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self(made.join().unwrap().into())
    }

    /// With this address on an interface of its own.
    pub(crate) fn with_address(ip: &str) -> Self {
        let netns = Self::empty();
        netns.run("ip", &["link", "set", "lo", "up"]);
        netns.run("ip", &["link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]);
        netns.run("ip", &["address", "add", &format!("{ip}/24"), "dev", "veth0"]);
        netns.run("ip", &["link", "set", "veth0", "up"]);
        netns
    }

    /// Runs a program inside; answers what it prints.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let output = in_netns(self.0.as_fd(), || Command::new(program).args(args).output()).unwrap();
        let output = output.unwrap_or_else(|error| panic!("run {program}: {error}"));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether anything of ours is inside.
    /// Whether connections that begin are redirected; rules for the replies of others may be there either way.
    pub(crate) fn is_captured(&self) -> bool {
        self.run("iptables-save", &[]).contains("-j REDIRECT")
    }

    pub(crate) fn fd(&self) -> OwnedFd {
        self.0.try_clone().unwrap()
    }

    pub(crate) fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        File::from(self.fd()).metadata().unwrap().ino()
    }

    /// A path that leads here.
    pub(crate) fn path(&self) -> String {
        use std::os::fd::AsRawFd as _;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Carries every request out until the agent goes; passes on what was asked, with the namespace that came along.
pub(crate) fn obey(proxy: Connection) -> mpsc::UnboundedReceiver<Asked> {
    let (sender, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        zds::send_hello(&proxy).await.unwrap();
        while let Ok(request) = zds::receive_request(&proxy).await {
            let asked = Asked::new(request);
            zds::send_answer(&proxy, &Answer::Done).await.unwrap();
            if sender.send(asked).is_err() {
                return;
            }
        }
    });
    asked
}

/// One request to the proxy.
pub(crate) struct Asked {
    pub(crate) words: String,
    /// Whether the pod was captured already when its proxy was asked for.
    pub(crate) captured: bool,
    /// The inode of the namespace that came with an Add.
    pub(crate) netns: Option<u64>,
}

impl Asked {
    fn new(request: Request) -> Self {
        let plain = |words: String| Self { words, captured: false, netns: None };
        match request {
            Request::Add { uid, netns, .. } => {
                let netns = PodNetns(netns);
                Self {
                    words: format!("add {uid}"),
                    captured: netns.is_captured(),
                    netns: Some(netns.inode()),
                }
            }
            Request::Keep { uid } => plain(format!("keep {uid}")),
            Request::Delete { uid } => plain(format!("delete {uid}")),
            Request::SnapshotSent => plain("snapshot sent".to_owned()),
        }
    }
}

/// The proxy's next requests up to the one that is waited for.
pub(crate) async fn until(asked: &mut mpsc::UnboundedReceiver<Asked>, want: &str) -> Asked {
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout_at(deadline, asked.recv()).await {
            Ok(Some(asked)) if asked.words == want => return asked,
            Ok(Some(asked)) => seen.push(asked.words),
            Ok(None) => panic!("the agent left before {want:?}; it had asked for {seen:?}"),
            Err(_) => panic!("no {want:?} within {PATIENCE:?}; the agent asked for {seen:?}"),
        }
    }
}

/// Waits until it holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// An agent of node `n1` with directories of its own and the kernel's rules.
pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) stop: CancellationToken,
    pub(crate) agent: JoinHandle<Result<(), AgentError>>,
}

impl Rig {
    /// Its pods are the files in `pods`.
    pub(crate) async fn start(dir: TempDir, change: impl FnOnce(&mut Raw, &TempDir)) -> Self {
        let mut raw = Raw {
            node_name: Some("n1".to_owned()),
            pods_dir: dir.text("pods"),
            status_dir: dir.text("status"),
            zds_socket: dir.text("zds/zds.sock"),
            run_dir: dir.text("run"),
            proc_root: dir.text("proc"),
            withdraw_grace: Some("100ms".to_owned()),
            // Agents of several tests share the host's ports.
            serving: RawServing {
                health_addr: Some(String::new()),
                monitoring_port: Some("0".to_owned()),
                istio_run_dir: dir.text("istio"),
            },
            // The proxies here listen nowhere.
            enrollment: RawEnrollment { canary: Some("off".to_owned()), ..RawEnrollment::default() },
            ..Raw::default()
        };
        change(&mut raw, &dir);
        for sub in ["pods", "proc", "netns"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let config = Config::check(raw).unwrap();
        // The host here is the machine that runs the tests.
        let host_rules = Arc::new(Remembered::default());
        let parts = Parts { host_rules, ..Parts::real(&config, None).unwrap() };
        let agent = Agent::bind(config, parts).await.unwrap();
        let stop = CancellationToken::new();
        Self { dir, agent: tokio::spawn(agent.run(stop.clone())), stop }
    }

    pub(crate) fn proxy(&self) -> Connection {
        Connection::connect(&self.dir.path().join("zds/zds.sock"), zds::DATAGRAM_LIMIT).unwrap()
    }

    /// One plugin call.
    pub(crate) async fn call(&self, event: event::Event<impl AsFd>) -> Outcome {
        self.send(&event.encode().unwrap(), event.descriptor()).await
    }

    pub(crate) async fn send(&self, bytes: &[u8], fd: Option<std::os::fd::BorrowedFd<'_>>) -> Outcome {
        let path = self.dir.path().join("run/plugin.sock");
        let plugin = Connection::connect(&path, event::DATAGRAM_LIMIT).unwrap();
        plugin.send(bytes, fd).await.unwrap();
        Outcome::decode(plugin.recv().await.unwrap()).unwrap()
    }

    pub(crate) fn namespace(&self, name: &str, mode: &str) {
        let yaml = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{istio.io/dataplane-mode: '{mode}'}}}}\n"
        );
        write(&self.dir, &format!("ns-{name}.yaml"), &yaml);
    }

    pub(crate) fn pod(&self, namespace: &str, name: &str, ip: &str) {
        write_pod(&self.dir, namespace, name, ip);
    }

    /// What the status directory says of the pod.
    pub(crate) fn status(&self, namespace: &str, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(format!("status/{namespace}_{name}.json"))).ok()
    }

    pub(crate) fn is_enabled(&self, namespace: &str, name: &str) -> bool {
        self.status(namespace, name).is_some_and(|text| text.contains(r#""enabled""#))
    }
}

/// A pod of node `n1`, with UID `UID_OF` of its name; without an address while `ip` is empty.
pub(crate) fn write_pod(dir: &TempDir, namespace: &str, name: &str, ip: &str) {
    let ips = if ip.is_empty() { "[]".to_owned() } else { format!("[{{ip: {ip}}}]") };
    let uid = uid(name);
    let yaml = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, uid: {uid}}}\n\
         spec: {{nodeName: n1, serviceAccountName: sa}}\nstatus: {{phase: Running, podIPs: {ips}}}\n"
    );
    write(dir, &format!("pod-{name}.yaml"), &yaml);
}

/// A UID as Kubernetes makes them, the same for one name.
pub(crate) fn uid(name: &str) -> String {
    let number: u32 = name.bytes().map(u32::from).sum();
    format!("00000000-0000-0000-0000-{number:012x}")
}

fn write(dir: &TempDir, file: &str, text: &str) {
    fs::create_dir_all(dir.path().join("pods")).unwrap();
    let aside = dir.path().join("pods/.aside");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, dir.path().join("pods").join(file)).unwrap();
}

/// Far beyond what anything here takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A host whose rules are only remembered.
#[derive(Default)]
struct Remembered(Mutex<BTreeSet<Target>>);

impl HostRules for Remembered {
    fn targets(&self) -> Result<BTreeSet<Target>, HostError> {
        Ok(self.0.lock().clone())
    }

    fn settle(&self, targets: &BTreeSet<Target>) -> Result<Settled, HostError> {
        self.0.lock().clone_from(targets);
        Ok(Settled { who: Who::AssumedRoot, change: None })
    }

    fn remove_foreign(&self) -> Result<bool, HostError> {
        Ok(false)
    }

    fn remove(&self) -> Result<(), HostError> {
        self.0.lock().clear();
        Ok(())
    }

    fn hand_back(&self) -> Result<HandedBack, HostError> {
        Ok(HandedBack::Kept)
    }

    fn kubelet_left(&self) -> bool {
        false
    }
}
