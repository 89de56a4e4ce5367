use serde_json::json;

use super::*;

fn ours(image: &str) -> Value {
    json!({"metadata": {"managedFields": [{"manager": "adit", "operation": "Apply"}]}, "spec": {"image": image}})
}

fn of_helm(image: &str) -> Value {
    json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "istio-cni"}}, "spec": {"image": image}})
}

fn of_nobody(image: &str) -> Value {
    json!({"metadata": {}, "spec": {"image": image}})
}

fn conflict() -> Conflict {
    Conflict { field: ".spec.image".to_owned(), owner: "kubectl-edit".to_owned() }
}

fn would(object: Value) -> DryRun {
    DryRun::Is(Box::new(object))
}

const ASKED: Leave = Leave { force_conflicts: false, replace: false };
const REPLACE: Leave = Leave { force_conflicts: false, replace: true };
const FORCE: Leave = Leave { force_conflicts: true, replace: false };

#[test]
fn each_object_gets_the_verdict_that_its_state_and_its_owner_ask_for() {
    let conflicts = |after| DryRun::Conflicts(vec![conflict()], Box::new(after));
    for (live, dry_run, leave, want) in [
        (None, would(ours("1")), ASKED, "create"),
        (None, DryRun::NoNamespace, ASKED, "create"),
        (Some(ours("1")), would(ours("1")), ASKED, "keep"),
        (Some(ours("1")), would(ours("2")), ASKED, "change"),
        (Some(of_nobody("1")), would(ours("1")), ASKED, "change"),
        (Some(ours("1")), conflicts(ours("2")), ASKED, "conflict"),
        (Some(ours("1")), conflicts(ours("2")), FORCE, "change"),
        (Some(of_helm("1")), would(ours("1")), ASKED, "owned"),
        (Some(of_helm("1")), conflicts(ours("2")), ASKED, "owned"),
        (Some(of_helm("1")), conflicts(ours("2")), FORCE, "owned"),
        (Some(of_helm("1")), conflicts(ours("2")), REPLACE, "take over"),
        (Some(ours("1")), conflicts(ours("2")), REPLACE, "conflict"),
    ] {
        let seen = Seen { live, dry_run };
        let got = verdict(&seen, leave);
        assert_eq!(got.word(), want, "{seen:?} {leave:?}");
    }
}

#[test]
fn a_conflict_names_the_field_and_its_owner() {
    let seen =
        Seen { live: Some(ours("1")), dry_run: DryRun::Conflicts(vec![conflict()], Box::new(ours("2"))) };
    assert_eq!(verdict(&seen, ASKED), Verdict::Conflict { conflicts: vec![conflict()] });
}

#[test]
fn a_plan_is_empty_only_when_every_object_is_kept() {
    let step = |live: Value, after: Value| {
        let seen = Seen { live: Some(live), dry_run: would(after.clone()) };
        step(Id::new("v1", "ConfigMap", "ns", "x"), after, seen, ASKED)
    };
    assert!(Plan { steps: vec![step(ours("1"), ours("1"))] }.is_empty());
    assert!(!Plan { steps: vec![step(ours("1"), ours("1")), step(ours("1"), ours("2"))] }.is_empty());
}

#[test]
fn what_is_no_longer_wanted_goes_unless_somebody_else_has_it_now() {
    let id = |name: &str| Id::new("v1", "ConfigMap", "ns", name);
    let mut plan =
        Plan { steps: vec![Step { id: id("wanted"), verdict: Verdict::Keep, object: None, live: None }] };
    plan.prune(&[(id("wanted"), ours("1")), (id("orphan"), ours("1")), (id("taken"), of_helm("1"))]);
    let removed: Vec<_> = plan.steps.iter().filter(|step| step.verdict == Verdict::Remove).collect();
    assert_eq!(removed.iter().map(|step| step.id.name.as_str()).collect::<Vec<_>>(), ["orphan"]);
}
