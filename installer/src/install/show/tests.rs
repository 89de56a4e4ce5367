use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::object::Id;
use crate::output::Format;
use crate::plan::Owner;

/// Somewhere to read what was written.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn step(name: &str, verdict: Verdict) -> Step {
    Step { id: Id::new("apps/v1", "DaemonSet", "istio-system", name), verdict, object: None, live: None }
}

fn image() -> FieldChange {
    FieldChange { field: ".spec.image".to_owned(), from: Some(json!("a")), to: Some(json!("b")) }
}

#[test]
fn people_see_each_object_that_changes_with_its_fields_and_how_many_do_not() {
    let from = Owner::Helm { release: "istio-ztunnel".to_owned(), chart: "ztunnel-1.29.1".to_owned() };
    let plan = Plan {
        steps: vec![
            step("new", Verdict::Create),
            step("same", Verdict::Keep),
            step("other", Verdict::Change { changes: vec![image()] }),
            step("theirs", Verdict::TakeOver { from, changes: vec![image()] }),
        ],
    };
    let page = Page::default();
    let output = Output::to(Format::Table, Box::new(page.clone()), Box::new(Vec::new()), None);
    show(&output, &plan);
    let text = String::from_utf8(page.0.lock().clone()).unwrap();
    let want = "  create     DaemonSet istio-system/new
  change     DaemonSet istio-system/other
               .spec.image: \"a\" → \"b\"
  take over  DaemonSet istio-system/theirs
               from Helm release istio-ztunnel (ztunnel-1.29.1); what only it set goes, and `adit uninstall --restore` puts all of it back
               .spec.image: \"a\" → \"b\"
  1 objects stay as they are
";
    assert_eq!(text, want);
}

#[test]
fn programs_see_every_object_with_what_is_done_to_it() {
    let plan = Plan {
        steps: vec![step("same", Verdict::Keep), step("other", Verdict::Change { changes: vec![image()] })],
    };
    let shown =
        serde_json::to_value(Shown::new("kind-dev", "standard paths".to_owned(), &plan, false)).unwrap();
    assert_eq!(
        shown["steps"][1],
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "namespace": "istio-system", "name": "other",
            "action": "change", "changes": [{"field": ".spec.image", "from": "a", "to": "b"}],
        })
    );
}
