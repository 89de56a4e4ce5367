//! CPU time of single processes and of the whole machine, as the kernel accounts it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Reads the CPU time of the two proxies, of this process and of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauge {
    /// PIDs of the proxies of node a and of node b.
    pub(super) proxies: [i32; 2],
}

/// One reading.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    at: Instant,
    proxies: [Threads; 2],
    load: Threads,
    busy: f64,
}

/// What was spent between two readings, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) proxies: [f64; 2],
    pub(super) load: f64,
    pub(super) busy: f64,
    pub(super) elsewhere: f64,
    pub(super) window: f64,
}

impl Gauge {
    /// Reads everything now.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            proxies: self.proxies.map(|pid| Threads::of(&pid.to_string())),
            load: Threads::of("self"),
            busy: busy(&read("/proc/stat")),
        }
    }

    /// Waits until the proxies have done what the load left behind: closing, logging.
    pub(super) async fn settle(&self) {
        let spent = || self.proxies.map(|pid| Threads::of(&pid.to_string()));
        let began = Instant::now();
        let mut before = spent();
        while began.elapsed() < PATIENCE {
            tokio::time::sleep(PAUSE).await;
            let now = spent();
            let idle = before.iter().zip(&now).all(|(before, now)| now.since(before) < IDLE);
            before = now;
            if idle {
                return;
            }
        }
    }
}

impl Mark {
    /// What was spent since an earlier reading.
    pub(super) fn since(&self, before: &Self) -> Spent {
        let [a, b] = &self.proxies;
        let proxies = [a.since(&before.proxies[0]), b.since(&before.proxies[1])];
        let busy = (self.busy - before.busy).max(0.0);
        let load = self.load.since(&before.load);
        Spent {
            proxies,
            load,
            busy,
            elsewhere: (busy - proxies[0] - proxies[1] - load).max(0.0),
            window: self.at.duration_since(before.at).as_secs_f64(),
        }
    }
}

/// CPU time of each thread of one process, in nanoseconds.
#[derive(Debug, Clone, Default)]
struct Threads(BTreeMap<String, u64>);

impl Threads {
    /// The threads that `/proc/<process>/task` lists. One that ends meanwhile is left out.
    #[track_caller]
    fn of(process: &str) -> Self {
        let folder = format!("/proc/{process}/task");
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("read {folder}: {e}"));
        let thread = |entry: fs::DirEntry| {
            let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), ran(&text)?))
        };
        Self(entries.flatten().filter_map(thread).collect())
    }

    /// Seconds spent since an earlier reading. What a thread spent that has ended since is not known.
    fn since(&self, before: &Self) -> f64 {
        let spent = |(thread, now): (&String, &u64)| {
            now.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        };
        Duration::from_nanos(self.0.iter().map(spent).sum()).as_secs_f64()
    }
}

/// The first field of a schedstat: nanoseconds on a CPU.
fn ran(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// Seconds that the machine's CPUs were busy, of the text of `/proc/stat`. Stolen time is not ours, waiting is not busy.
fn busy(stat: &str) -> f64 {
    let cpu = stat.lines().find_map(|line| line.strip_prefix("cpu ")).expect("the line of all CPUs");
    let ticks: Vec<u64> = cpu.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        panic!("/proc/stat has {} fields", ticks.len());
    };
    (user + nice + system + irq + softirq) as f64 / TICKS_PER_SECOND
}

#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("read {path}: {e}"))
}

/// What `/proc/stat` counts in, on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;
/// A proxy that spends less than this, in seconds, between two looks has nothing left to do.
const IDLE: f64 = 0.000_3;
const PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
