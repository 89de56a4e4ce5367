use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod_selector(yaml: &str) -> Selector {
    let pairs = parse(&format!("[{{podSelector: {yaml}}}]")).unwrap();
    pairs.into_iter().next().unwrap().pod
}

#[track_caller]
fn check(selector: &str, given: &[(&str, &str)], want: bool) {
    assert_eq!(pod_selector(selector).matches(&labels(given)), want, "{selector} on {given:?}");
}

#[test]
fn each_operator_means_what_it_means_in_kubernetes() {
    check("{}", &[], true);
    check("{matchLabels: {a: b}}", &[("a", "b")], true);
    check("{matchLabels: {a: b}}", &[("a", "c")], false);
    check("{matchLabels: {a: b}}", &[], false);
    check("{matchExpressions: [{key: a, operator: In, values: [b, c]}]}", &[("a", "c")], true);
    check("{matchExpressions: [{key: a, operator: In, values: [b, c]}]}", &[("a", "d")], false);
    check("{matchExpressions: [{key: a, operator: In, values: [b, c]}]}", &[], false);
    check("{matchExpressions: [{key: a, operator: NotIn, values: [b]}]}", &[("a", "b")], false);
    check("{matchExpressions: [{key: a, operator: NotIn, values: [b]}]}", &[("a", "c")], true);
    check("{matchExpressions: [{key: a, operator: NotIn, values: [b]}]}", &[], true);
    check("{matchExpressions: [{key: a, operator: Exists}]}", &[("a", "")], true);
    check("{matchExpressions: [{key: a, operator: Exists}]}", &[], false);
    check("{matchExpressions: [{key: a, operator: DoesNotExist}]}", &[], true);
    check("{matchExpressions: [{key: a, operator: DoesNotExist, values: []}]}", &[("a", "x")], false);
}

#[test]
fn all_requirements_must_hold() {
    let both = "{matchLabels: {a: b}, matchExpressions: [{key: c, operator: Exists}]}";
    check(both, &[("a", "b"), ("c", "")], true);
    check(both, &[("a", "b")], false);
    check(both, &[("c", "")], false);
}

#[test]
fn blank_text_is_the_empty_list() {
    for text in ["", "  \n", "[]"] {
        assert_eq!(parse(text).unwrap(), Vec::new(), "{text:?}");
    }
}

#[test]
fn the_default_is_the_charts_list() {
    let pairs = parse(DEFAULT).unwrap();
    let [own, namespace] = pairs.as_slice() else { panic!("two pairs, not {pairs:?}") };
    assert!(own.namespace.is_empty());
    assert!(own.pod.matches(&labels(&[("istio.io/dataplane-mode", "ambient")])));
    assert!(namespace.pod.matches(&labels(&[])));
    assert!(!namespace.pod.matches(&labels(&[("istio.io/dataplane-mode", "none")])));
    assert!(namespace.namespace.matches(&labels(&[("istio.io/dataplane-mode", "ambient")])));
}

#[test]
fn what_kubernetes_refuses_is_refused() {
    let expression = |text: &str| parse(&format!("- {{}}\n- podSelector: {{matchExpressions: [{text}]}}\n"));
    assert!(matches!(
        expression("{key: a, operator: Like, values: [b]}"),
        Err(SelectorError::Operator { half: "podSelector", index: 1, key, operator }) if key == "a" && operator == "Like"
    ));
    assert!(matches!(expression("{key: a, operator: NotIn}"), Err(SelectorError::NoValues { index: 1, .. })));
    assert!(matches!(
        expression("{key: a, operator: Exists, values: [b]}"),
        Err(SelectorError::Values { index: 1, .. })
    ));
    for text in ["podSelector: {}", "- podSelektor: {}", "- podSelector: {matchLabels: [a]}", "- ["] {
        assert!(matches!(parse(text), Err(SelectorError::Yaml(_))), "{text}");
    }
}
