//! The system's programs, fewer of them, or counted ones, for one thread and what it starts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs `work` on a thread that has no programs whose names are one of `stems`, alone or with a dash after it.
pub(crate) fn without(stems: &[&str], work: impl FnOnce() + Send) {
    let gone = |name: &str| {
        stems
            .iter()
            .any(|stem| name.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    };
    with_programs(|name, real| (!gone(name)).then(|| Program::Link(real.to_owned())), work);
}

/// Runs `work` on a thread where starts of nft and of iptables are counted.
pub(crate) fn counting(work: impl FnOnce(&dyn Fn() -> usize) + Send) {
    let log = unique("starts");
    fs::write(&log, "").unwrap();
    let counted = |name: &str| name == "nft" || name.starts_with("ip") && name.contains("tables");
    with_programs(
        |name, real| {
            let counting = format!("#!/bin/sh\necho >> {log}\nexec {real} \"$@\"\n");
            Some(if counted(name) { Program::Script(counting) } else { Program::Link(real.to_owned()) })
        },
        || work(&|| fs::read_to_string(&log).unwrap().lines().count()),
    );
}

enum Program {
    Link(String),
    Script(String),
}

/// In a mount namespace of its own, the system's programs are what `program` makes of each name and where it really is.
fn with_programs(program: impl Fn(&str, &str) -> Option<Program> + Sync, work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let prepare = || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let (real, nothing) = (unique("sbin"), None::<&str>);
            fs::create_dir(&real).unwrap();
            mount(Some(PROGRAMS), real.as_str(), nothing, MsFlags::MS_BIND, nothing).unwrap();
            mount(Some("sbin"), PROGRAMS, Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
            for entry in fs::read_dir(&real).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let path = format!("{PROGRAMS}/{name}");
                match program(&name, &format!("{real}/{name}")) {
                    Some(Program::Link(to)) => std::os::unix::fs::symlink(to, path).unwrap(),
                    Some(Program::Script(text)) => {
                        fs::write(&path, text).unwrap();
                        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                    }
                    None => {}
                }
            }
            work();
        };
        if let Err(panic) = scope.spawn(prepare).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("/run/{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

const PROGRAMS: &str = "/usr/sbin";
