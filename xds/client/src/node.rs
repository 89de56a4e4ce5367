//! Who we say we are: a value, never read from the environment.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;
use xds_proto::envoy::config::core::v3 as core;

/// This node, as istiod sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Address of the proxy's pod; istiod refuses a node without a valid one.
    pub instance_ip: String,
    /// Name of the proxy's pod.
    pub pod_name: String,
    /// Namespace of the proxy's pod; must be the one in the token.
    pub pod_namespace: String,
    /// Name of the Kubernetes node.
    pub node_name: String,
    /// Further metadata; an entry here replaces a standard one of the same name.
    pub metadata: BTreeMap<String, Json>,
}

impl Node {
    /// As the first request of each type carries it.
    pub(crate) fn to_proto(&self) -> core::Node {
        let standard = [
            ("NAME", &self.pod_name),
            ("NAMESPACE", &self.pod_namespace),
            ("INSTANCE_IPS", &self.instance_ip),
            ("NODE_NAME", &self.node_name),
        ];
        let mut fields: BTreeMap<String, Value> = standard
            .into_iter()
            .map(|(key, text)| (key.to_owned(), value(Kind::StringValue(text.clone()))))
            .collect();
        fields.extend(self.metadata.iter().map(|(key, json)| (key.clone(), from_json(json))));
        core::Node { id: self.id(), cluster: String::new(), metadata: Some(Struct { fields }) }
    }

    /// Four parts, of which istiod reads the type, the address and the namespace; the suffix is constant in ztunnel too.
    fn id(&self) -> String {
        let Self { instance_ip, pod_name, pod_namespace, .. } = self;
        format!("ztunnel~{instance_ip}~{pod_name}.{pod_namespace}~{pod_namespace}.svc.cluster.local")
    }
}

fn from_json(json: &Json) -> Value {
    value(match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(from_json).collect() }),
        Json::Object(entries) => Kind::StructValue(Struct {
            fields: entries.iter().map(|(key, json)| (key.clone(), from_json(json))).collect(),
        }),
    })
}

const fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests;
