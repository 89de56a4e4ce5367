//! Lines as their readers parse them, and levels changed while running.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{LogError, subscriber};
use crate::config::LogConfig;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn lines(json: bool, filter: &str, log: impl FnOnce(&super::LogControl)) -> String {
    let config = LogConfig { filter: filter.to_owned(), json, policy_decisions: false };
    let sink = Sink::default();
    let (subscriber, control, guard) = subscriber(&config, sink.clone()).expect("the filter parses");
    tracing::subscriber::with_default(subscriber, || log(&control));
    drop(guard);
    String::from_utf8(sink.0.lock().clone()).expect("lines are text")
}

fn access() {
    let absent: Option<&str> = None;
    tracing::event!(
        target: "access",
        tracing::Level::INFO,
        src.addr = %"10.0.0.1:1", src.workload = "a", src.identity = absent, bytes_sent = 11_u64, duration = "3ms",
        "connection complete"
    );
}

#[test]
fn a_plain_line_is_tab_separated_with_strings_quoted() {
    let line = lines(false, "", |_| access());
    let (time, rest) = line.split_once('\t').expect("the time comes first");
    assert_eq!(time.len(), "2026-08-20T10:00:00.000001Z".len(), "{time}");
    assert_eq!(
        rest,
        "info\taccess\tconnection complete\tsrc.addr=10.0.0.1:1 src.workload=\"a\" bytes_sent=11 duration=\"3ms\"\n"
    );
}

#[test]
fn a_json_line_keeps_the_order_and_the_numbers() {
    let line = lines(true, "", |_| access());
    let (head, rest) = line.split_once("\"scope\"").expect("the scope is there");
    assert!(head.starts_with("{\"level\":\"info\",\"time\":\"2"), "{head}");
    assert_eq!(
        rest,
        ":\"access\",\"message\":\"connection complete\",\"src.addr\":\"10.0.0.1:1\",\"src.workload\":\"a\",\
         \"bytes_sent\":11,\"duration\":\"3ms\"}\n"
    );
}

#[test]
fn a_scope_loses_the_name_of_our_own_crate() {
    let line = lines(false, "", |_| tracing::info!(target: "proxy::inbound", "x"));
    assert!(line.ends_with("\tinfo\tinbound\tx\n"), "{line}");
}

#[test]
fn a_changed_level_shows_and_a_reset_hides() {
    let text = lines(false, "", |control| {
        tracing::debug!("one");
        control.change("debug", false).expect("a level");
        tracing::debug!("two");
        control.change("", true).expect("a reset");
        tracing::debug!("three");
        control.change("access=debug,x=warn", true).expect("a list");
        assert_eq!(control.current(), "info,access=debug,x=warn");
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("two"), "{text}");
}

#[test]
fn a_level_that_is_none_is_refused_and_changes_nothing() {
    lines(false, "", |control| {
        for bad in ["loud", "a=loud", "debug,loud"] {
            assert!(matches!(control.change(bad, false), Err(LogError::Level(_))), "{bad}");
        }
        assert_eq!(control.current(), "info");
    });
}

#[test]
fn a_filter_that_is_changed_often_stays_short() {
    lines(false, "access=warn", |control| {
        for level in ["debug", "access=debug", "warn", "access=error,x=info", "debug"] {
            control.change(level, false).expect("levels");
        }
        assert_eq!(control.current(), "access=error,x=info,debug");
        control.change("", true).expect("a reset");
        assert_eq!(control.current(), "info,access=warn");
    });
}
