//! A pod: its objects, its network namespace, and what runs inside.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Shared;
use super::cluster::Key;
use super::cni::{Chain, CniError, Sandbox};
use super::eventually::{eventually, within};
use super::http::{Curl, curl};
use super::netns::Netns;
use super::node::Node;
use super::process::{Process, Program};
use super::tcp::{Conn, Server, Speaks};
use super::{binaries, plan};

/// A pod that is about to be created.
pub struct PodBuilder {
    shared: Arc<Shared>,
    name: String,
    namespace: String,
    node: String,
    service_account: Option<String>,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    probes: Vec<(String, Value)>,
    attempts: AtomicU32,
    patience: Duration,
}

impl PodBuilder {
    pub(super) fn new(shared: &Arc<Shared>, name: &str) -> Self {
        Self {
            shared: Arc::clone(shared),
            name: name.to_owned(),
            namespace: "default".to_owned(),
            node: shared.nodes[0].name().to_owned(),
            service_account: None,
            labels: vec![("app".to_owned(), name.to_owned())],
            annotations: Vec::new(),
            probes: Vec::new(),
            attempts: AtomicU32::new(0),
            patience: SANDBOX,
        }
    }

    /// The namespace of Kubernetes; `default` otherwise.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    /// The node to run on; the first otherwise.
    pub fn on(mut self, node: &str) -> Self {
        self.node = node.to_owned();
        self
    }

    /// The service account; one with the pod's name otherwise.
    pub fn service_account(mut self, name: &str) -> Self {
        self.service_account = Some(name.to_owned());
        self
    }

    /// Adds a label; every pod has `app: <its name>` unless it is given here.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.retain(|(k, _)| k != key);
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// How long the chain may go on failing; a minute otherwise.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Gives its container a probe, such as `livenessProbe`.
    pub fn probe(mut self, kind: &str, probe: Value) -> Self {
        self.probes.push((kind.to_owned(), probe));
        self
    }

    /// Creates the pod as a kubelet would, trying again while the chain fails.
    #[track_caller]
    pub fn create(self) -> Pod {
        self.announce();
        within(self.patience, format_args!("the CNI chain for pod {}", self.name), || self.attempt())
    }

    /// Tries the chain once; the pod's object stays when it fails.
    pub fn try_create(self) -> Result<Pod, CniError> {
        self.announce();
        self.attempt()
    }

    /// Creates the object alone, for a runtime that makes the sandbox; answers its UID.
    #[track_caller]
    pub fn declare(self) -> String {
        self.announce();
        let object = self.shared.cluster.get(&Key::new("Pod", &self.namespace, &self.name));
        let uid = object.and_then(|pod| pod["metadata"]["uid"].as_str().map(str::to_owned));
        uid.expect("the UID of the pod")
    }

    /// Writes the Pod object, bound to its node and without addresses yet.
    fn announce(&self) {
        let account = self.service_account.as_deref().unwrap_or(&self.name);
        let uid = self.shared.next_uid();
        let map = |pairs: &[(String, String)]| -> Value {
            pairs.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect()
        };
        self.shared.cluster.set(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": account, "namespace": self.namespace },
        }));
        let mut container = json!({
            "name": "app",
            "image": "sample-app",
            "ports": [{ "name": "http", "containerPort": 8080 }],
        });
        for (kind, probe) in &self.probes {
            container[kind] = probe.clone();
        }
        self.shared.cluster.set(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "uid": uid,
                "labels": map(&self.labels),
                "annotations": map(&self.annotations),
            },
            "spec": {
                "nodeName": self.node,
                "serviceAccountName": account,
                "containers": [container],
            },
            "status": { "phase": "Pending" },
        }));
    }

    fn attempt(&self) -> Result<Pod, CniError> {
        let shared = &self.shared;
        let node = shared.node(&self.node);
        let key = Key::new("Pod", &self.namespace, &self.name);
        let uid = shared.cluster.get(&key).and_then(|p| p["metadata"]["uid"].as_str().map(str::to_owned));
        let uid = uid.expect("the pod was announced");
        let number = node.take_pod_number();
        let netns = Netns::create(&format!("{}_{}", self.namespace, self.name));
        let sandbox = Sandbox {
            namespace: self.namespace.clone(),
            pod: self.name.clone(),
            container_id: format!("{}-{}", uid, self.attempts.fetch_add(1, Ordering::Relaxed)),
            uid,
            netns,
            addresses: plan::pod(shared.families, node.number(), number),
            host_interface: format!("v{number}"),
        };
        let result = match node.chain.add(&sandbox) {
            Ok(result) => result,
            Err(why) => {
                let _ = node.chain.del(&sandbox);
                sandbox.netns.remove();
                return Err(why);
            }
        };
        let pod = Pod(Arc::new(Inner {
            shared: Arc::clone(shared),
            node,
            key,
            sandbox,
            result,
            processes: Mutex::new(Vec::new()),
        }));
        pod.becomes_ready();
        shared.pods.lock().push(pod.clone());
        Ok(pod)
    }
}

/// A running pod; clones are the same one.
#[derive(Clone)]
pub struct Pod(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    node: Arc<Node>,
    key: Key,
    sandbox: Sandbox,
    result: Value,
    processes: Mutex<Vec<Process>>,
}

impl Pod {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.key.name
    }

    /// Its namespace in Kubernetes.
    pub fn namespace(&self) -> &str {
        &self.0.key.namespace
    }

    /// Its UID.
    pub fn uid(&self) -> &str {
        &self.0.sandbox.uid
    }

    /// Its first address.
    pub fn ip(&self) -> IpAddr {
        self.0.sandbox.addresses[0].0
    }

    /// All its addresses.
    pub fn ips(&self) -> Vec<IpAddr> {
        self.0.sandbox.addresses.iter().map(|(address, _)| *address).collect()
    }

    /// Its first address with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }

    /// The node it runs on.
    pub fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    /// Its network namespace.
    pub fn netns(&self) -> &Netns {
        &self.0.sandbox.netns
    }

    /// What the CNI chain answered.
    pub fn cni_result(&self) -> &Value {
        &self.0.result
    }

    /// CHECK of the chain.
    pub fn cni_check(&self) -> Result<(), CniError> {
        self.0.node.chain.check(&self.0.sandbox, &self.0.result)
    }

    /// Its SPIFFE identity under the lab's trust domain.
    pub fn identity(&self) -> String {
        let account = self.object()["spec"]["serviceAccountName"].as_str().unwrap_or_default().to_owned();
        format!("spiffe://cluster.local/ns/{}/sa/{account}", self.namespace())
    }

    /// Its object as the API server has it.
    #[track_caller]
    pub fn object(&self) -> Value {
        self.0.shared.cluster.get(&self.0.key).expect("the pod's object")
    }

    /// The value of the redirection annotation.
    pub fn redirection(&self) -> Option<String> {
        let object = self.0.shared.cluster.get(&self.0.key)?;
        object["metadata"]["annotations"][REDIRECTION].as_str().map(str::to_owned)
    }

    /// Sets a label of the running pod, or takes it away.
    pub fn relabel(&self, key: &str, value: Option<&str>) {
        self.0.shared.cluster.patch(&self.0.key, &json!({ "metadata": { "labels": { key: value } } }));
    }

    /// Sets an annotation of the running pod, or takes it away, as any writer may.
    pub fn annotate(&self, key: &str, value: Option<&str>) {
        self.0.shared.cluster.patch(&self.0.key, &json!({ "metadata": { "annotations": { key: value } } }));
    }

    fn becomes_ready(&self) {
        let ips = self.ips();
        self.0.shared.cluster.patch(
            &self.0.key,
            &json!({ "status": {
                "phase": "Running",
                "podIP": ips[0].to_string(),
                "podIPs": ips.iter().map(|ip| json!({ "ip": ip.to_string() })).collect::<Vec<_>>(),
                "hostIP": self.0.node.ip().to_string(),
                "conditions": [
                    { "type": "PodReadyToStartContainers", "status": "True" },
                    { "type": "Ready", "status": "True" },
                ],
            } }),
        );
    }

    /// Waits until the agent calls it enrolled and every node's proxy knows that it speaks HBONE.
    #[track_caller]
    pub fn wait_enrolled(&self) -> &Self {
        eventually(format_args!("{} is enrolled", self.name()), || match self.redirection().as_deref() {
            Some("enabled") => Ok(()),
            other => Err(format!("annotation {other:?}")),
        });
        self.wait_known("HBONE")
    }

    /// Waits until the agent has let it go and every node's proxy knows that it speaks plain TCP.
    #[track_caller]
    pub fn wait_withdrawn(&self) -> &Self {
        eventually(format_args!("{} is withdrawn", self.name()), || match self.redirection() {
            None => Ok(()),
            other => Err(format!("annotation {other:?}")),
        });
        self.wait_known("TCP")
    }

    /// Waits until every node's proxy has the workload with this protocol.
    #[track_caller]
    pub fn wait_known(&self, protocol: &str) -> &Self {
        for node in &self.0.shared.nodes {
            node.proxy().wait_workload(self.namespace(), self.name(), protocol);
        }
        self
    }

    /// Runs `work` on a thread inside, as [`Netns::run`].
    #[track_caller]
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.netns().run(work)
    }

    /// Runs a future on a runtime inside, as [`Netns::block_on`].
    #[track_caller]
    pub fn block_on<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        self.netns().block_on(work)
    }

    /// Starts a program inside.
    #[track_caller]
    pub fn start(&self, program: &Program) -> Process {
        let name = format!("{}-{}", self.name(), self.0.processes.lock().len());
        let log = self.0.node.home().join("pods-logs").join(format!("{name}.log"));
        let process = program.start(&name, self.netns(), &log);
        self.0.processes.lock().push(process.clone());
        process
    }

    /// Starts `sample-app` on port 8080 and waits until it serves.
    #[track_caller]
    pub fn sample_app(&self, color: &str) -> Process {
        let program =
            Program::new(binaries::find("sample-app")).args(["--listen", "[::]:8080", "--color", color]);
        let process = self.start(&program);
        eventually("sample-app serves", || {
            process.assert_running();
            let answer = self.curl(&["http://127.0.0.1:8080/healthz/ready"]);
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        process
    }

    /// Runs the real curl inside.
    #[track_caller]
    pub fn curl(&self, args: &[&str]) -> Curl {
        curl(self.netns(), args)
    }

    /// Starts a TCP server inside, on every address of the pod.
    #[track_caller]
    pub fn serve(&self, port: u16, speaks: Speaks) -> Server {
        Server::start(self.netns(), port, speaks)
    }

    /// Opens a TCP connection from inside.
    #[track_caller]
    pub fn connect(&self, to: SocketAddr) -> Conn {
        self.try_connect(to).unwrap_or_else(|e| panic!("{} connects to {to}: {e}", self.name()))
    }

    /// As [`Pod::connect`], for connections that may be refused.
    pub fn try_connect(&self, to: SocketAddr) -> std::io::Result<Conn> {
        Conn::open(self.netns(), to)
    }

    /// Gives it another network namespace with its addresses, under its UID, by a chain that lacks the mesh's plugin: as
    /// after a reboot, when another writer of the chain was first. Its programs end.
    #[must_use]
    pub fn moved_unseen(&self) -> Self {
        for process in self.0.processes.lock().drain(..) {
            process.kill();
        }
        let chain = Chain { host: self.0.node.netns().clone(), plugin: None };
        let old = &self.0.sandbox;
        chain.del(old).unwrap_or_else(|e| panic!("take {} down: {e}", self.name()));
        old.netns.remove();
        let sandbox = Sandbox {
            netns: Netns::create(old.netns.name()),
            container_id: format!("{}-again", old.container_id),
            ..old.clone()
        };
        let result = chain.add(&sandbox).unwrap_or_else(|e| panic!("move {}: {e}", self.name()));
        let moved = Self(Arc::new(Inner {
            shared: Arc::clone(&self.0.shared),
            node: Arc::clone(&self.0.node),
            key: self.0.key.clone(),
            sandbox,
            result,
            processes: Mutex::new(Vec::new()),
        }));
        let mut pods = self.0.shared.pods.lock();
        pods.retain(|pod| pod.uid() != self.uid());
        pods.push(moved.clone());
        drop(pods);
        moved
    }

    /// Deletes the pod as a kubelet would: its programs end, DEL in reverse, the namespace goes, the object goes.
    #[track_caller]
    pub fn delete(&self) {
        self.0.shared.cluster.begin_removal(&self.0.key);
        for process in self.0.processes.lock().drain(..) {
            process.kill();
        }
        self.0.node.chain.del(&self.0.sandbox).unwrap_or_else(|e| panic!("delete {}: {e}", self.name()));
        self.netns().remove();
        self.0.shared.cluster.remove(&self.0.key);
        self.0.shared.pods.lock().retain(|pod| pod.uid() != self.uid());
    }
}

/// The annotation by which the agent says what it did.
pub const REDIRECTION: &str = "ambient.istio.io/redirection";

/// How long a kubelet may have to try for one pod.
const SANDBOX: Duration = Duration::from_secs(60);
