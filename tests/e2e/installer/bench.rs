//! A cluster without kubelets, the tool as a person runs it, and a hand that writes what pods do.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};
use tests::lab::kube::cluster::Cluster;
use tests::lab::kube::{Refused, Verb};
use tests::lab::{HOME, Program, binaries, within};

/// A cluster, and the tool.
pub(super) struct Bench {
    pub(super) cluster: Cluster,
}

/// How a run of the tool ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) exit: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ran {
    /// The one document that it printed.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Bench {
    #[track_caller]
    pub(super) fn start() -> Self {
        Self { cluster: Cluster::start(&[]) }
    }

    /// Runs the tool as the administrator.
    #[track_caller]
    pub(super) fn adit(&self, args: &[&str]) -> Ran {
        self.run(&self.cluster.kubeconfig().display().to_string(), args)
    }

    /// Installs without istiod, which no trial here has.
    #[track_caller]
    pub(super) fn install(&self, args: &[&str]) -> Ran {
        self.adit(&[&["install", "--yes", "--without-istiod"], args].concat())
    }

    /// Runs the tool as an account that nobody gave a right.
    #[track_caller]
    pub(super) fn adit_as(&self, account: &str, args: &[&str]) -> Ran {
        self.cluster.must(&["create", "serviceaccount", account]);
        let token = self.cluster.must(&["create", "token", account]);
        let text = fs::read_to_string(self.cluster.kubeconfig()).expect("the kubeconfig");
        let mut config: Value = serde_json::from_str(&text).expect("a kubeconfig as JSON");
        config["users"][0]["user"]["token"] = Value::from(token.trim());
        let path = format!("{HOME}/{account}.kubeconfig");
        fs::write(&path, config.to_string()).expect("a kubeconfig");
        self.run(&path, args)
    }

    fn run(&self, kubeconfig: &str, args: &[&str]) -> Ran {
        // Nothing of the machine's own may answer for what is missing.
        let program = Program::new(binaries::find("adit"))
            .args(args.iter().copied())
            .env("KUBECONFIG", kubeconfig)
            .env("HOME", HOME)
            .env("PATH", "/nowhere");
        let output = self.cluster.underlay().run(|| {
            let mut command = program.command();
            command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("start adit: {e}"))
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            exit: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Server-side apply by another field manager.
    #[track_caller]
    pub(super) fn apply_as(&self, manager: &str, kind: &str, name: &str, mut object: Value) {
        object["apiVersion"] = json!("apps/v1");
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("istio-system");
        let path = format!("{DAEMON_SETS}/{name}?fieldManager={manager}&force=true");
        self.ask(Verb::Apply, &path, Some(&object)).unwrap_or_else(|e| panic!("{e}"));
    }

    /// What Helm leaves of Istio's chart of the proxy, as far as it matters here.
    #[track_caller]
    pub(super) fn theirs(&self) {
        let labels = json!({"app": "ztunnel"});
        let container = json!({
            "name": "istio-proxy", "image": "istio/ztunnel:1.29.1", "args": ["proxy", "ztunnel"],
            "env": [{"name": "ONLY_THEIRS", "value": "1"}, {"name": "RUST_LOG", "value": "warn"}],
        });
        let object = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {
                "name": "ztunnel", "namespace": "istio-system",
                "labels": {"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "ztunnel-1.29.1"},
                "annotations": {
                    "meta.helm.sh/release-name": "istio-ztunnel", "meta.helm.sh/release-namespace": "istio-system",
                },
            },
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        });
        let path = format!("{DAEMON_SETS}?fieldManager=helm");
        self.ask(Verb::Create, &path, Some(&object)).unwrap_or_else(|e| panic!("{e}"));
    }

    /// A pod of the namespace `default` that an agent has captured.
    #[track_caller]
    pub(super) fn captured(&self, name: &str, node: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "annotations": {"ambient.istio.io/redirection": "enabled"}},
            "spec": {"nodeName": node, "containers": [{"name": "app", "image": "x/app:1"}]},
        });
        self.node(node);
        let path = "/api/v1/namespaces/default/pods";
        self.ask(Verb::Create, path, Some(&pod)).unwrap_or_else(|e| panic!("{e}"));
    }

    /// A node that is ready, though nobody serves it.
    #[track_caller]
    pub(super) fn node(&self, name: &str) {
        let labels = json!({"kubernetes.io/os": "linux", "kubernetes.io/hostname": name});
        let object =
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        self.ask(Verb::Create, "/api/v1/nodes", Some(&object)).unwrap_or_else(|e| panic!("{e}"));
        self.beat(name);
    }

    fn beat(&self, name: &str) {
        let much = json!({"cpu": "64", "memory": "64Gi", "pods": "200"});
        let status = json!({"status": {
            "capacity": much, "allocatable": much,
            // A node whose heart does not beat is given up, and its pods with it.
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Trial",
                "lastHeartbeatTime": k8s_openapi::jiff::Timestamp::now().to_string(),
            }],
        }});
        let path = format!("/api/v1/nodes/{name}/status");
        let _ = self.ask(Verb::Merge, &path, Some(&status));
    }

    /// Writes what a kubelet would.
    pub(super) fn run_pods(&self) {
        let all = |path: &str| self.ask(Verb::Get, path, None).map_or_else(|_| Vec::new(), |it| items(&it));
        for node in all("/api/v1/nodes") {
            self.beat(node["metadata"]["name"].as_str().unwrap_or_default());
        }
        for pod in all("/api/v1/pods") {
            let (namespace, name) = (&pod["metadata"]["namespace"], &pod["metadata"]["name"]);
            let (namespace, name) =
                (namespace.as_str().unwrap_or_default(), name.as_str().unwrap_or_default());
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
            if pod["metadata"]["deletionTimestamp"].is_string() {
                let _ = self.ask(Verb::Delete, &path, Some(&json!({"gracePeriodSeconds": 0})));
            } else if pod["spec"]["nodeName"].is_string() && pod["status"]["containerStatuses"].is_null() {
                let _ = self.ask(Verb::Merge, &format!("{path}/status"), Some(&status(&pod)));
            }
        }
    }

    /// Does so all the time that something else takes.
    pub(super) fn while_pods_run<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.run_pods();
                    thread::sleep(Duration::from_millis(200));
                }
            });
            let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            done.store(true, Ordering::Relaxed);
            worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A DaemonSet of the components.
    #[track_caller]
    pub(super) fn daemon_set(&self, name: &str) -> Value {
        self.ask(Verb::Get, &format!("{DAEMON_SETS}/{name}"), None).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The image that its pods are to run.
    #[track_caller]
    pub(super) fn image(&self, name: &str) -> String {
        let daemon_set = self.daemon_set(name);
        daemon_set["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether the components' namespace has objects of a kind.
    pub(super) fn has(&self, kind: &str) -> bool {
        !self.cluster.must(&["get", kind, "-n", "istio-system", "-o", "name"]).trim().is_empty()
    }

    /// The names of all objects of these kinds, once they have settled: namespaces get theirs a little later.
    pub(super) fn names(&self, kinds: &str) -> String {
        let asked = || {
            self.cluster.must(&[
                "get",
                kinds,
                "-A",
                "-o",
                "custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name",
            ])
        };
        let mut last = asked();
        within(Duration::from_secs(60), "names that do not change", || {
            thread::sleep(Duration::from_secs(1));
            let now = asked();
            if now == last { Ok(()) } else { Err(std::mem::replace(&mut last, now)) }
        });
        last
    }

    /// The versions of everything that an installation writes.
    pub(super) fn versions(&self) -> Vec<String> {
        let kinds = "configmaps,secrets,serviceaccounts,clusterroles,clusterrolebindings";
        let columns = "custom-columns=K:.kind,N:.metadata.name,V:.metadata.resourceVersion";
        let mut lines: Vec<_> = self
            .cluster
            .must(&["get", kinds, "-n", "istio-system", "-o", columns])
            .lines()
            .map(str::to_owned)
            .collect();
        // Their status is their controller's.
        let generations = "custom-columns=K:.kind,N:.metadata.name,V:.metadata.generation";
        let sets = self.cluster.must(&["get", "daemonsets", "-n", "istio-system", "-o", generations]);
        lines.extend(sets.lines().map(str::to_owned));
        lines
    }

    fn ask(&self, verb: Verb, path: &str, body: Option<&Value>) -> Result<Value, Refused> {
        self.cluster.server().request(verb, path, body)
    }
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

/// A pod that runs, unless its image is one that nobody has.
fn status(pod: &Value) -> Value {
    let container = &pod["spec"]["containers"][0];
    let is_broken = container["image"].as_str().is_some_and(|image| image.contains("broken"));
    let mut status =
        json!({"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0});
    status["ready"] = json!(!is_broken);
    status["state"] = if is_broken {
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "nobody has it"}})
    } else {
        json!({"running": {}})
    };
    let (phase, ready) = if is_broken { ("Pending", "False") } else { ("Running", "True") };
    json!({"status": {
        "phase": phase, "conditions": [{"type": "Ready", "status": ready}], "containerStatuses": [status],
    }})
}

const DAEMON_SETS: &str = "/apis/apps/v1/namespaces/istio-system/daemonsets";
