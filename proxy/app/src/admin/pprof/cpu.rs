//! Where the CPU time goes: what each thread does, asked at regular moments of the process's time.

use std::time::Duration;

use hyper::StatusCode;
use pprof::{ProfilerGuardBuilder, Report};

use super::Writer;
use crate::http_server::{Answer, text, typed};

/// Unwinding there can wait for a lock that the interrupted code holds.
const NOT_INSIDE: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// Samples for `seconds` (1 to 300, 10 unless told) at `frequency` (1 to 1,000 times a second, 100 unless told).
pub(in crate::admin) async fn cpu(query: &str) -> Answer {
    let Some(seconds) = number(query, "seconds", 10, 300) else {
        return text(StatusCode::BAD_REQUEST, "invalid seconds value; expected 1-300\n");
    };
    let Some(frequency) = number(query, "frequency", 100, 1_000) else {
        return text(StatusCode::BAD_REQUEST, "invalid frequency value; expected 1-1000\n");
    };
    let builder = ProfilerGuardBuilder::default().frequency(frequency).blocklist(&NOT_INSIDE);
    let guard = match builder.build() {
        Ok(guard) => guard,
        // Most likely another profile is being taken: there is one timer for all.
        Err(error) => {
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("no profile can be taken now: {error}\n"),
            );
        }
    };
    // Dropped with the guard when the client goes away.
    tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs().into())).await;
    let written = tokio::task::spawn_blocking(move || guard.report().build().map(|report| write(&report)));
    match written.await {
        Ok(Ok(profile)) => typed(StatusCode::OK, "application/octet-stream", profile),
        Ok(Err(_)) | Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the profile cannot be written\n"),
    }
}

/// A parameter of the query between one and `most`; `None` when it is anything else.
fn number(query: &str, name: &str, default: i32, most: i32) -> Option<i32> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(key, _)| *key == name) {
        None => Some(default),
        Some((_, value)) => value.parse().ok().filter(|value| (1..=most).contains(value)),
    }
}

fn write(report: &Report) -> Vec<u8> {
    let timing = &report.timing;
    let period = 1_000_000_000 / i64::from(timing.frequency.max(1));
    let mut out = Writer::of(&[["samples", "count"], ["cpu", "nanoseconds"]], period);
    let began = timing.start_time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    out.profile.time_nanos = i64::try_from(began.as_nanos()).unwrap_or(i64::MAX);
    out.profile.duration_nanos = i64::try_from(timing.duration.as_nanos()).unwrap_or(i64::MAX);
    for (frames, count) in &report.data {
        let places = frames
            .frames
            .iter()
            .flatten()
            .map(|symbol| out.named(&symbol.name(), &symbol.filename(), symbol.lineno().into()));
        let places = places.collect();
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        out.sample(places, vec![count, count.saturating_mul(period)], Some(["thread", &frames.thread_name]));
    }
    out.done()
}

#[cfg(test)]
mod tests;
