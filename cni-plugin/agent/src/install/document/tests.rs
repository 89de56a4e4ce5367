use super::*;

const ENTRY: &str = r#"{"type":"adit-cni","agent_socket":"/s"}"#;

#[track_caller]
fn chain(text: &str) -> Document {
    Document::read("10-a.conflist", text.as_bytes()).unwrap()
}

#[track_caller]
fn refused(name: &str, text: &str, want: Unusable) {
    assert_eq!(Document::read(name, text.as_bytes()), Err(want), "{text}");
}

#[test]
fn what_a_runtime_passes_over_is_passed_over_for_a_reason() {
    let list = "a.conflist";
    refused(list, "[]", Unusable::NotAnObject);
    refused(list, r#"{"plugins":[{"type":"x"}]}"#, Unusable::Name);
    refused(list, r#"{"name":"","plugins":[{"type":"x"}]}"#, Unusable::Name);
    refused(list, r#"{"name":7,"plugins":[{"type":"x"}]}"#, Unusable::Name);
    refused(list, r#"{"name":"n","cniVersion":1,"plugins":[{"type":"x"}]}"#, Unusable::Version);
    refused(list, r#"{"name":"n","cniVersions":[1],"plugins":[{"type":"x"}]}"#, Unusable::Versions);
    refused(list, r#"{"name":"n"}"#, Unusable::Plugins);
    refused(list, r#"{"name":"n","plugins":[]}"#, Unusable::Plugins);
    refused(list, r#"{"name":"n","plugins":{}}"#, Unusable::Plugins);
    refused(list, r#"{"name":"n","plugins":[{"type":"x"}],"plugins":[{"type":"y"}]}"#, Unusable::Plugins);
    refused(list, r#"{"name":"n","plugins":["x"]}"#, Unusable::PluginType(0));
    refused(list, r#"{"name":"n","plugins":[{"type":"x"},{"type":""}]}"#, Unusable::PluginType(1));
    for single in ["a.conf", "a.json"] {
        refused(single, r#"{"name":"n"}"#, Unusable::Type);
        refused(single, r#"{"type":""}"#, Unusable::Type);
        refused(single, r#"{"name":"n","plugins":[{"type":"x"}]}"#, Unusable::Type);
    }
    assert!(matches!(Document::read(list, b"{"), Err(Unusable::NotJson(_))));
    assert_eq!(Document::read(list, &[0xff]), Err(Unusable::NotText));
}

#[test]
fn an_entry_goes_in_and_out_without_moving_another_byte() {
    let texts = [
        r#"{"name":"n","plugins":[{"type":"x"}]}"#,
        r#"{"plugins" : [ {"type":"x","n":1e3,"big":123456789012345678901234567890} , {"type":"y"} ],"name":"n"}"#,
        "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"n\",\n  \"plugins\": [\n    {\n      \"type\": \"x\"\n    }\n  ]\n}\n",
        "{\r\n\t\"name\": \"n\",\r\n\t\"plugins\": [\r\n\t\t{\"type\": \"x\"},\r\n\t\t{\"type\": \"y]}\\\"\"}\r\n\t]\r\n}",
        r#"{"name":"n","other":{"plugins":[1]},"pl\u0075gins":[{"type":"x"}]}"#,
    ];
    for text in texts {
        let ours = chain(text).with(ENTRY).unwrap();
        let ours = chain(&ours);
        assert_eq!(ours.kinds().last(), Some(&"adit-cni"), "{}", ours.text());
        assert_eq!(ours.without(&["adit-cni"]).as_deref(), Some(text));
    }
}

#[test]
fn an_entry_is_indented_as_its_neighbor() {
    let text = "{\n  \"name\": \"n\",\n  \"plugins\": [\n    {\n      \"type\": \"x\"\n    }\n  ]\n}\n";
    let want = "{\n  \"name\": \"n\",\n  \"plugins\": [\n    {\n      \"type\": \"x\"\n    },\n    {\n      \"type\": \"adit-cni\",\n      \"agent_socket\": \"/s\"\n    }\n  ]\n}\n";
    assert_eq!(chain(text).with(ENTRY).as_deref(), Some(want));
    let text = r#"{"name":"n","plugins":[{"type":"x"}, {"type":"y"}]}"#;
    let want =
        r#"{"name":"n","plugins":[{"type":"x"}, {"type":"y"}, {"type":"adit-cni","agent_socket":"/s"}]}"#;
    assert_eq!(chain(text).with(ENTRY).as_deref(), Some(want));
}

#[test]
fn entries_are_taken_out_wherever_they_stand() {
    let text = r#"{"name":"n","plugins":[ {"type":"a"}, {"type":"b"},{"type":"a"}, {"type":"c"} ]}"#;
    let check = |kinds: &[&str], want: &str| {
        assert_eq!(chain(text).without(kinds).as_deref(), Some(want), "{kinds:?}");
    };
    check(&["a"], r#"{"name":"n","plugins":[ {"type":"b"}, {"type":"c"} ]}"#);
    check(&["b"], r#"{"name":"n","plugins":[ {"type":"a"},{"type":"a"}, {"type":"c"} ]}"#);
    check(&["c", "b"], r#"{"name":"n","plugins":[ {"type":"a"},{"type":"a"} ]}"#);
    check(&["z"], text);
    assert_eq!(chain(text).without(&["a", "b", "c"]), None);
    assert_eq!(chain(text).entry("b"), Some(r#"{"type":"b"}"#));
}

#[test]
fn one_plugin_becomes_a_chain_that_keeps_its_name_and_version() {
    let check = |text: &str, want: &str| {
        let document = Document::read("a.conf", text.as_bytes()).unwrap().into_list();
        let got: Value = serde_json::from_str(document.text()).unwrap();
        assert_eq!(got.to_string(), want);
        assert_eq!(document.kinds(), ["bridge"]);
    };
    check(
        r#"{"cniVersion":"1.0.0","name":"net","type":"bridge","mtu":1500}"#,
        r#"{"name":"net","cniVersion":"1.0.0","plugins":[{"name":"net","type":"bridge","mtu":1500}]}"#,
    );
    check(
        r#"{"type":"bridge","ipam":{}}"#,
        r#"{"name":"k8s-pod-network","cniVersion":"0.3.1","plugins":[{"type":"bridge","ipam":{}}]}"#,
    );
}
