//! Traffic that counts what fails: connections that stay open, and a stream of new ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tests::lab::{Conn, Netns};

/// Running traffic from one namespace to an echo server.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Connections and exchanges that were served.
    pub(crate) served: u64,
    /// What was not, and why.
    pub(crate) failed: Vec<String>,
}

impl Load {
    /// Keeps one connection to the first address busy, and opens new ones to each in its turn.
    pub(crate) fn start(from: &Netns, to: Vec<SocketAddr>) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            served: Arc::default(),
            failed: Arc::default(),
            threads: Vec::new(),
        };
        let (from_one, first) = (from.clone(), to[0]);
        let mut held = None;
        load.spawn(move |round| {
            let conn = match &mut held {
                Some(conn) => conn,
                None if round == 0 => {
                    held.insert(Conn::open(&from_one, first).map_err(|e| format!("the long one: {e}"))?)
                }
                None => return Ok(()),
            };
            exchange(conn, round).map_err(|e| format!("round {round} of the long connection: {e}"))
        });
        let from = from.clone();
        load.spawn(move |round| {
            let to = to[usize::try_from(round).unwrap_or(0) % to.len()];
            let mut conn = Conn::open(&from, to).map_err(|e| format!("new connection {round}: {e}"))?;
            exchange(&mut conn, round).map_err(|e| format!("exchange on new connection {round}: {e}"))
        });
        load
    }

    fn spawn(&mut self, mut each: impl FnMut(u64) -> Result<(), String> + Send + 'static) {
        let (stop, served, failed) =
            (Arc::clone(&self.stop), Arc::clone(&self.served), Arc::clone(&self.failed));
        self.threads.push(std::thread::spawn(move || {
            let mut round = 0;
            while !stop.load(Ordering::Acquire) {
                match each(round) {
                    Ok(()) => drop(served.fetch_add(1, Ordering::AcqRel)),
                    Err(why) => failed.lock().push(why),
                }
                round += 1;
                std::thread::sleep(PAUSE);
            }
        }));
    }

    /// How much was served so far.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Acquire)
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            let _ = thread.join();
        }
        let failed = std::mem::take(&mut *self.failed.lock());
        Outcome { served: self.served.load(Ordering::Acquire), failed }
    }
}

fn exchange(conn: &mut Conn, round: u64) -> std::io::Result<()> {
    let text = format!("{SECRET} {round}");
    conn.try_say(&text)?;
    conn.try_hear(&text)
}

/// What must never be seen on the wire.
pub(crate) const SECRET: &str = "only-in-the-tunnel";
const PAUSE: Duration = Duration::from_millis(10);
