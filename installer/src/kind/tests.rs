use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::output::Format;

/// A folder with the archives, and programs that write down what they are asked.
struct Bench {
    home: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("adit-kind-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(&home).unwrap();
        for archive in ARCHIVES {
            std::fs::write(home.join(archive), archive).unwrap();
        }
        Self { home }
    }

    fn program(self, name: &str, script: &str) -> Self {
        let path = self.home.join(name);
        let log = self.home.join("asked");
        let text = format!("#!/bin/sh\necho \"{name} $*\" >>{}\n{script}\n", log.display());
        // A program that is open for writing cannot be started, and a child of another test may have it open.
        let fresh = self.home.join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
        let copied = std::process::Command::new("cp").arg("-p").arg(&fresh).arg(&path).status().unwrap();
        assert!(copied.success());
        self
    }

    fn load(&self) -> Result<(), Error> {
        let programs = Programs { kind: self.home.join("kind"), docker: self.home.join("docker") };
        let output = Output::to(Format::Table, Box::new(Vec::new()), Box::new(Vec::new()), None);
        runtime().block_on(load(&programs, "dev", &self.home, &output))
    }

    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.home.join("asked")).unwrap_or_default();
        text.replace(&format!("{}/", self.home.display()), "").lines().map(str::to_owned).collect()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

#[test]
fn kind_loads_both_archives_where_it_is_there() {
    let bench = Bench::new("kind").program("kind", "exit 0");
    bench.load().unwrap();
    assert_eq!(bench.asked(), ["kind load image-archive --name dev adit-proxy.tar adit-node-agent.tar"]);
}

#[test]
fn without_kind_docker_brings_the_archives_into_every_node_but_the_load_balancer() {
    let nodes =
        "printf 'dev-control-plane control-plane\\ndev-worker worker\\ndev-lb external-load-balancer\\n'";
    let script = format!("case \"$1\" in ps) {nodes};; exec) cat >/dev/null;; esac");
    let bench = Bench::new("docker").program("docker", &script);
    bench.load().unwrap();
    let asked = bench.asked();
    let import = |node: &str| format!("docker exec -i {node} ctr --namespace=k8s.io images import -");
    let (cp, worker) = (import("dev-control-plane"), import("dev-worker"));
    assert_eq!(asked.get(1..).unwrap(), [cp.clone(), cp, worker.clone(), worker]);
}

#[test]
fn each_thing_that_is_missing_is_named() {
    let bench = Bench::new("none");
    assert!(matches!(bench.load(), Err(Error::NoKind)));
    std::fs::remove_file(bench.home.join("adit-node-agent.tar")).unwrap();
    let Err(Error::NoArchive { path }) = bench.load() else { panic!("an archive is missing") };
    assert_eq!(path, bench.home.join("adit-node-agent.tar"));

    let said = "echo 'ERROR: no nodes found for cluster \"dev\"' >&2; exit 1";
    let bench = Bench::new("cluster").program("kind", said);
    let Err(Error::NoCluster { name }) = bench.load() else { panic!("there is no cluster") };
    assert_eq!(name, "dev");

    let bench = Bench::new("broken").program("kind", "echo 'no space left' >&2; exit 1");
    let Err(Error::Failed { said, .. }) = bench.load() else { panic!("kind failed") };
    assert_eq!(said, "no space left");
}
