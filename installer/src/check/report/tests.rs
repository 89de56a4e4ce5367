use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn finding(severity: Severity, subject: &str, message: &str) -> Finding {
    Finding {
        id: "node-kernel",
        area: "nodes",
        title: "kernels are new",
        severity,
        subject: subject.to_owned(),
        message: message.to_owned(),
        hint: (severity != Severity::Ok).then(|| "upgrade it".to_owned()),
        docs: "docs/checks.md#node-kernel".to_owned(),
    }
}

fn written(findings: Vec<Finding>, format: Format) -> String {
    let out = Written::default();
    let output = Output::to(format, Box::new(out.clone()), Box::new(Vec::new()), None);
    Report::new("0.1.0", true, findings).write(&output);
    let bytes = out.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_person_reads_what_is_wrong_under_what_ought_to_hold_and_what_to_do_next() {
    let findings = vec![
        finding(Severity::Warning, "node a", "Linux 4.1"),
        finding(Severity::Error, "node b", "no Linux"),
    ];
    let want = "\
nodes
! node-kernel  not so: kernels are new
    ! node a: Linux 4.1
      next: upgrade it (docs/checks.md#node-kernel)
    ✘ node b: no Linux
      next: upgrade it (docs/checks.md#node-kernel)

0 ok, 1 warning, 1 error
";
    assert_eq!(written(findings, Format::Table), want);
    let fine = "nodes\n✔ node-kernel  kernels are new: 6.1 (3)\n\n1 ok, 0 warnings, 0 errors\n";
    assert_eq!(written(vec![finding(Severity::Ok, "", "6.1 (3)")], Format::Table), fine);
}

#[test]
fn short_is_a_line_for_each_problem() {
    let findings = vec![finding(Severity::Ok, "", "fine"), finding(Severity::Error, "node b", "no Linux")];
    assert_eq!(written(findings, Format::Short), "error node-kernel node b: no Linux\n");
}

#[test]
fn the_document_has_the_shape_that_programs_rely_on() {
    let findings = vec![finding(Severity::Ok, "", "fine"), finding(Severity::Warning, "node a", "old")];
    let document: Value = serde_json::from_str(&written(findings, Format::Json)).unwrap();
    let want = json!({
        "version": "0.1.0",
        "stage": "before",
        "result": "warning",
        "counts": {"ok": 1, "warning": 1, "error": 0},
        "findings": [
            {"id": "node-kernel", "area": "nodes", "title": "kernels are new", "severity": "ok", "subject": "",
             "message": "fine", "hint": null, "docs": "docs/checks.md#node-kernel"},
            {"id": "node-kernel", "area": "nodes", "title": "kernels are new", "severity": "warning",
             "subject": "node a", "message": "old", "hint": "upgrade it", "docs": "docs/checks.md#node-kernel"},
        ],
    });
    assert_eq!(document, want);
}

#[test]
fn only_errors_fail() {
    for (severity, want) in
        [(Severity::Ok, Exit::Done), (Severity::Warning, Exit::Done), (Severity::Error, Exit::Failed)]
    {
        assert_eq!(Report::new("0.1.0", false, vec![finding(severity, "", "x")]).exit(), want);
    }
}
