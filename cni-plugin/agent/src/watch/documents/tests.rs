use super::*;

fn read(text: &str) -> Result<Vec<Object>, DocumentError> {
    parse(Path::new("pods.yaml"), text)
}

#[test]
fn pods_and_namespaces_are_read_and_other_kinds_passed_over() {
    let objects = read(
        "# head\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n\n--- # empty\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: 3}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {nodeName: n1}\n",
    )
    .unwrap();
    let [Object::Namespace(namespace), Object::Pod(pod)] = objects.as_slice() else { panic!("{objects:?}") };
    assert_eq!(namespace.metadata.name, "shop");
    assert_eq!((pod.full_name().as_str(), pod.metadata.uid.as_str()), ("default/web", "default/web"));
}

#[test]
fn json_is_yaml() {
    let objects =
        read(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"b","uid":"u"}}"#);
    assert!(matches!(objects.unwrap().as_slice(), [Object::Pod(pod)] if pod.metadata.uid == "u"));
}

#[test]
fn an_empty_file_holds_nothing() {
    for text in ["", "\n\n", "---\n", "# nothing\n---\n# more\n"] {
        assert_eq!(read(text).unwrap(), Vec::new(), "{text:?}");
    }
}

#[test]
fn an_error_names_file_line_and_field() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: Pod\n\
                metadata: {name: web}\nspec:\n  hostNetwork: perhaps\n";
    let error = read(text).unwrap_err();
    assert!(matches!(error, DocumentError::Malformed { line: 9, kind: "Pod", .. }), "{error:?}");
    assert_eq!(error.to_string(), "pods.yaml:9: `hostNetwork: perhaps` does not fit a Pod");
}

#[test]
fn an_object_without_a_name_is_refused() {
    let error = read("apiVersion: v1\nkind: Pod\nmetadata: {name: ''}\n").unwrap_err();
    assert!(
        matches!(error, DocumentError::MissingField { kind: "Pod", field: "metadata.name", document: 1, .. }),
        "{error:?}"
    );
    let error = read("apiVersion: v1\nkind: Pod\nspec: {}\n").unwrap_err();
    assert!(matches!(error, DocumentError::Malformed { kind: "Pod", .. }), "{error:?}");
}

#[test]
fn text_that_is_no_object_is_refused() {
    for text in ["- a\n- b\n", "a: [\n", "just words\n"] {
        assert!(matches!(read(text), Err(DocumentError::NoObject { .. })), "{text}");
    }
}
