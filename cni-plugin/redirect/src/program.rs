//! Finding the system's programs and running them in the namespace of the calling thread.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::RedirectError;

/// The agent's PATH need not hold the system's programs.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin", "/usr/local/bin"]
        .into_iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

/// Answers what the program prints; it must succeed.
pub(crate) fn run(program: &Path, arguments: &[&str], input: Option<&str>) -> Result<String, RedirectError> {
    let spawned = |source| RedirectError::Spawn { program: program.display().to_string(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .env(LEGACY_LOCK.0, LEGACY_LOCK.1)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(spawned)?;
    // A program that gives up early closes its input; what it then says on stderr is the better error.
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
        let _ = pipe.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(spawned)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(RedirectError::Command {
        program: program.display().to_string(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// iptables-legacy locks a file, by default one that all pods share and that needs a directory to write to. The namespace is
/// locked already, so each program gets a file that is its own. Programs before 1.8.6 take /run/xtables.lock all the same.
const LEGACY_LOCK: (&str, &str) = ("XTABLES_LOCKFILE", "/proc/self/stat");
