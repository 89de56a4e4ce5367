use std::io::{self, Write};

use super::*;

/// What was written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

fn logged(raw: &RawLogging, work: impl FnOnce(&LogControl)) -> String {
    let lines = Lines::default();
    let out = lines.clone();
    let (subscriber, control) = subscriber(raw, move || out.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || work(&control));
    lines.text()
}

fn raw(level: &str) -> RawLogging {
    RawLogging { log_level: level.to_owned(), ..RawLogging::default() }
}

#[test]
fn json_lines_have_istio_cni_s_keys() {
    let raw = RawLogging { as_json: true, ..raw("info") };
    let text = logged(&raw, |_| tracing::warn!(pod = "shop/web", failures = 3_u64, "a pod failed"));
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&"warn".into(), &"a pod failed".into()));
    assert_eq!((&line["pod"], &line["failures"]), (&"shop/web".into(), &3.into()));
    assert_eq!(line["scope"], "cni_plugin_agent::logging::tests");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
}

#[test]
fn the_level_changes_while_the_agent_runs_and_goes_back() {
    let text = logged(&raw("info"), |control| {
        tracing::debug!("first");
        control.change("debug").unwrap();
        tracing::debug!("second");
        assert_eq!(control.current(), "debug");
        assert_eq!(control.change("loud"), Err(LogError::Level("loud".to_owned())));
        control.change("").unwrap();
        assert_eq!(control.current(), "info");
        tracing::debug!("third");
    });
    assert!(text.contains("second") && !text.contains("first") && !text.contains("third"), "{text}");
}

#[test]
fn istio_cni_s_scopes_become_targets() {
    for (scopes, want) in [
        ("default:info", "info"),
        ("cni-agent:debug,cni-plugin:warn", "cni_plugin_agent=debug,cni-plugin=warn"),
        ("all:none,ambient:debug", "off"),
        ("debug", "debug"),
        ("cni-agent:fatal", "cni_plugin_agent=error"),
    ] {
        assert_eq!(directives(scopes).unwrap(), want, "{scopes}");
        subscriber(&RawLogging { output_level: Some(scopes.to_owned()), ..raw("info") }, io::sink).unwrap();
    }
    assert_eq!(directives("default:loud"), Err(LogError::OutputLevel("default:loud".to_owned())));
}

#[test]
fn the_client_of_the_api_server_is_quiet_unless_it_is_asked_for() {
    let failure = || tracing::error!(target: "kube_client::client::builder", "failed");
    assert_eq!(logged(&raw("debug"), |_| failure()), "");
    let text = logged(&raw("info,kube_client=debug"), |_| failure());
    assert!(text.contains("failed"), "{text:?}");
}
