//! Writes log lines on a thread of its own: a stalled reader of our output never holds up a connection.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines waiting for the writer; further ones are counted and left out.
const QUEUE: usize = 10_000;

/// Hands lines to the writing thread.
#[derive(Clone)]
pub(super) struct LogWriter {
    lines: SyncSender<Vec<u8>>,
    /// Every line left out since the process began.
    lost: Counter,
}

/// Keeps the writing thread; dropping it writes what is queued, then ends the thread.
#[derive(Debug)]
pub struct LogGuard {
    stop: SyncSender<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

pub(super) fn spawn(out: impl Write + Send + 'static, lost: Counter) -> (LogWriter, LogGuard) {
    let (lines, queue) = sync_channel(QUEUE);
    let counted = lost.clone();
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(out, &queue, &counted))
        .ok();
    (LogWriter { lines: lines.clone(), lost }, LogGuard { stop: lines, thread })
}

fn write_lines(mut out: impl Write, queue: &Receiver<Vec<u8>>, lost: &Counter) {
    let mut told = 0;
    let mut batch = Vec::with_capacity(64 * 1024);
    // An empty line is the guard's word to stop.
    while let Ok(first) = queue.recv() {
        let mut stop = first.is_empty();
        batch.extend_from_slice(&first);
        while batch.len() < 48 * 1024 {
            let Ok(line) = queue.try_recv() else { break };
            stop |= line.is_empty();
            batch.extend_from_slice(&line);
        }
        let missing = lost.get() - told;
        if missing > 0 {
            told += missing;
            let note = format!("{missing} log lines were left out: the reader of this log is too slow\n");
            batch.extend_from_slice(note.as_bytes());
        }
        // Nowhere to report that the log itself cannot be written.
        let _ = out.write_all(&batch).and_then(|()| out.flush());
        batch.clear();
        if stop {
            return;
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let _ = self.stop.send(Vec::new());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One event's line, sent when the formatter is done with it.
pub(super) struct Line {
    bytes: Vec<u8>,
    to: LogWriter,
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { bytes: Vec::new(), to: self.clone() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return;
        }
        match self.to.lines.try_send(bytes) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.to.lost.inc();
            }
        }
    }
}
