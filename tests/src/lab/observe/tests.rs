//! The text formats of metrics and access log are read as they are written.

use super::{AccessLine, Metrics};

#[test]
fn labels_with_braces_and_quotes_are_read() {
    let metrics = Metrics::parse(
        "# HELP x about.\nx_total{a=\"1\",b=\"say \\\"}\\\" twice\"} 2\nx_total{a=\"2\",b=\"\"} 3.5 17\nplain 4\nnot a sample\n",
    );
    assert_eq!(metrics.0.len(), 3);
    assert_eq!(metrics.0[0].labels["b"], "say \"}\" twice");
    assert!(metrics.sum("x_total", &[]).total_cmp(&5.5).is_eq());
    assert!(metrics.sum("x_total", &[("a", "2")]).total_cmp(&3.5).is_eq());
    assert!(metrics.sum("plain", &[]).total_cmp(&4.0).is_eq());
    assert_eq!(metrics.matching("x_total", &[("c", "1")]).count(), 0);
}

#[test]
fn only_completed_connections_are_access_lines() {
    let log = "not JSON\n\
        {\"level\":\"info\",\"scope\":\"access\",\"message\":\"connection opened\"}\n\
        {\"level\":\"info\",\"scope\":\"proxy\",\"message\":\"connection complete\"}\n\
        {\"level\":\"info\",\"scope\":\"access\",\"message\":\"connection complete\",\"direction\":\"inbound\",\"bytes_sent\":7}\n";
    let lines = AccessLine::all(log);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].is_inbound());
    assert_eq!((lines[0].number("bytes_sent"), lines[0].text("error")), (Some(7), ""));
}
