//! A node for the plugin: a scripted agent, a file that stands for a network namespace, and calls as runtimes make them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use cni_plugin_wire::cache::SelectedNamespaces;
use cni_plugin_wire::event::{self, Event, Outcome};
use cni_plugin_wire::seqpacket::Listener;
use serde_json::{Value, json};

/// A folder with an agent's socket and a file that stands for a pod's network namespace.
pub(crate) struct Node {
    pub(crate) folder: PathBuf,
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("adit-cni-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("netns"), "").unwrap();
        Self { folder }
    }

    pub(crate) fn netns(&self) -> PathBuf {
        self.folder.join("netns")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("plugin.sock")
    }

    pub(crate) fn select(&self, namespaces: &[&str]) {
        let selected = SelectedNamespaces(namespaces.iter().map(|name| (*name).to_owned()).collect());
        selected.write(&self.folder.join("selected-namespaces.json")).unwrap();
    }

    /// An agent that answers one event and hands it out.
    pub(crate) fn agent(&self, outcome: Outcome) -> JoinHandle<Event> {
        self.serve(Some(outcome))
    }

    /// Listens before it returns; hangs up where there is no outcome to give.
    pub(crate) fn serve(&self, outcome: Option<Outcome>) -> JoinHandle<Event> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let entered = runtime.enter();
        let listener = Listener::bind(&self.socket(), 0o600, event::DATAGRAM_LIMIT).unwrap();
        drop(entered);
        std::thread::spawn(move || {
            runtime.block_on(async {
                let connection = listener.accept().await.unwrap();
                let event = event::receive(&connection).await.unwrap();
                if let Some(outcome) = outcome {
                    event::answer(&connection, &outcome).await.unwrap();
                }
                event
            })
        })
    }

    /// An agent that answers one packet with these bytes.
    pub(crate) fn answer_raw(&self, bytes: &[u8]) -> JoinHandle<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let entered = runtime.enter();
        let listener = Listener::bind(&self.socket(), 0o600, event::DATAGRAM_LIMIT).unwrap();
        drop(entered);
        let bytes = bytes.to_vec();
        std::thread::spawn(move || {
            runtime.block_on(async {
                let connection = listener.accept().await.unwrap();
                connection.recv().await.unwrap();
                connection.send(&bytes, None).await.unwrap();
            })
        })
    }

    /// A sound call, to be changed by the test.
    pub(crate) fn call(&self, command: &str) -> Call {
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "adit-cni", "agent_socket": self.socket(),
            "prevResult": prev_result("1.0.0"),
        });
        let variables = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u-1"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Call { config, stdin: None, variables }.env("CNI_NETNS", path(&self.netns()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) struct Call {
    config: Value,
    stdin: Option<String>,
    variables: Vec<(String, String)>,
}

impl Call {
    pub(crate) fn config(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config[key] = value.into();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(found, _)| found != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn pod(self, namespace: &str, name: &str) -> Self {
        self.env("CNI_ARGS", &format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}"))
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    pub(crate) fn run(self) -> Answer {
        let mut child = Command::new(env!("CARGO_BIN_EXE_adit-cni"))
            .env_clear()
            .envs(self.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = self.stdin.unwrap_or_else(|| self.config.to_string());
        // Some calls are answered without a look at stdin.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) struct Answer {
    code: Option<i32>,
    stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn success(self) -> Value {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn silence(self) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(0), ""), "{}", self.stderr);
    }

    #[track_caller]
    pub(crate) fn failure(self) -> Value {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

pub(crate) fn prev_result(version: &str) -> Value {
    if version < "0.3.0" {
        json!({ "cniVersion": version, "ip4": { "ip": "10.0.0.5/24" }, "dns": {} })
    } else {
        json!({ "cniVersion": version, "ips": [{ "address": "10.0.0.5/24", "interface": 0 }], "dns": {} })
    }
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
