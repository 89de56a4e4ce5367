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
    assert!(line.ends_with("\tinfo\tinbound\tx\t\n"), "readers count the parts: {line}");
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

#[test]
fn a_line_names_the_spans_it_is_written_in_and_an_access_line_none() {
    let write = |_: &super::LogControl| {
        let pod = tracing::info_span!("proxy", wl = %"ns/a");
        let _pod = pod.enter();
        let stream = tracing::info_span!("inbound");
        let _stream = stream.enter();
        tracing::info!(target: "proxy::pod", count = 1_u64, "x");
        tracing::event!(target: "access", parent: None, tracing::Level::INFO, "y");
    };
    let plain = lines(false, "", write);
    let ends: Vec<_> = plain.lines().filter_map(|line| Some(line.split_once("\tinfo\t")?.1)).collect();
    assert_eq!(ends, ["pod:proxy{wl=ns/a}:inbound\tx\tcount=1", "access\ty\t"]);
    let json = lines(true, "", write);
    let ends: Vec<_> = json.lines().filter_map(|line| Some(line.split_once("\"scope\":")?.1)).collect();
    assert_eq!(
        ends,
        [
            "\"proxy::pod\",\"message\":\"x\",\"count\":1,\"proxy\":{\"wl\":\"ns/a\"},\"inbound\":{}}",
            "\"access\",\"message\":\"y\"}",
        ]
    );
}

#[test]
fn a_target_and_its_level_may_be_parted_by_a_colon_as_istioctl_says() {
    lines(false, "", |control| {
        for (given, want) in [
            ("access:debug", "info,access=debug"),
            ("proxy::inbound:debug,warn", "proxy::inbound=debug,warn"),
            ("proxy::inbound=debug,dns:off", "info,proxy::inbound=debug,dns=off"),
        ] {
            control.change(given, true).unwrap_or_else(|e| panic!("{given}: {e}"));
            assert_eq!(control.current(), want);
        }
        for bad in ["access:loud", "access:", "proxy::inbound", ":debug,loud"] {
            assert!(matches!(control.change(bad, true), Err(LogError::Level(_))), "{bad}");
        }
    });
}

/// A reader of the log that takes nothing until it may.
struct Stalled(Arc<Mutex<()>>, Sink);

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _free = self.0.lock();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_stalls_holds_nobody_up_and_what_is_left_out_is_counted() {
    let config = LogConfig { filter: String::new(), json: false, policy_decisions: false };
    let (stall, sink) = (Arc::new(Mutex::new(())), Sink::default());
    let stalled = Stalled(Arc::clone(&stall), sink.clone());
    let (subscriber, control, guard) = subscriber(&config, stalled).expect("the filter parses");
    let written = 30_000;
    let free = stall.lock();
    tracing::subscriber::with_default(subscriber, || {
        for line in 0..written {
            tracing::info!("line {line}");
        }
    });
    let lost = control.lines_lost().get();
    drop(free);
    drop(guard);
    assert!(lost > 0);
    let text = String::from_utf8(sink.0.lock().clone()).expect("lines are text");
    let read = text.lines().filter(|line| line.contains("\tline ")).count();
    assert_eq!(u64::try_from(read).expect("a count") + lost, written, "every line is read or counted");
    assert!(text.contains(&format!("{lost} log lines were left out")), "the log says so itself");
}
