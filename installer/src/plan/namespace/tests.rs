use super::*;

#[track_caller]
fn check(live: Option<Value>, want: Option<&str>, was: Option<&str>) {
    let (step, security) = namespace("istio-system", live.as_ref());
    assert_eq!(step.map(|step| step.verdict.word()), want);
    assert_eq!(security.map(|security| security.was).as_deref(), was);
}

#[test]
fn a_namespace_is_made_where_there_is_none() {
    check(None, Some("create"), None);
}

#[test]
fn a_namespace_that_refuses_our_pods_is_opened_and_what_it_enforced_is_kept() {
    for level in ["baseline", "restricted"] {
        check(Some(json!({"metadata": {"labels": {ENFORCE: level}}})), Some("change"), Some(level));
    }
}

#[test]
fn any_other_namespace_is_left_alone() {
    check(Some(json!({"metadata": {"labels": {ENFORCE: "privileged"}}})), None, None);
    check(Some(json!({"metadata": {"name": "istio-system"}})), None, None);
}
