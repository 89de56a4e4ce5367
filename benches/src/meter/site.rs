//! A lab that runs legs on demand, and its handle in the process that demands them.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};
use tests::lab::{Lab, Pod, eventually, logs};

use super::cpu::Gauge;
use super::{Leg, Sample, Way, load, server};

/// The handle of a lab in a process of its own.
#[derive(Debug)]
pub(super) struct Site {
    name: &'static str,
    child: Child,
    /// `None` once the lab is told to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The binaries of node a and of node b.
    pub(super) proxies: [PathBuf; 2],
}

/// Why a lab does not answer.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The program could not be executed again.
    #[error("start the lab of {name}")]
    Start {
        /// Which lab.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its process is gone; it has said why.
    #[error("the lab of {name} ended early; what it wrote is above")]
    Ended {
        /// Which lab.
        name: &'static str,
    },
    /// It answered something else.
    #[error("the lab of {name} answered {line:?}")]
    Answer {
        /// Which lab.
        name: &'static str,
        /// What it wrote.
        line: String,
        /// Why that is no answer.
        #[source]
        source: serde_json::Error,
    },
}

/// The first line of a site.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    proxies: [PathBuf; 2],
}

impl Site {
    /// Builds a lab and waits until traffic flows; `proxy` takes the place of what the environment says.
    pub(super) fn start(name: &'static str, proxy: Option<&Path>) -> Result<Self, SiteError> {
        let failed = |source| SiteError::Start { name, source };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("--site").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(path) = proxy {
            let path = path.canonicalize().map_err(failed)?;
            command.env("ADIT_LAB_PROXY_A", &path).env("ADIT_LAB_PROXY_B", &path);
        }
        let mut child = command.spawn().map_err(failed)?;
        let orders = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut site = Self {
            name,
            child,
            orders,
            answers: BufReader::new(answers),
            proxies: [PathBuf::new(), PathBuf::new()],
        };
        site.proxies = site.answer::<Hello>()?.proxies;
        Ok(site)
    }

    /// Runs one leg.
    pub(super) fn run(&mut self, leg: &Leg) -> Result<Sample, SiteError> {
        let ended = SiteError::Ended { name: self.name };
        let line = serde_json::to_string(leg).expect("a leg is JSON");
        let orders = self.orders.as_mut().ok_or(SiteError::Ended { name: self.name })?;
        writeln!(orders, "{line}").map_err(|_| ended)?;
        self.answer()
    }

    fn answer<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, SiteError> {
        let name = self.name;
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) | Err(_) => Err(SiteError::Ended { name }),
            Ok(_) => serde_json::from_str(&line).map_err(|source| SiteError::Answer { name, line, source }),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// Serves legs from standard input, in a lab, until it ends.
pub fn serve() -> ExitCode {
    let served = std::panic::catch_unwind(|| {
        let place = Place::build();
        say(&Hello { proxies: place.proxies.clone() });
        for line in io::stdin().lines().map_while(Result::ok) {
            let leg: Leg = serde_json::from_str(&line).expect("a leg");
            say(&place.run(&leg));
        }
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => {
            logs::print(30);
            ExitCode::FAILURE
        }
    }
}

fn say(what: &impl Serialize) {
    println!("{}", serde_json::to_string(what).expect("an answer is JSON"));
}

/// Two nodes; on each, a pod outside the mesh and one inside.
struct Place {
    lab: Lab,
    direct: [Pod; 2],
    mesh: [Pod; 2],
    gauge: Gauge,
    proxies: [PathBuf; 2],
}

impl Place {
    #[track_caller]
    fn build() -> Self {
        let lab = Lab::new().start();
        for namespace in ["direct", "mesh"] {
            lab.create_namespace(namespace);
        }
        lab.enroll_namespace("mesh");
        let pods = |namespace: &str| {
            [("client", "a"), ("server", "b")]
                .map(|(name, node)| lab.pod(name).in_namespace(namespace).on(node).create())
        };
        let (direct, mesh) = (pods("direct"), pods("mesh"));
        for pod in &mesh {
            pod.wait_enrolled();
        }
        for [_, server] in [&direct, &mesh] {
            server::start(server.netns());
        }
        let nodes = ["a", "b"].map(|name| lab.node(name));
        let gauge = Gauge { proxies: nodes.each_ref().map(|node| node.proxy().process().pid()) };
        let proxies = nodes.map(|node| node.proxy_spec().path);
        let place = Self { lab, direct, mesh, gauge, proxies };
        place.check();
        place
    }

    /// What is called the mesh must be the mesh, and what is called direct must not.
    #[track_caller]
    fn check(&self) {
        let mesh = [("connection_security_policy", "mutual_tls")];
        let opened = |node: &str| self.lab.node(node).proxy().metrics().sum(OPENED, &mesh);
        let leg = Leg { way: Way::Direct, load: super::Load::Requests(1), seconds: 0.01, bytes: 1 };
        self.run(&leg);
        assert_eq!(["a", "b"].map(|node| opened(node) > 0.0), [false; 2], "direct traffic is captured");
        self.run(&Leg { way: Way::Mesh, ..leg });
        eventually("both proxies carry the mesh's traffic", || match ["a", "b"].map(opened) {
            [a, b] if a > 0.0 && b > 0.0 => Ok(()),
            seen => Err(format!("{OPENED} with mutual TLS: {seen:?}")),
        });
    }

    #[track_caller]
    fn run(&self, leg: &Leg) -> Sample {
        let [client, server] = match leg.way {
            Way::Direct => &self.direct,
            Way::Mesh => &self.mesh,
        };
        for node in self.lab.nodes() {
            node.proxy().process().assert_running();
        }
        client
            .netns()
            .block_on(|| load::run(leg, server.ip(), self.gauge))
            .unwrap_or_else(|e| panic!("{} ({:?}): {e}", leg.load.name(), leg.way))
    }
}

const OPENED: &str = "istio_tcp_connections_opened_total";
