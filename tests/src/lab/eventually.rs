//! Waiting for a condition, with a deadline and the last thing seen.

use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

/// How long a condition may take. Generous: a loaded machine is not a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until the answer is `Ok`; panics with the last `Err` when [`PATIENCE`] has run out.
#[track_caller]
pub fn eventually<T, E: Display>(what: impl Display, ask: impl FnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, ask)
}

/// As [`eventually`], for a value that must come to equal `want`.
#[track_caller]
pub fn eventually_is<T: PartialEq + Debug>(what: impl Display, want: T, mut ask: impl FnMut() -> T) {
    eventually(what, || {
        let seen = ask();
        if seen == want { Ok(()) } else { Err(format!("want {want:?}, last saw {seen:?}")) }
    });
}

/// As [`eventually`], with a deadline of its own.
#[track_caller]
pub fn within<T, E: Display>(
    limit: Duration,
    what: impl Display,
    mut ask: impl FnMut() -> Result<T, E>,
) -> T {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(seen) => return seen,
            Err(last) if began.elapsed() > limit => {
                panic!("{what}: not within {limit:?}; last: {last}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Asks again and again for `time`; panics with the first `Err`: what must not happen did not happen.
#[track_caller]
pub fn always<E: Display>(time: Duration, what: impl Display, mut ask: impl FnMut() -> Result<(), E>) {
    let began = Instant::now();
    while began.elapsed() < time {
        if let Err(why) = ask() {
            panic!("{what}: broken after {:?}: {why}", began.elapsed());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Between two questions; nothing waits a fixed time for something to have happened.
const PAUSE: Duration = Duration::from_millis(15);
