//! Runs trials, each in a lab process of its own, in parallel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, thread};

use libtest_mimic::{Arguments, Failed};

use super::isolate::{self, Privilege, Stage};
use super::{binaries, external, logs};

/// A promise and how to check it.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// The promise, as `area::sentence`.
    pub name: &'static str,
    /// Panics when the promise is broken.
    pub check: fn(),
}

/// Names functions as trials: `trials![capture::a_pair_talks, drain::nothing_is_lost]`.
#[macro_export]
macro_rules! trials {
    ($($check:path),* $(,)?) => {
        [$($crate::lab::Trial { name: stringify!($check), check: $check }),*]
    };
}

/// The `main` of a suite of trials.
pub fn main(trials: &[Trial]) -> ExitCode {
    match Stage::current() {
        Stage::Outside => outside(trials),
        Stage::Between(privilege) => isolate::between(privilege),
        Stage::Inside => inside(trials),
    }
}

/// The `main` of a program that is a lab as a whole. `body` is told the PID by which the outside knows the lab.
pub fn isolated(body: impl FnOnce(&str) -> ExitCode) -> ExitCode {
    match Stage::current() {
        Stage::Outside => match isolate::probe() {
            Ok(privilege) => match isolate::next(privilege).env(TRIAL, "whole program").status() {
                Ok(status) => status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1).into(),
                Err(why) => refuse(&why.to_string()),
            },
            Err(why) => refuse(&why),
        },
        Stage::Between(privilege) => isolate::between(privilege),
        Stage::Inside => match isolate::furnish() {
            Ok(_) if env::var(TRIAL).as_deref() == Ok(isolate::PROBE) => ExitCode::SUCCESS,
            Ok(pid) => {
                logs::record();
                body(&pid)
            }
            Err(why) => refuse(&why),
        },
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{NO_LAB}: {why}");
    ExitCode::FAILURE
}

fn outside(trials: &[Trial]) -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, mimic(trials, Privilege::Root, None)).exit_code();
    }
    let privilege = match isolate::probe() {
        Ok(privilege) => privilege,
        Err(why) => return refuse(&why),
    };
    // Alive as long as this process; the labs find it in their environment.
    let socket = external::offer();
    eprintln!("labs in namespaces of their own ({privilege:?}); {}", binaries::describe());
    let conclusion = libtest_mimic::run(&arguments, mimic(trials, privilege, socket.as_deref()));
    if let Some(socket) = socket {
        let _ = std::fs::remove_file(socket);
    }
    conclusion.exit_code()
}

fn mimic(trials: &[Trial], privilege: Privilege, control: Option<&Path>) -> Vec<libtest_mimic::Trial> {
    let each = |trial: &Trial| {
        let (name, control) = (trial.name, control.map(Path::to_owned));
        libtest_mimic::Trial::test(name, move || start(name, privilege, control.as_deref()))
    };
    trials.iter().map(each).collect()
}

/// Runs one trial in its own process; its output is told only when it fails.
fn start(name: &str, privilege: Privilege, control: Option<&Path>) -> Result<(), Failed> {
    let output = isolate::next(privilege)
        .env(TRIAL, name)
        .envs(control.map(|socket| (external::SOCKET, socket)))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("execute the suite again: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{} ended with {}\n{out}{err}", name, output.status).into())
}

fn inside(trials: &[Trial]) -> ExitCode {
    if let Err(why) = isolate::furnish() {
        return refuse(&why);
    }
    let name = env::var(TRIAL).unwrap_or_default();
    if name == isolate::PROBE {
        return ExitCode::SUCCESS;
    }
    let Some(trial) = trials.iter().find(|t| t.name == name) else {
        return refuse(&format!("no trial is called {name:?}"));
    };
    logs::record();
    let done = watchdog(&name);
    let outcome = catch_unwind(AssertUnwindSafe(trial.check));
    let _ = done.send(());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => {
            logs::print(LOG_LINES);
            logs::keep(&name);
            ExitCode::FAILURE
        }
    }
}

/// Ends a trial that hangs, with its logs. It sleeps until then or until the trial is done.
fn watchdog(name: &str) -> mpsc::Sender<()> {
    let (done, ends) = mpsc::channel();
    let name = name.to_owned();
    thread::spawn(move || {
        let limit = limit();
        if ends.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("the trial takes longer than {limit:?}");
            logs::print(LOG_LINES);
            logs::keep(&name);
            std::process::exit(1);
        }
    });
    done
}

/// No trial takes longer; most take a few seconds. A suite whose trials are whole clusters gives them more seconds by
/// `ADIT_LAB_LIMIT`.
fn limit() -> Duration {
    let given = env::var("ADIT_LAB_LIMIT").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(given.unwrap_or(180))
}

const NO_LAB: &str = "no lab can be built here: it takes root, or user namespaces for everybody";
/// Which trial a lab process checks.
const TRIAL: &str = "ADIT_LAB_TRIAL";
/// Lines of each log that a failure shows.
const LOG_LINES: usize = 60;
