//! Work inside another network namespace, on a thread made for it and thrown away after it.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::RedirectError;

/// Runs `work` inside `netns` and waits for it. The calling thread stays where it is: threads of a pool must never
/// be left in a pod's namespace. Programs that `work` starts run inside too.
///
/// # Errors
///
/// [`RedirectError::Enter`] when `netns` is no network namespace or may not be entered.
pub fn in_netns<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, RedirectError> {
    on_own_thread(|| setns(netns, CloneFlags::CLONE_NEWNET), work)
}

/// Runs `work` inside a new, empty network namespace, which ends with it.
pub(crate) fn in_new_netns<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, RedirectError> {
    on_own_thread(|| unshare(CloneFlags::CLONE_NEWNET), work)
}

fn on_own_thread<T: Send>(
    enter: impl FnOnce() -> nix::Result<()> + Send,
    work: impl FnOnce() -> T + Send,
) -> Result<T, RedirectError> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || {
                enter().map_err(|errno| RedirectError::Enter(errno.into()))?;
                Ok(work())
            })
            .map_err(RedirectError::Thread)?
            .join()
            .map_err(|_| RedirectError::Panicked)?
    })
}

/// Keeps other changes away from the current namespace's rules, those of another agent's too, while this lives: what is
/// added depends on what was there.
pub(crate) fn lock_current() -> Result<File, RedirectError> {
    let file = File::open("/proc/thread-self/ns/net").map_err(RedirectError::Examine)?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(RedirectError::Examine(error)),
        }
    }
    Err(RedirectError::Busy)
}

/// Refuses the namespace that the calling thread is in.
pub(crate) fn refuse_own(netns: BorrowedFd<'_>) -> Result<(), RedirectError> {
    let examine = || -> io::Result<bool> {
        let given = nix::sys::stat::fstat(netns)?;
        let own = std::fs::metadata("/proc/thread-self/ns/net")?;
        Ok((given.st_dev, given.st_ino) == (own.dev(), own.ino()))
    };
    if examine().map_err(RedirectError::Examine)? { Err(RedirectError::OwnNamespace) } else { Ok(()) }
}

/// Ten seconds in all.
const LOCK_ATTEMPTS: u32 = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
