//! The programs of a cluster, as its machines and its control plane run them: command lines and settings.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::machine::Machine;
use crate::lab::kube::{ADDRESS, pki, serves, tool};
use crate::lab::plan::{self, Families};
use crate::lab::process::Program;

/// Where a cluster's programs find what they are told.
pub(super) struct Files {
    home: PathBuf,
}

impl Files {
    /// Below the folder in which the API server's are.
    pub(super) fn new(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    /// Writes the file by which a user reaches the API server.
    pub(super) fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let path = self.home.join(format!("{name}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{ "name": "lab", "cluster": {
                "server": format!("https://{ADDRESS}"), "certificate-authority": pki::root(&self.home),
            } }],
            "users": [{ "name": name, "user": { "token": token } }],
            "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": name } }],
        });
        fs::write(&path, format!("{config:#}")).expect("a kubeconfig");
        path
    }

    fn of(&self, user: &str) -> String {
        let path = self.kubeconfig(&user.replace(':', "-"), &serves::token(user));
        path.display().to_string()
    }
}

/// Makes DaemonSets' pods, endpoints, accounts' defaults, and collects what has no owner.
pub(super) fn controllers(files: &Files) -> Program {
    Program::new(tool("kube-controller-manager"))
        .args([format!("--kubeconfig={}", files.of(serves::CONTROLLERS))])
        .args([format!("--root-ca-file={}", pki::root(&files.home).display())])
        .args([format!("--service-account-private-key-file={}", pki::signs(&files.home).display())])
        .args(["--use-service-account-credentials=true", "--leader-elect=false", "--bind-address=127.0.0.1"])
        // A node that is gone is noticed within a trial.
        .args(["--node-monitor-grace-period=20s", "--node-monitor-period=2s"])
}

pub(super) fn scheduler(files: &Files) -> Program {
    Program::new(tool("kube-scheduler"))
        .args([format!("--kubeconfig={}", files.of(serves::SCHEDULER))])
        .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
}

pub(super) fn containerd(config: &Path) -> Program {
    Program::new("containerd").arg("--config").arg(config)
}

pub(super) fn kubelet(machine: &Machine, files: &Files) -> Program {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", machine.cgroup()),
        "failCgroupV1": false, "cgroupsPerQOS": true, "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false, "failSwapOn": false,
        "authentication": {
            "anonymous": { "enabled": false }, "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki::root(&files.home) },
        },
        "authorization": { "mode": "Webhook" },
        "clusterDomain": "cluster.local", "clusterDNS": [DNS], "resolvConf": "/etc/resolv.conf",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        // The disk is the memory of a system that does other work too.
        "evictionHard": {
            "memory.available": "1Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%", "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "2s",
    });
    let path = machine.node().home().join("kubelet.json");
    fs::write(&path, format!("{config:#}")).expect("the kubelet's configuration");
    let name = machine.name();
    Program::new(tool("kubelet"))
        .args([format!("--config={}", path.display()), format!("--hostname-override={name}")])
        .args([format!("--kubeconfig={}", files.of(&format!("system:node:{name}")))])
        .args([format!("--node-ip={}", machine.node().ip())])
}

pub(super) fn proxy(machine: &Machine, files: &Files) -> Program {
    let name = machine.name();
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "iptables", "clusterCIDR": "10.1.0.0/16", "hostnameOverride": name,
        "clientConnection": { "kubeconfig": files.of(serves::PROXY) },
        // The first network namespace's alone.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    });
    let path = machine.node().home().join("kube-proxy.json");
    fs::write(&path, format!("{config:#}")).expect("kube-proxy's configuration");
    Program::new(tool("kube-proxy")).args([format!("--config={}", path.display())])
}

/// Puts the reference plugins where a machine's runtime looks for them.
#[track_caller]
pub(super) fn plugins(folder: &Path) {
    for plugin in ["ptp", "host-local", "loopback", "portmap"] {
        fs::copy(reference(plugin), folder.join(plugin)).expect("a copy of a plugin");
    }
}

/// As kind's: a pair of interfaces for each pod, addresses of the node's own network.
pub(super) fn conflist(node: u8) -> Value {
    let pods = plan::pods(Families::V4, node)[0];
    json!({ "cniVersion": "0.3.1", "name": "lab", "plugins": [
        { "type": "ptp", "ipMasq": false, "mtu": 1500, "ipam": {
            "type": "host-local", "dataDir": "/run/cni-ipam-state",
            "ranges": [[{ "subnet": pods }]], "routes": [{ "dst": "0.0.0.0/0" }],
        } },
        { "type": "portmap", "capabilities": { "portMappings": true } },
    ] })
}

/// Where Debian or the CNI project puts its plugins.
#[track_caller]
fn reference(plugin: &str) -> PathBuf {
    let places = ["/usr/lib/cni", "/opt/cni/bin"].map(|folder| Path::new(folder).join(plugin));
    places.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("there is no CNI plugin {plugin}: apt-get install containernetworking-plugins")
    })
}

/// Of the cluster's name server.
pub(super) const DNS: &str = "10.97.0.10";

/// Version 2 is what containerd 1.6 and 1.7 read. Paths are its own defaults.
pub(super) const CONTAINERD: &str = r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "adit.test/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"#;
