use std::collections::BTreeMap;

use prost_types::value::Kind;
use serde_json::json;

use super::Node;

fn node() -> Node {
    Node {
        instance_ip: "10.0.0.7".to_owned(),
        pod_name: "ztunnel-x".to_owned(),
        pod_namespace: "istio-system".to_owned(),
        node_name: "worker".to_owned(),
        metadata: BTreeMap::new(),
    }
}

fn metadata(node: &Node) -> BTreeMap<String, Kind> {
    let fields = node.to_proto().metadata.unwrap().fields;
    fields.into_iter().map(|(key, value)| (key, value.kind.unwrap())).collect()
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

#[test]
fn the_id_has_four_parts_and_a_constant_suffix() {
    let want = "ztunnel~10.0.0.7~ztunnel-x.istio-system~istio-system.svc.cluster.local";
    assert_eq!(node().to_proto().id, want);
}

#[test]
fn the_standard_metadata_are_strings() {
    let want = BTreeMap::from([
        ("NAME".to_owned(), text("ztunnel-x")),
        ("NAMESPACE".to_owned(), text("istio-system")),
        ("INSTANCE_IPS".to_owned(), text("10.0.0.7")),
        ("NODE_NAME".to_owned(), text("worker")),
    ]);
    assert_eq!(metadata(&node()), want);
}

#[test]
fn further_metadata_keep_their_type_and_win() {
    let mut node = node();
    node.metadata.insert("NODE_NAME".to_owned(), json!("elsewhere"));
    node.metadata.insert("PORTS".to_owned(), json!([1, null, true, {"a": "b"}]));
    let metadata = metadata(&node);
    assert_eq!(metadata["NODE_NAME"], text("elsewhere"));
    let Kind::ListValue(list) = &metadata["PORTS"] else { panic!("{metadata:?}") };
    let kinds: Vec<&Kind> = list.values.iter().filter_map(|value| value.kind.as_ref()).collect();
    let [Kind::NumberValue(number), Kind::NullValue(0), Kind::BoolValue(true), Kind::StructValue(inner)] =
        kinds[..]
    else {
        panic!("{kinds:?}")
    };
    assert_eq!(*number, 1.0);
    assert_eq!(inner.fields["a"].kind, Some(text("b")));
}
