use super::*;

fn replaced(name: &str, image: &str) -> Replaced {
    Replaced {
        id: Id::new("apps/v1", "DaemonSet", "istio-system", name),
        manager: "helm".to_owned(),
        manifest: json!({"image": image}),
    }
}

#[test]
fn what_had_been_there_is_remembered_from_the_first_installation_on() {
    let mut first = Record::new(json!({}), vec![]);
    first.replaced = vec![replaced("ztunnel", "istio's")];
    first.pod_security = Some(PodSecurity { was: "baseline".to_owned() });
    let mut second = Record::new(json!({"a": 1}), vec![]);
    second.replaced = vec![replaced("ztunnel", "ours"), replaced("istio-cni-node", "istio's")];
    second.pod_security = Some(PodSecurity { was: "restricted".to_owned() });
    let second = second.after(Some(&first));
    assert_eq!(second.replaced, [replaced("ztunnel", "istio's"), replaced("istio-cni-node", "istio's")]);
    assert_eq!(second.pod_security.unwrap().was, "baseline");
    assert_eq!(second.values, json!({"a": 1}));
}

#[test]
fn a_record_reads_as_it_was_written() {
    let mut record = Record::new(json!({"a": [1, "x"]}), vec![Id::new("v1", "ConfigMap", "ns", "x")]);
    record.replaced = vec![replaced("ztunnel", "istio's")];
    let text = serde_json::to_vec(&record).unwrap();
    assert_eq!(serde_json::from_slice::<Record>(&text).unwrap(), record);
}
