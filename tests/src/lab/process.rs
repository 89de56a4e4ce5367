//! A program that runs in a namespace, with its output in a file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;

use super::eventually::eventually;
use super::netns::Netns;

/// What to run.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
}

impl Program {
    /// A program by its path; only `PATH` of the lab's environment reaches it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), env: Vec::new() }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment; the last setting of a name wins.
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.env.retain(|(k, _)| k != key);
        self.env.push((key.to_owned(), value));
        self
    }

    /// The command of the standard library.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        command.args(&self.args).env_clear().env("PATH", path);
        command.envs(self.env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        command
    }

    /// Starts it in `netns`, its output appended to `log`.
    #[track_caller]
    pub fn start(&self, name: &str, netns: &Netns, log: &Path) -> Process {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).expect("a folder for the log");
        }
        let out = File::options().create(true).append(true).open(log).expect("a log file");
        let err = out.try_clone().expect("the log file again");
        let child = netns.run(|| {
            self.command()
                .stdin(Stdio::null())
                .stdout(Stdio::from(out))
                .stderr(Stdio::from(err))
                .spawn()
                .unwrap_or_else(|e| panic!("start {name} ({}): {e}", self.path.display()))
        });
        Process(Arc::new(Running {
            name: name.to_owned(),
            pid: Pid::from_raw(i32::try_from(child.id()).expect("a PID")),
            child: Mutex::new(child),
            log: log.to_owned(),
        }))
    }
}

/// A program that was started; clones are the same one. It is killed with its last clone.
#[derive(Debug, Clone)]
pub struct Process(Arc<Running>);

#[derive(Debug)]
struct Running {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// What the lab calls it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its PID inside the lab.
    pub fn pid(&self) -> i32 {
        self.0.pid.as_raw()
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.0.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Sends a signal; a process that has ended already is left alone.
    pub fn signal(&self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill(self.0.pid, signal);
        }
    }

    /// How it ended, when it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.0.child.lock().try_wait().expect("a child of the lab")
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&self) -> ExitStatus {
        eventually(format_args!("{} ends", self.0.name), || self.ended().ok_or("still running"))
    }

    /// Ends it at once, without asking.
    pub fn kill(&self) {
        let mut child = self.0.child.lock();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Fails the trial with its log when it has ended.
    #[track_caller]
    pub fn assert_running(&self) {
        if let Some(status) = self.ended() {
            panic!("{} ended with {status}:\n{}", self.0.name, tail(&self.log(), 40));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
