//! The real kubectl, as an administrator outside the nodes.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};

use super::Cluster;
use crate::lab::HOME;
use crate::lab::eventually::eventually;
use crate::lab::kube::tool;
use crate::lab::process::{Process, Program};

/// How a run of a client ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit code; that of the program that `exec` ran.
    pub exit: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            exit: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl Cluster {
    /// Runs kubectl to its end.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> Ran {
        self.kubectl_with(args, "")
    }

    /// As [`Cluster::kubectl`]; answers what it printed, and panics with what it complained of.
    #[track_caller]
    pub fn must(&self, args: &[&str]) -> String {
        let ran = self.kubectl(args);
        assert_eq!(ran.exit, 0, "kubectl {args:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Applies YAML, of whatever kinds.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        let ran = self.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], yaml);
        assert_eq!(ran.exit, 0, "apply: {}\n{yaml}", ran.stderr);
    }

    /// Waits until every pod of a Deployment or DaemonSet is up to date and ready.
    #[track_caller]
    pub fn rolled_out(&self, namespace: &str, object: &str) {
        let limit = format!("--timeout={}s", super::PATIENCE.as_secs());
        let ran = self.kubectl(&["-n", namespace, "rollout", "status", &limit, object]);
        assert_eq!(ran.exit, 0, "{object} is rolled out: {}{}", ran.stdout, ran.stderr);
    }

    /// Waits until an object is as `kubectl wait --for` is told.
    #[track_caller]
    pub fn wait(&self, namespace: &str, object: &str, until: &str) {
        let (until, limit) = (format!("--for={until}"), format!("--timeout={}s", super::PATIENCE.as_secs()));
        let ran = self.kubectl(&["-n", namespace, "wait", &until, &limit, object]);
        if ran.exit != 0 {
            let why = self.kubectl(&["-n", namespace, "describe", object]);
            panic!("{object} {until}: {}\n{}{}", ran.stderr, why.stdout, why.stderr);
        }
    }

    /// Begins to forward a port of the control plane to one of a pod; ends with the process that is answered.
    #[track_caller]
    pub fn forward(&self, namespace: &str, object: &str, port: u16) -> (Process, SocketAddr) {
        let number = self.forwards.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = Path::new(HOME).join(format!("kubernetes/port-forward-{number}.log"));
        let kubectl = Program::new(tool("kubectl")).args(["-n", namespace, "port-forward", object]);
        let program = self.as_administrator(kubectl).arg(format!(":{port}"));
        let process = program.start("kubectl", &self.underlay, &log);
        let at = eventually(format_args!("{object} is forwarded"), || {
            process.assert_running();
            let said = process.log();
            let port = said.split("127.0.0.1:").nth(1).and_then(|rest| rest.split_whitespace().next());
            port.and_then(|port| port.parse::<u16>().ok()).ok_or(said)
        });
        (process, SocketAddr::from((Ipv4Addr::LOCALHOST, at)))
    }

    fn kubectl_with(&self, args: &[&str], input: &str) -> Ran {
        self.run(Program::new(tool("kubectl")).args(args.iter().copied()), input)
    }

    fn as_administrator(&self, program: Program) -> Program {
        program.env("KUBECONFIG", self.kubeconfig.display().to_string()).env("HOME", HOME)
    }

    /// Runs a client outside the nodes to its end, with an administrator's credentials.
    pub fn run(&self, program: Program, input: &str) -> Ran {
        let program = self.as_administrator(program);
        let output = self.underlay.run(|| {
            let mut command = program.command();
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child =
                command.spawn().unwrap_or_else(|e| panic!("start {:?}: {e}", command.get_program()));
            let mut stdin = child.stdin.take().expect("its input");
            stdin.write_all(input.as_bytes()).expect("what it reads");
            drop(stdin);
            child.wait_with_output().expect("its end")
        });
        output.into()
    }
}
