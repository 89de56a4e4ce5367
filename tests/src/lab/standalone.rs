//! A lab as a machine without a cluster: the program `adit-control` and the agents share a directory of YAML.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use parking_lot::Mutex;
use serde_json::Value;

use super::authority::Authority;
use super::cluster::{Cluster, Follower, Key, ObjectsDirectory};
use super::eventually::eventually;
use super::netns::Netns;
use super::pod::REDIRECTION;
use super::process::{Process, Program};
use super::{HOME, binaries, plan};

/// The running `adit-control` and its directory.
#[derive(Debug)]
pub struct Standalone {
    directory: PathBuf,
    program: Program,
    process: Mutex<Process>,
}

impl Standalone {
    /// Starts it on the underlay, with `statuses` as the directories that agents write to, and waits for its root.
    #[track_caller]
    pub(super) fn start(cluster: &Cluster, listen: SocketAddr, statuses: &[PathBuf], root: &Path) -> Self {
        let home = Path::new(HOME);
        let directory = home.join("cluster");
        cluster.follow(Box::new(AsWritten(ObjectsDirectory::new(directory.clone()))));
        let program = Program::new(binaries::find("adit-control"))
            .env("RUST_LOG", "info")
            .arg("--dir")
            .arg(&directory)
            .args(["--listen".to_owned(), listen.to_string()])
            .args(["--tls-names".to_owned(), plan::CONTROL_PLANE.to_string()])
            .arg("--root-out")
            .arg(root);
        let program = statuses.iter().fold(program, |program, dir| program.arg("--status-dir").arg(dir));
        let process = Mutex::new(begin(&program));
        let running = Self { directory, program, process };
        eventually("adit-control serves", || {
            running.process().assert_running();
            if root.is_file() { Ok(()) } else { Err("no root certificate yet") }
        });
        running
    }

    /// Its process.
    pub fn process(&self) -> Process {
        self.process.lock().clone()
    }

    /// Ends it at once and starts it again, signing as `authority`, and handing out the roots of `others` beside its own.
    #[track_caller]
    pub fn restart_as(&self, authority: &Authority, others: &[&Authority]) {
        let (bundle, key) = authority.files(others);
        self.process().kill();
        let program = self.program.clone().arg("--ca-cert").arg(bundle).arg("--ca-key").arg(key);
        *self.process.lock() = begin(&program);
    }

    /// Gives a node's agent the same directory under the name that the agent knows.
    #[track_caller]
    pub(super) fn share(&self, pods: &Path) {
        std::os::unix::fs::symlink(&self.directory, pods).expect("a link to the directory of objects");
    }

    /// Puts a file into the directory, whole, as editors do.
    #[track_caller]
    pub fn drop_file(&self, name: &str, text: &str) {
        let aside = self.directory.join(format!(".{name}.new"));
        fs::write(&aside, text).expect("a file of objects");
        fs::rename(&aside, self.directory.join(name)).expect("put a file of objects in place");
    }

    /// Takes a file away; one that is gone already is fine.
    #[track_caller]
    pub fn remove_file(&self, name: &str) {
        match fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("remove {name}: {error}"),
            Ok(()) | Err(_) => {}
        }
    }

    /// The files in which this text occurs.
    #[track_caller]
    pub fn mentions(&self, text: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.directory).expect("the directory of objects").flatten();
        let paths = files.map(|file| file.path());
        paths.filter(|path| fs::read_to_string(path).is_ok_and(|file| file.contains(text))).collect()
    }
}

#[track_caller]
fn begin(program: &Program) -> Process {
    program.start("adit-control", &Netns::current("underlay"), &Path::new(HOME).join("control.log"))
}

/// Objects as a person writes them: without UIDs, and without what agents said of pods.
struct AsWritten(ObjectsDirectory);

impl Follower for AsWritten {
    fn changed(&self, key: &Key, new: Option<&Value>) {
        let plain = new.cloned().map(|mut object| {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("uid");
                if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                    annotations.remove(REDIRECTION);
                }
            }
            object
        });
        self.0.changed(key, plain.as_ref());
    }
}
