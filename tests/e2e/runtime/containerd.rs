//! A containerd of a node's own: its state in the lab, Debian's reference plugins before ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tests::lab::kube::tool;
use tests::lab::{Lab, Netns, Node, Process, Program, binaries, within};

use super::cri::container::ContainerConfig;
use super::cri::{Cri, Linux, Metadata, PodSandboxConfig, Sandbox};

/// A running containerd.
pub(crate) struct Containerd {
    node: Arc<Node>,
    home: PathBuf,
    _process: Process,
    runtime: tokio::runtime::Runtime,
}

impl Containerd {
    /// Starts it on a node, with a conflist of this CNI version that names our plugin.
    #[track_caller]
    pub(crate) fn start(node: &Arc<Node>, cni_version: &str) -> Self {
        let ours = json!({ "type": "adit-cni", "agent_socket": node.home().join("run/plugin.sock") });
        let containerd = Self::begin(node, cni_version, Some(ours), Program::new("containerd"));
        let link = containerd.bins().join("adit-cni");
        std::os::unix::fs::symlink(binaries::find("adit-cni"), link).expect("a link to ours");
        containerd
    }

    /// Starts it on a node, with a conflist that an agent has yet to add its plugin to.
    #[track_caller]
    pub(crate) fn start_without(node: &Arc<Node>) -> Self {
        Self::begin(node, "1.0.0", None, Program::new("containerd"))
    }

    /// Starts it as on a node of its own: it is the first process there, and `/var/lib` is its own too. Its mounts below
    /// `/run/netns` are seen by the lab.
    #[track_caller]
    pub(crate) fn start_apart(node: &Arc<Node>) -> Self {
        for args in [["--bind", "/run/netns", "/run/netns"].as_slice(), &["--make-shared", "/run/netns"]] {
            let status = Command::new("mount").args(args).status().expect("start mount");
            assert!(status.success(), "mount {args:?}: {status}");
        }
        let program = Program::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount", "--propagation", "unchanged", "bash", "-c"])
            .args([APART, "containerd"]);
        Self::begin(node, "1.0.0", None, program)
    }

    fn begin(node: &Arc<Node>, cni_version: &str, chained: Option<Value>, program: Program) -> Self {
        let home = node.home().join("containerd");
        let bins = home.join("bin");
        let confs = home.join("net.d");
        for folder in [&bins, &confs] {
            fs::create_dir_all(folder).expect("a folder for containerd");
        }
        for plugin in ["ptp", "host-local", "loopback"] {
            std::os::unix::fs::symlink(reference(plugin), bins.join(plugin)).expect("a link to a plugin");
        }
        let list = conflist(cni_version, &home, chained);
        fs::write(confs.join("10-e2e.conflist"), format!("{list:#}")).expect("a conflist");
        let config = home.join("config.toml");
        fs::write(&config, settings(&home)).expect("containerd's configuration");
        let process = program.arg("--config").arg(&config).start(
            "containerd",
            node.netns(),
            &home.join("containerd.log"),
        );
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for calls");
        let containerd = Self { node: Arc::clone(node), home, _process: process, runtime };
        within(STARTS, "containerd takes the image", || containerd.import(&tool("pause-image.tar")));
        containerd
    }

    /// Where it looks for plugins.
    pub(crate) fn bins(&self) -> PathBuf {
        self.home.join("bin")
    }

    /// Where it looks for conflists.
    pub(crate) fn confs(&self) -> PathBuf {
        self.home.join("net.d")
    }

    /// Takes an archive of images, asked as `kind load image-archive` asks.
    pub(crate) fn import(&self, archive: &Path) -> Result<(), String> {
        self.ctr(&["images", "import", "--all-platforms", "--digests", "--snapshotter=native"], Some(archive))
            .map(drop)
    }

    /// Asks it something by its own client; answers what that prints.
    pub(crate) fn ctr(&self, args: &[&str], file: Option<&Path>) -> Result<String, String> {
        let mut ctr =
            Program::new("ctr").arg("--address").arg(self.socket()).arg("--namespace=k8s.io").command();
        let output = ctr.args(args).args(file).stdin(Stdio::null()).output();
        let output = output.map_err(|e| format!("start ctr: {e}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn socket(&self) -> PathBuf {
        self.home.join("containerd.sock")
    }

    /// Makes the sandbox of a pod, as a kubelet asks for it once; the error is what the kubelet would tell.
    pub(crate) fn run(&self, namespace: &str, name: &str, uid: &str) -> Result<Made, String> {
        let config = PodSandboxConfig {
            metadata: Some(Metadata {
                name: name.to_owned(),
                uid: uid.to_owned(),
                namespace: namespace.to_owned(),
                attempt: 0,
            }),
            hostname: name.to_owned(),
            log_directory: self.home.join("logs").display().to_string(),
            linux: Some(Linux { cgroup_parent: format!("/{CGROUP}/kubepods/besteffort/pod{uid}") }),
        };
        let sandbox = self.call(|mut cri| async move { cri.run(config).await })?;
        let netns = Netns::at(name, Path::new(&sandbox.network));
        Ok(Made { sandbox, netns })
    }

    /// Ends a sandbox, DEL of its network with it.
    pub(crate) fn remove(&self, made: &Made) -> Result<(), String> {
        let id = made.sandbox.id.clone();
        self.call(|mut cri| async move { cri.remove(&id).await })
    }

    /// Starts a container in a sandbox; answers its name.
    pub(crate) fn start_container(&self, made: &Made, config: ContainerConfig) -> Result<String, String> {
        let sandbox = made.sandbox.clone();
        self.call(|mut cri| async move { cri.start(&sandbox, config).await })
    }

    /// The runtime's own description of a container that runs.
    pub(crate) fn running(&self, container: &str) -> Result<Value, String> {
        let container = container.to_owned();
        self.call(|mut cri| async move { cri.running(&container).await })
    }

    /// What a program prints that is run in a container.
    pub(crate) fn exec(&self, container: &str, command: &[&str]) -> Result<String, String> {
        let container = container.to_owned();
        let command = command.iter().map(|&part| part.to_owned()).collect();
        self.call(|mut cri| async move { cri.exec(&container, command).await })
    }

    /// What a container has written.
    pub(crate) fn log(&self, path: &str) -> String {
        fs::read_to_string(self.home.join("logs").join(path)).unwrap_or_default()
    }

    fn call<T: Send + 'static, F>(&self, work: impl FnOnce(Cri) -> F + Send + 'static) -> Result<T, String>
    where
        F: Future<Output = Result<T, String>> + Send,
    {
        let socket = self.socket();
        let called = self.runtime.spawn(async move { work(Cri::connect(&socket).await?).await });
        self.runtime.block_on(called).expect("a call that ends")
    }

    /// Tells the API server what a kubelet does once a sandbox is there.
    #[track_caller]
    pub(crate) fn tell(&self, lab: &Lab, namespace: &str, name: &str, made: &Made) {
        let status = json!({ "status": {
            "phase": "Running",
            "podIP": made.ip(),
            "podIPs": [{ "ip": made.ip() }],
            "hostIP": self.node.ip().to_string(),
            "conditions": [
                { "type": "PodReadyToStartContainers", "status": "True" },
                { "type": "Ready", "status": "True" },
            ],
        } });
        let key = tests::lab::Key::new("Pod", namespace, name);
        assert!(lab.cluster().patch(&key, &status), "the object of {namespace}/{name}");
    }
}

/// A sandbox that was made.
#[derive(Debug)]
pub(crate) struct Made {
    sandbox: Sandbox,
    netns: Netns,
}

impl Made {
    /// Its address, as the runtime tells it.
    pub(crate) fn ip(&self) -> &str {
        &self.sandbox.ip
    }

    /// Its network.
    pub(crate) const fn netns(&self) -> &Netns {
        &self.netns
    }
}

fn conflist(version: &str, home: &Path, chained: Option<Value>) -> Value {
    let first = json!({
        "type": "ptp",
        "ipam": {
            "type": "host-local",
            "dataDir": home.join("addresses"),
            // The lab's own pods have the lower half of the node's network.
            "ranges": [[{
                "subnet": "10.1.1.0/24", "rangeStart": "10.1.1.130", "rangeEnd": "10.1.1.250",
                "gateway": "10.1.1.129",
            }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        },
    });
    let plugins: Vec<_> = [first].into_iter().chain(chained).collect();
    json!({ "cniVersion": version, "name": "e2e", "plugins": plugins })
}

/// Version 2 is what containerd 1.6 and 1.7 read.
fn settings(home: &Path) -> String {
    let home = home.display();
    format!(
        r#"version = 2
root = "{home}/root"
state = "{home}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{home}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "adit.test/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{home}/bin"
    conf_dir = "{home}/net.d"
"#
    )
}

/// Where Debian or the CNI project puts its plugins.
#[track_caller]
fn reference(plugin: &str) -> PathBuf {
    let places = ["/usr/lib/cni", "/opt/cni/bin"].map(|folder| Path::new(folder).join(plugin));
    places.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("there is no CNI plugin {plugin}: apt-get install containernetworking-plugins")
    })
}

/// Below which containers of these tests are.
const CGROUP: &str = "adit-e2e";
/// As systemd leaves a node, and without a trace on the machine: what runtimes and plugins keep is below /var/lib.
const APART: &str = "mount --make-shared / && mount -t proc proc /proc && mount -t tmpfs node /var/lib && exec containerd \"$@\"";
const STARTS: Duration = Duration::from_secs(60);
