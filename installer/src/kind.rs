//! Brings the images' archives onto the nodes of a kind cluster: by kind itself, else by the containerd in its nodes.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::output::Output;

/// Why the images are not on the nodes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no archive.
    #[error("there is no image archive {}", .path.display())]
    NoArchive {
        /// Where it should be.
        path: PathBuf,
    },
    /// Neither program is there.
    #[error("neither `kind` nor `docker` is on the PATH")]
    NoKind,
    /// A program cannot be started.
    #[error("start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("{command}: {said}")]
    Failed {
        /// What was asked of it.
        command: String,
        /// What it said last.
        said: String,
    },
    /// There is no such cluster.
    #[error("there is no kind cluster {name:?}")]
    NoCluster {
        /// Its name.
        name: String,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoArchive { .. } => {
                Some("`make images` writes them; --images DIR says where they are".to_owned())
            }
            Self::NoKind => Some(
                "install kind (https://kind.sigs.k8s.io), or leave --kind away and let nodes pull the images"
                    .to_owned(),
            ),
            Self::NoCluster { .. } => Some("`kind get clusters` lists those that are there".to_owned()),
            Self::Start { .. } | Self::Failed { .. } => None,
        }
    }
}

/// Programs by name or path.
#[derive(Clone, Debug)]
pub struct Programs {
    /// kind's own.
    pub kind: PathBuf,
    /// Docker's, or one that takes its arguments.
    pub docker: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self { kind: "kind".into(), docker: "docker".into() }
    }
}

/// Loads the archives of `folder` into the cluster.
///
/// # Errors
/// An archive, a program or the cluster is not there, or a program fails.
pub async fn load(programs: &Programs, cluster: &str, folder: &Path, output: &Output) -> Result<(), Error> {
    let archives: Vec<PathBuf> = ARCHIVES.iter().map(|name| folder.join(name)).collect();
    if let Some(path) = archives.iter().find(|path| !path.is_file()) {
        return Err(Error::NoArchive { path: path.clone() });
    }
    let mut step = output.progress().step("images", 0);
    step.at(0, 0, &format!("kind loads them into {cluster}"));
    let mut by_kind = Command::new(&programs.kind);
    by_kind.args(["load", "image-archive", "--name", cluster]).args(&archives);
    match run(by_kind, &programs.kind).await {
        Err(Error::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(Error::Failed { said, .. }) if said.contains("no nodes found") => {
            return Err(Error::NoCluster { name: cluster.to_owned() });
        }
        Err(other) => return Err(other),
        Ok(_) => {
            step.done(&format!("are on the nodes of {cluster}"));
            return Ok(());
        }
    }
    step.at(0, 0, &format!("there is no kind; docker brings them into the nodes of {cluster}"));
    by_docker(programs, cluster, &archives).await?;
    step.done(&format!("are on the nodes of {cluster}"));
    Ok(())
}

/// What kind does: each node is a container with its containerd.
async fn by_docker(programs: &Programs, cluster: &str, archives: &[PathBuf]) -> Result<(), Error> {
    let docker = &programs.docker;
    let mut list = Command::new(docker);
    list.args(["ps", "--filter", &format!("label=io.x-k8s.kind.cluster={cluster}")]);
    // Its load balancer has no containerd.
    list.args(["--format", "{{.Names}} {{.Label \"io.x-k8s.kind.role\"}}"]);
    let said = match run(list, docker).await {
        Err(Error::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoKind);
        }
        said => said?,
    };
    let nodes: Vec<&str> = said.lines().filter_map(node).collect();
    if nodes.is_empty() {
        return Err(Error::NoCluster { name: cluster.to_owned() });
    }
    for node in nodes {
        for archive in archives {
            let file = std::fs::File::open(archive)
                .map_err(|source| Error::Start { program: archive.display().to_string(), source })?;
            let mut import = Command::new(docker);
            import.args(["exec", "-i", node, "ctr", "--namespace=k8s.io", "images", "import", "-"]);
            import.stdin(Stdio::from(file));
            run(import, docker).await?;
        }
    }
    Ok(())
}

/// Of a line with a container's name and its role, the node.
fn node(line: &str) -> Option<&str> {
    let (name, role) = line.split_once(' ')?;
    matches!(role.trim(), "control-plane" | "worker").then_some(name)
}

/// Runs a program to its end; what it wrote to standard output.
async fn run(mut command: Command, program: &Path) -> Result<String, Error> {
    let started = command.kill_on_drop(true).output().await;
    let output = started.map_err(|source| Error::Start { program: program.display().to_string(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let arguments = command.as_std().get_args().map(|argument| argument.to_string_lossy());
    let arguments: Vec<_> = arguments.take(SHOWN).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let said = if said.is_empty() { output.status.to_string() } else { said.trim().to_owned() };
    Err(Error::Failed { command: format!("{} {}", program.display(), arguments.join(" ")), said })
}

/// As `make images` names them.
const ARCHIVES: [&str; 2] = ["adit-proxy.tar", "adit-node-agent.tar"];
/// Arguments of a program that failed which are told.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests;
