//! Writes records in the order in which they are told, on a thread where that blocks nobody.

use std::collections::BTreeSet;

use cni_plugin_wire::zds::PodUid;
use tokio::sync::{mpsc, oneshot};

use super::{Record, RecordError, Records};
use crate::redirect::chain;

/// Tells the writer; clones tell the same one.
#[derive(Clone, Debug)]
pub struct Writer(mpsc::UnboundedSender<Job>);

#[derive(Debug)]
enum Job {
    Save(Box<Record>, oneshot::Sender<()>),
    Forget(PodUid),
    Complete(bool),
}

/// The directory, and what it lacks.
struct Written {
    records: Records,
    /// Pods whose record could not be written: until it is, the records are not complete.
    missing: BTreeSet<String>,
    complete: bool,
}

impl Writer {
    /// The telling end, and the writer, which runs until every telling end is gone.
    pub fn new(records: Records) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, jobs) = mpsc::unbounded_channel();
        (Self(sender), write(records, jobs))
    }

    /// Keeps a record; answers when that was tried. A pod is enrolled also where records cannot be kept.
    pub async fn save(&self, record: Record) {
        let (done, written) = oneshot::channel();
        if self.0.send(Job::Save(Box::new(record), done)).is_ok() {
            // Without an answer the agent is ending.
            let _ = written.await;
        }
    }

    pub fn forget(&self, uid: PodUid) {
        let _ = self.0.send(Job::Forget(uid));
    }

    pub fn complete(&self, complete: bool) {
        let _ = self.0.send(Job::Complete(complete));
    }
}

async fn write(records: Records, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut written = Written { records, missing: BTreeSet::new(), complete: false };
    while let Some(job) = jobs.recv().await {
        let done = tokio::task::spawn_blocking(move || {
            written.carry_out(job);
            written
        });
        let Ok(back) = done.await else { return };
        written = back;
    }
}

impl Written {
    fn carry_out(&mut self, job: Job) {
        let before = self.is_complete();
        match job {
            Job::Save(record, done) => {
                let result = self.records.save(&record);
                self.note(&record.uid, result);
                self.mark(before);
                // Whoever waited may have ended.
                let _ = done.send(());
            }
            Job::Forget(uid) => {
                let result = self.records.forget(&uid);
                self.missing.remove(&uid.0);
                tell(result);
                self.mark(before);
            }
            Job::Complete(complete) => {
                self.complete = complete;
                self.mark(before);
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.complete && self.missing.is_empty()
    }

    fn note(&mut self, uid: &str, result: Result<(), RecordError>) {
        if result.is_ok() {
            self.missing.remove(uid);
        } else {
            self.missing.insert(uid.to_owned());
        }
        tell(result);
    }

    fn mark(&self, before: bool) {
        if self.is_complete() != before {
            tell(self.records.complete(self.is_complete()));
        }
    }
}

fn tell(result: Result<(), RecordError>) {
    if let Err(error) = result {
        let error = chain(&error);
        tracing::warn!(
            error,
            "a pod's record is not as it should be; an agent that restarts waits for the API instead"
        );
    }
}
