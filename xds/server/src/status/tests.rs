use super::*;
use crate::translate::{MeshConfig, translate};

const ENABLED: Option<&str> = Some("enabled");

#[test]
fn what_an_agent_writes_is_read() {
    let said = read(
        "shop_web-1.json",
        r#"{"metadata":{"uid":"u-1","annotations":{"ambient.istio.io/redirection":"enabled"}}}"#,
    );
    assert_eq!(said.unwrap(), status("shop", "web-1", Some("u-1"), ENABLED));
    let said =
        read("shop_web-1.json", r#"{"metadata":{"annotations":{"ambient.istio.io/redirection":"pending"}}}"#);
    assert_eq!(said.unwrap(), status("shop", "web-1", None, Some("pending")));
}

#[test]
fn only_the_redirection_counts() {
    let text = r#"{"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d", "ambient.istio.io/redirection": null}},
        "spec": {"nodeName": "elsewhere"}}"#;
    assert_eq!(read("shop_web.json", text).unwrap(), status("shop", "web", None, None));
}

#[test]
fn a_file_that_is_named_after_no_pod_is_refused_by_its_name() {
    for name in ["web.json", "_web.json", "shop_.json", ".json"] {
        match read(name, &says("enabled")) {
            Err(StatusError::Name { file }) => assert_eq!(file, format!("status/{name}")),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_text_that_is_no_json_is_refused() {
    for text in ["", "{", "metadata: {}", "{} {}"] {
        assert!(matches!(read("a_b.json", text), Err(StatusError::Json { .. })), "{text:?}");
    }
}

#[test]
fn a_json_that_is_no_status_is_refused_by_its_field() {
    let cases = [
        ("{}", "."),
        ("[1]", "[0]"),
        (r#"{"metadata": 3}"#, "metadata"),
        (r#"{"metadata": {}}"#, "metadata"),
        (r#"{"metadata": {"annotations": {}}}"#, "metadata.annotations"),
        (r#"{"metadata": {"uid": 3, "annotations": {}}}"#, "metadata.uid"),
        (
            r#"{"metadata": {"annotations": {"ambient.istio.io/redirection": true}}}"#,
            "metadata.annotations.ambient.istio.io/redirection",
        ),
    ];
    for (text, want) in cases {
        match read("a_b.json", text) {
            Err(StatusError::Field { field, .. }) => assert_eq!(field, want, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_status_reaches_the_pod_it_is_about_and_no_other() {
    let cases = [
        (
            "without a UID it is of whoever has the name",
            vec![status("default", "plain", None, ENABLED)],
            ENABLED,
        ),
        ("with the pod's UID", vec![status("default", "plain", Some("u-1"), ENABLED)], ENABLED),
        ("with a predecessor's UID", vec![status("default", "plain", Some("u-0"), ENABLED)], None),
        ("another name", vec![status("default", "other", None, ENABLED)], None),
        ("another namespace", vec![status("shop", "plain", None, ENABLED)], None),
        (
            "the last one has the last word",
            vec![
                status("default", "plain", None, ENABLED),
                status("default", "plain", None, Some("pending")),
            ],
            Some("pending"),
        ),
        (
            "a predecessor's, though later, has none",
            vec![
                status("default", "plain", Some("u-1"), ENABLED),
                status("default", "plain", Some("u-0"), Some("pending")),
            ],
            ENABLED,
        ),
        (
            "null takes away what was said before",
            vec![status("default", "plain", None, ENABLED), status("default", "plain", None, None)],
            None,
        ),
    ];
    for (case, statuses, want) in cases {
        let mut objects = objects();
        overlay(&mut objects, &statuses);
        assert_eq!(redirection(&objects, "plain"), want, "{case}");
        assert_eq!(
            redirection(&objects, "annotated"),
            ENABLED,
            "{case}: a pod without a status stays as it is"
        );
    }
}

#[test]
fn a_status_overrules_the_pods_own_annotation() {
    for value in [Some("pending"), None] {
        let mut objects = objects();
        overlay(&mut objects, &[status("default", "annotated", None, value)]);
        assert_eq!(redirection(&objects, "annotated"), value);
    }
}

#[test]
fn a_status_of_nobody_changes_nothing() {
    let mut objects = objects();
    overlay(&mut objects, &[status("default", "nobody", None, ENABLED)]);
    assert_eq!(objects, self::objects());
}

#[test]
fn an_enabled_status_is_what_makes_a_pod_reachable_through_hbone() {
    let translated = |statuses: &[Status]| {
        let mut objects = objects();
        overlay(&mut objects, statuses);
        translate(&objects, &MeshConfig::default())
    };
    let mut annotated = objects();
    annotated.annotate_pod("default", "plain", REDIRECTION, ENABLED);
    let annotated = translate(&annotated, &MeshConfig::default());
    let overlaid = translated(&[status("default", "plain", None, ENABLED)]);
    assert_eq!(overlaid, annotated, "as if the API server had the annotation");
    assert_ne!(translated(&[status("default", "plain", None, Some("pending"))]), overlaid);
}

fn read(name: &str, text: &str) -> Result<Status, StatusError> {
    Status::parse(&Path::new("status").join(name), text)
}

fn says(value: &str) -> String {
    format!(r#"{{"metadata":{{"annotations":{{"{REDIRECTION}":"{value}"}}}}}}"#)
}

fn status(namespace: &str, name: &str, uid: Option<&str>, redirection: Option<&str>) -> Status {
    Status {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.map(str::to_owned),
        redirection: redirection.map(str::to_owned),
    }
}

fn objects() -> Objects {
    let mut objects = Objects::default();
    let text = "
{apiVersion: v1, kind: Pod, metadata: {name: plain, uid: u-1}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: annotated, annotations: {ambient.istio.io/redirection: enabled}}}
";
    objects.upsert_yaml("test", text).unwrap();
    objects
}

fn redirection<'a>(objects: &'a Objects, name: &str) -> Option<&'a str> {
    objects.pod("default", name)?.metadata.annotations.get(REDIRECTION).map(String::as_str)
}
