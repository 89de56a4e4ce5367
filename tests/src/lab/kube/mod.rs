//! A real API server with its etcd, on the lab's underlay: what a lab on Kubernetes keeps its objects in.

pub mod cluster;
mod pki;
mod request;
mod serves;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::{env, fs};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::cluster::{Cluster, Key, documents};
use super::eventually::within;
use super::netns::Netns;
use super::process::{Process, Program};
use super::{HOME, plan};

pub use request::{Refused, Verb};
use serves::Serves;

/// A running API server; clients of it are the lab itself, as an administrator, and the agents.
pub struct ApiServer {
    client: kube::Client,
    runtime: Runtime,
    etcd: Process,
    serving: Mutex<Serving>,
}

struct Serving {
    serves: Serves,
    process: Process,
    program: Program,
    /// How many keys have signed accounts' tokens so far.
    keys: u32,
}

impl ApiServer {
    /// Starts both programs and waits until requests are answered.
    #[track_caller]
    pub(super) fn start() -> Self {
        Self::serving(Serves::Objects)
    }

    #[track_caller]
    fn serving(serves: Serves) -> Self {
        let home = home();
        fs::create_dir_all(&home).expect("a folder for the API server");
        pki::write(&home, &[plan::CONTROL_PLANE.into(), serves::ADDRESS.into()], &serves::NAMES);
        fs::write(home.join("tokens.csv"), serves.tokens()).expect("write the tokens of those it knows");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kubernetes")
            .enable_all()
            .build()
            .expect("a runtime for requests");
        let client = runtime.block_on(async { request::client(&home, ADDRESS, serves::ADMINISTRATOR) });
        let etcd = etcd(&home);
        let program = program(&home, &serves, &pki::account_key(&home, 1));
        let process = begin(&program);
        let serving = Serving { serves, process, program, keys: 1 };
        let server = Self { client, runtime, etcd, serving: Mutex::new(serving) };
        server.wait_ready();
        server
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        ADDRESS
    }

    /// Ends it at once. What it knows stays in etcd.
    pub fn stop(&self) {
        self.serving.lock().process.kill();
    }

    /// Starts it again after [`ApiServer::stop`] and waits until it answers.
    #[track_caller]
    pub fn start_again(&self) {
        {
            let mut serving = self.serving.lock();
            serving.process = begin(&serving.program);
        }
        self.wait_ready();
    }

    /// Starts it again with another key for accounts' tokens: all that were issued before are refused from now on.
    #[track_caller]
    pub fn revoke_tokens(&self) {
        self.stop();
        {
            let mut serving = self.serving.lock();
            serving.keys += 1;
            serving.program = program(&home(), &serving.serves, &pki::account_key(&home(), serving.keys));
        }
        self.start_again();
    }

    /// Writes the credentials of an account where a kubelet mounts them for a container: a token of the server's own
    /// making, its root and the namespace.
    #[track_caller]
    pub fn mount_account(&self, namespace: &str, account: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let wanted = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "expirationSeconds": 3600 },
        });
        let issued = self
            .request(Verb::Create, &path, Some(&wanted))
            .unwrap_or_else(|e| panic!("a token for {namespace}/{account}: {e}"));
        let token = issued["status"]["token"].as_str().expect("a token in the answer");
        let root = fs::read_to_string(pki::root(&home())).expect("the API server's root");
        fs::create_dir_all(MOUNTED).expect("a folder for the account");
        for (name, text) in [("token", token), ("ca.crt", root.as_str()), ("namespace", namespace)] {
            // A reader never sees half a file.
            let fresh = Path::new(MOUNTED).join(format!(".{name}.new"));
            fs::write(&fresh, text).expect("write the account");
            fs::rename(&fresh, Path::new(MOUNTED).join(name)).expect("put the account in place");
        }
    }

    /// The Events about an object, as `reason: message`.
    #[track_caller]
    pub fn events(&self, namespace: &str, name: &str) -> Vec<String> {
        let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name={name}");
        let list = self.request(Verb::Get, &path, None).unwrap_or_else(|e| panic!("list events: {e}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|event| format!("{}: {}", text(&event["reason"]), text(&event["message"]))).collect()
    }

    /// Applies every document of a YAML text, of whatever kind the server has.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        for document in documents(yaml) {
            let key = Key::of(&document);
            self.put(&key, document).unwrap_or_else(|e| panic!("apply {key}: {e}"));
        }
    }

    /// Deletes an object of whatever kind, at once.
    #[track_caller]
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let key = Key::new(kind, namespace, name);
        self.remove(&key).unwrap_or_else(|e| panic!("delete {key}: {e}"));
    }

    /// Keeps `cluster` as the server has it, for the rest of the lab's life.
    pub(super) fn feed(&self, cluster: &Weak<Cluster>) {
        for kind in MIRRORED {
            self.runtime.spawn(watch::follow(self.client.clone(), kind, Weak::clone(cluster)));
        }
    }

    #[track_caller]
    fn wait_ready(&self) {
        within(STARTS, "the API server is ready", || {
            self.etcd.assert_running();
            self.serving.lock().process.assert_running();
            self.request(Verb::Get, "/readyz", None).map_err(|e| e.to_string())?;
            // It makes this namespace itself, a little later.
            self.request(Verb::Get, "/api/v1/namespaces/default", None).map(drop).map_err(|e| e.to_string())
        });
    }
}

fn etcd(home: &Path) -> Process {
    let data = home.join("etcd");
    Program::new(tool("etcd"))
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD])
        .args(["--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level", "warn"])
        .start("etcd", &Netns::current("underlay"), &home.join("etcd.log"))
}

/// The server with RBAC in force, and without what a lab has no use for.
fn program(home: &Path, serves: &Serves, [signs, checks]: &[PathBuf; 2]) -> Program {
    let file = |name: &str| home.join(name).display().to_string();
    Program::new(tool("kube-apiserver"))
        .args([format!("--etcd-servers={ETCD}"), format!("--secure-port={}", ADDRESS.port())])
        .args([format!("--bind-address={}", ADDRESS.ip()), format!("--advertise-address={}", ADDRESS.ip())])
        .args([format!("--tls-cert-file={}", file("server.pem"))])
        .args([format!("--tls-private-key-file={}", file("server.key.pem"))])
        .args([format!("--token-auth-file={}", file("tokens.csv"))])
        .args([format!("--service-account-key-file={}", checks.display())])
        .args([format!("--service-account-signing-key-file={}", signs.display())])
        .args(["--service-account-issuer=https://kubernetes.default.svc"])
        .args([format!("--service-cluster-ip-range={}", serves::SERVICES)])
        .args(["--enable-priority-and-fairness=false"])
        .args(serves.flags(home))
}

fn begin(program: &Program) -> Process {
    program.start("kube-apiserver", &Netns::current("underlay"), &home().join("kube-apiserver.log"))
}

/// A program that `make e2e` built: `ADIT_E2E_TOOLS` is the folder.
#[track_caller]
pub fn tool(name: &str) -> PathBuf {
    let folder = env::var_os("ADIT_E2E_TOOLS").map(PathBuf::from);
    let path = folder.unwrap_or_else(|| panic!("ADIT_E2E_TOOLS is not set: run `make e2e`")).join(name);
    assert!(path.exists(), "there is no {}: run `make e2e`", path.display());
    path
}

fn home() -> PathBuf {
    Path::new(HOME).join("kubernetes")
}

/// The kinds that the server keeps for the lab. Those of Istio are the lab's own: no agent reads them.
pub(super) const MIRRORED: [&str; 4] = ["Namespace", "Node", "Pod", "ServiceAccount"];
/// Where containers find their account.
const MOUNTED: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(plan::CONTROL_PLANE), 6443);
const ETCD: &str = "http://127.0.0.1:2379";
/// On a machine that does other work too.
const STARTS: std::time::Duration = std::time::Duration::from_secs(90);
