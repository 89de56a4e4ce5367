use super::*;

fn view() -> View {
    View::new("n1".to_owned())
}

/// Both lists have been read: namespace `shop`, pod `shop/web`.
fn synced() -> View {
    let mut view = view();
    told(view.namespace(Event::Init));
    view.namespace(Event::InitApply(namespace("shop")));
    view.namespace(Event::InitDone);
    view.pod(Event::Init);
    view.pod(Event::InitApply(pod("web", "u1")));
    assert_eq!(told(view.pod(Event::InitDone)), ["synced"]);
    view
}

fn told(changes: Vec<Change>) -> Vec<String> {
    let words = |change| match change {
        Change::NamespaceSeen(namespace) => format!("namespace {}", namespace.metadata.name),
        Change::NamespaceGone(name) => format!("no namespace {name}"),
        Change::PodSeen(pod) => format!("pod {} {}", pod.full_name(), pod.metadata.uid),
        Change::PodGone(uid) => format!("no pod {uid}"),
        Change::Synced => "synced".to_owned(),
    };
    changes.into_iter().map(words).collect()
}

fn pod(name: &str, uid: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = name.to_owned();
    pod.metadata.namespace = "shop".to_owned();
    pod.metadata.uid = uid.to_owned();
    pod.spec.node_name = "n1".to_owned();
    pod
}

fn namespace(name: &str) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.name = name.to_owned();
    namespace
}

fn elsewhere(namespace: &str, uid: &str) -> Pod {
    let mut pod = pod("web", uid);
    pod.metadata.namespace = namespace.to_owned();
    pod
}

#[test]
fn nothing_is_synced_before_both_lists_are_complete() {
    let mut view = view();
    assert_eq!(told(view.pod(Event::Init)), [""; 0]);
    assert_eq!(told(view.pod(Event::InitApply(pod("web", "u1")))), ["pod shop/web u1"]);
    assert_eq!(told(view.pod(Event::InitDone)), [""; 0]);
    assert_eq!(told(view.namespace(Event::Init)), [""; 0]);
    assert_eq!(told(view.namespace(Event::InitApply(namespace("shop")))), ["namespace shop"]);
    assert_eq!(told(view.namespace(Event::InitDone)), ["synced"]);
    view.namespace(Event::Init);
    view.namespace(Event::InitApply(namespace("shop")));
    assert_eq!(told(view.namespace(Event::InitDone)), [""; 0], "it is said once");
}

#[test]
fn only_what_differs_is_told() {
    let mut view = synced();
    assert_eq!(told(view.pod(Event::Apply(pod("web", "u1")))), [""; 0]);
    let mut labelled = pod("web", "u1");
    labelled.metadata.labels.insert("a".to_owned(), "b".to_owned());
    assert_eq!(told(view.pod(Event::Apply(labelled))), ["pod shop/web u1"]);
    assert_eq!(told(view.namespace(Event::Apply(namespace("shop")))), [""; 0]);
}

#[test]
fn what_vanished_while_nobody_looked_is_gone_after_the_next_list() {
    let mut view = synced();
    view.pod(Event::Apply(pod("db", "u2")));
    view.namespace(Event::Apply(namespace("bank")));
    assert_eq!(told(view.pod(Event::Init)), [""; 0]);
    assert_eq!(told(view.pod(Event::InitApply(pod("db", "u2")))), [""; 0]);
    assert_eq!(told(view.pod(Event::InitDone)), ["no pod u1"]);
    view.namespace(Event::Init);
    view.namespace(Event::InitApply(namespace("shop")));
    assert_eq!(told(view.namespace(Event::InitDone)), ["no namespace bank"]);
}

#[test]
fn a_list_that_breaks_off_forgets_nothing() {
    let mut view = synced();
    view.pod(Event::Apply(pod("db", "u2")));
    view.pod(Event::Init);
    view.pod(Event::InitApply(pod("db", "u2")));
    view.pod(Event::Init);
    view.pod(Event::InitApply(pod("web", "u1")));
    view.pod(Event::InitApply(pod("db", "u2")));
    assert_eq!(told(view.pod(Event::InitDone)), [""; 0]);
}

#[test]
fn a_successor_of_the_same_name_ends_its_predecessor() {
    let mut view = synced();
    assert_eq!(told(view.pod(Event::Apply(pod("web", "u2")))), ["no pod u1", "pod shop/web u2"]);
    assert_eq!(told(view.pod(Event::Delete(pod("web", "u1")))), ["no pod u1"]);
    assert_eq!(told(view.pod(Event::Apply(pod("web", "u2")))), [""; 0], "it is still known");
}

#[test]
fn a_pod_goes_also_when_its_namespace_went_first() {
    let mut view = synced();
    assert_eq!(told(view.namespace(Event::Delete(namespace("shop")))), ["no namespace shop"]);
    assert_eq!(told(view.pod(Event::Delete(pod("web", "u1")))), ["no pod u1"]);
    assert_eq!(told(view.pod(Event::Delete(pod("never-seen", "u9")))), ["no pod u9"]);
}

#[test]
fn a_new_pod_waits_for_its_namespace_which_is_asked_for_once() {
    let mut view = synced();
    assert_eq!(told(view.pod(Event::Apply(elsewhere("new", "u2")))), [""; 0]);
    let mut other = elsewhere("new", "u3");
    other.metadata.name = "db".to_owned();
    assert_eq!(told(view.pod(Event::Apply(other))), [""; 0]);
    assert_eq!(view.questions(), ["new"]);
    assert_eq!(view.questions(), [""; 0]);
    let answer = view.namespace_found("new", Some(namespace("new")));
    assert_eq!(told(answer), ["namespace new", "pod new/db u3", "pod new/web u2"]);
    assert_eq!(told(view.namespace(Event::Apply(namespace("new")))), [""; 0]);
}

#[test]
fn a_pod_whose_namespace_is_not_to_be_had_is_told_without_it() {
    let mut view = synced();
    view.pod(Event::Apply(elsewhere("new", "u2")));
    assert_eq!(told(view.namespace_found("new", None)), ["pod new/web u2"]);
}

#[test]
fn an_answer_that_comes_after_the_watch_changes_nothing() {
    let mut view = synced();
    view.pod(Event::Apply(elsewhere("new", "u2")));
    let mut labelled = namespace("new");
    labelled.metadata.labels.insert("a".to_owned(), "b".to_owned());
    assert_eq!(told(view.namespace(Event::Apply(labelled))), ["namespace new", "pod new/web u2"]);
    assert_eq!(told(view.namespace_found("new", Some(namespace("new")))), [""; 0]);
    view.pod(Event::Delete(pod("web", "u1")));
    assert_eq!(told(view.pod_found(pod("web", "u1"))), [""; 0], "it went while the answer was on its way");
}

#[test]
fn a_pod_that_was_asked_for_is_told_if_it_is_the_nodes() {
    let mut view = synced();
    assert_eq!(told(view.pod_found(pod("db", "u2"))), ["pod shop/db u2"]);
    let mut other = pod("db2", "u3");
    other.spec.node_name = "n2".to_owned();
    assert_eq!(told(view.pod_found(other)), [""; 0]);
}

#[test]
fn a_pod_found_during_a_list_outlives_it() {
    let mut view = synced();
    view.pod(Event::Init);
    view.pod_found(pod("db", "u2"));
    view.pod(Event::InitApply(pod("web", "u1")));
    assert_eq!(told(view.pod(Event::InitDone)), [""; 0]);
}
