//! Asking for single addresses: who waits for which key, and what was answered a moment ago.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

#[cfg(test)]
mod tests;

/// Whether the control plane has said what a key stands for, be it nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It has, and the sink has applied it.
    Answered,
    /// It has not, in the time there was.
    Unanswered,
}

/// Asks the control plane for addresses. Clones ask the same one.
#[derive(Debug, Clone)]
pub struct Demand {
    questions: mpsc::Sender<Question>,
    recent: Arc<Mutex<HashMap<String, Instant>>>,
}

#[derive(Debug)]
struct Question {
    key: String,
    answered: oneshot::Sender<()>,
}

/// The other end of [`Demand`]: what waits for an answer.
#[derive(Debug)]
pub struct Questions {
    queue: mpsc::Receiver<Question>,
    waiting: HashMap<String, Vec<oneshot::Sender<()>>>,
}

/// Both ends.
#[must_use]
pub fn demand() -> (Demand, Questions) {
    let (questions, queue) = mpsc::channel(QUEUED);
    (Demand { questions, recent: Arc::default() }, Questions { queue, waiting: HashMap::new() })
}

impl Demand {
    /// Asks for `network/ip`, a workload's uid or `namespace/hostname`, and waits until the answer is applied. What was
    /// answered within the last seconds is not asked again: most of it are addresses outside the mesh.
    pub async fn ask(&self, key: &str) -> Asked {
        if self.is_recent(key) {
            return Asked::Answered;
        }
        let (answered, waits) = oneshot::channel();
        let ask = async {
            let question = Question { key: key.to_owned(), answered };
            self.questions.send(question).await.ok()?;
            waits.await.ok()
        };
        match timeout(WAIT, ask).await {
            Ok(Some(())) => {
                self.remember(key);
                Asked::Answered
            }
            Ok(None) | Err(_) => Asked::Unanswered,
        }
    }

    fn is_recent(&self, key: &str) -> bool {
        self.recent.lock().get(key).is_some_and(|when| when.elapsed() < RECENT)
    }

    fn remember(&self, key: &str) {
        let mut recent = self.recent.lock();
        if recent.len() >= REMEMBERED {
            recent.retain(|_, when| when.elapsed() < RECENT);
        }
        // A flood of keys costs questions, never memory.
        if recent.len() < REMEMBERED {
            recent.insert(key.to_owned(), Instant::now());
        }
    }
}

impl Questions {
    /// The next key that nobody waits for yet; pending for ever once nobody can ask.
    pub(crate) async fn next(&mut self) -> String {
        while let Some(Question { key, answered }) = self.queue.recv().await {
            if let Some(others) = self.waiting.get_mut(&key) {
                others.retain(|other| !other.is_closed());
                others.push(answered);
            } else if self.waiting.len() < WAITING {
                self.waiting.insert(key.clone(), vec![answered]);
                return key;
            }
            // Dropped: too many keys are waited for, and this one counts as unanswered at once.
        }
        std::future::pending().await
    }

    /// Wakes who waits for these keys.
    pub(crate) fn answered(&mut self, keys: &[String]) {
        for waiter in keys.iter().filter_map(|key| self.waiting.remove(key)).flatten() {
            waiter.send(()).ok(); // whoever gave up meanwhile needs no answer
        }
    }

    /// Keys that nobody waits for any more, when there is hardly room for new ones.
    pub(crate) fn abandoned(&mut self) -> Vec<String> {
        if self.waiting.len() < WAITING / 2 {
            return Vec::new();
        }
        let idle = |waiters: &Vec<oneshot::Sender<()>>| waiters.iter().all(oneshot::Sender::is_closed);
        let (gone, kept) = std::mem::take(&mut self.waiting).into_iter().partition(|(_, w)| idle(w));
        self.waiting = kept;
        let gone: HashMap<_, _> = gone;
        gone.into_keys().collect()
    }
}

/// How long a connection waits: as long as for its own workload.
const WAIT: Duration = Duration::from_secs(5);
/// How long an answer counts.
const RECENT: Duration = Duration::from_secs(5);
const REMEMBERED: usize = 16_384;
/// Keys waited for at once.
const WAITING: usize = 1024;
const QUEUED: usize = 256;
