//! Puts a whole lab into namespaces of its own by executing the current program twice more.
//!
//! The first execution unshares while it is single-threaded, as the kernel asks for; the second is process 1 of the
//! new PID namespace, so that nothing a lab starts outlives it.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::plan;

/// How a lab gets the right to build networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// A user namespace of its own: any user where the kernel allows, and root too.
    UserNamespace,
    /// The caller is root already and user namespaces are forbidden.
    Root,
}

/// Which of its executions the current program is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Started by a person or by cargo.
    Outside,
    /// Has to unshare and start the next.
    Between(Privilege),
    /// Process 1 of the lab.
    Inside,
}

const STAGE: &str = "ADIT_LAB_STAGE";
const PRIVILEGE: &str = "ADIT_LAB_PRIVILEGE";

/// Set, it keeps labs in the user namespace of their caller, who is root: containers need that.
pub const AS_ROOT: &str = "ADIT_LAB_AS_ROOT";

/// Exit status of a stage that could not set its namespaces up.
const NO_NAMESPACES: u8 = 125;

/// The lab's files: logs, sockets, tokens, pod directories. A tmpfs that ends with the lab.
pub const HOME: &str = "/run/lab";

impl Stage {
    /// Reads the stage that the previous execution left in the environment.
    pub(super) fn current() -> Self {
        match env::var(STAGE).as_deref() {
            Ok("inside") => Self::Inside,
            Ok("between") => Self::Between(match env::var(PRIVILEGE).as_deref() {
                Ok("root") => Privilege::Root,
                _ => Privilege::UserNamespace,
            }),
            _ => Self::Outside,
        }
    }
}

/// A command that runs the current program as the given stage, with the current arguments.
pub(super) fn next(privilege: Privilege) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of the current program"));
    command.args(env::args_os().skip(1)).env(STAGE, "between").env("RUST_BACKTRACE", "0").env(
        PRIVILEGE,
        match privilege {
            Privilege::UserNamespace => "user-namespace",
            Privilege::Root => "root",
        },
    );
    command
}

/// Finds out, by doing it once, how labs can be built here; the text of both failures otherwise.
pub(super) fn probe() -> Result<Privilege, String> {
    let mut why = Vec::new();
    let usual: &[Privilege] = &[Privilege::UserNamespace, Privilege::Root];
    let tried = if env::var_os(AS_ROOT).is_some() { &usual[1..] } else { usual };
    for &privilege in tried {
        let output = next(privilege)
            .env("ADIT_LAB_TRIAL", PROBE)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("execute the current program again: {e}"))?;
        if output.status.success() {
            return Ok(privilege);
        }
        why.push(format!("{privilege:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Err(why.join("; "))
}

/// The flag by which `nsenter` enters a lab's user namespace, with a space after it; empty when it has none.
pub fn enter_user() -> &'static str {
    match env::var(PRIVILEGE).as_deref() {
        Ok("root") => "",
        _ => "--user ",
    }
}

/// The name of the trial that only enters its namespaces.
pub(super) const PROBE: &str = "probe";

/// Unshares everything and runs the inside stage to its end.
pub(super) fn between(privilege: Privilege) -> ExitCode {
    if let Err(why) = unshare_all(privilege) {
        eprintln!("{why}");
        return ExitCode::from(NO_NAMESPACES);
    }
    let program = env::current_exe().expect("the path of the current program");
    let status = Command::new(program).args(env::args_os().skip(1)).env(STAGE, "inside").status();
    match status {
        Ok(status) => ExitCode::from(
            status
                .code()
                .or_else(|| status.signal().map(|s| 128 + s))
                .and_then(|c| u8::try_from(c).ok())
                .unwrap_or(1),
        ),
        Err(why) => {
            eprintln!("start process 1 of the lab: {why}");
            ExitCode::from(NO_NAMESPACES)
        }
    }
}

fn unshare_all(privilege: Privilege) -> Result<(), String> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("ask to die with the parent: {e}"))?;
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if privilege == Privilege::UserNamespace {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|e| format!("unshare {flags:?}: {e}"))?;
    if privilege == Privilege::UserNamespace {
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    }
    mount_on("none", "/", None, MsFlags::MS_REC | MsFlags::MS_SLAVE)
}

/// Furnishes the inside: `/proc` of the new PID namespace, an empty `/run`, a resolver file. Answers the PID by which
/// the outside knows this process.
pub(super) fn furnish() -> Result<String, String> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("ask to die with the parent: {e}"))?;
    // The old /proc still answers for the namespace that it was mounted in.
    let outside = fs::read_link("/proc/self").map_err(|e| format!("read /proc/self: {e}"))?;
    mount_on("proc", "/proc", Some("proc"), MsFlags::empty())?;
    mount_on("lab", "/run", Some("tmpfs"), MsFlags::empty())?;
    for folder in [HOME, "/run/netns", "/run/lock"] {
        fs::create_dir_all(folder).map_err(|e| format!("create {folder}: {e}"))?;
    }
    resolver()?;
    Ok(outside.display().to_string())
}

/// Gives the lab a resolver file that names its own server, by the addresses that pods of either family reach.
fn resolver() -> Result<(), String> {
    let path = Path::new("/etc/resolv.conf");
    let text = format!("nameserver {}\nnameserver {}\n", plan::CONTROL_PLANE, plan::CONTROL_PLANE_V6);
    let ours = PathBuf::from(HOME).join("resolv.conf");
    fs::write(&ours, &text).map_err(|e| format!("write {}: {e}", ours.display()))?;
    if path.exists() {
        return mount_on(&ours.display().to_string(), "/etc/resolv.conf", None, MsFlags::MS_BIND);
    }
    // A link into the old /run: make what it points to.
    if let Ok(target) = fs::read_link(path) {
        let target = Path::new("/etc").join(target);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|e| format!("create {}: {e}", folder.display()))?;
        }
        fs::write(&target, &text).map_err(|e| format!("write {}: {e}", target.display()))?;
    }
    Ok(())
}

fn write(path: &str, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("write {text:?} to {path}: {e}"))
}

fn mount_on(what: &str, on: &str, kind: Option<&str>, flags: MsFlags) -> Result<(), String> {
    mount(Some(what), on, kind, flags, None::<&str>).map_err(|e| format!("mount {what} on {on}: {e}"))
}
