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
    let mut first = Record::new(json!({}), &[]);
    first.replaced = vec![replaced("ztunnel", "istio's")];
    first.pod_security = Some(PodSecurity { was: "baseline".to_owned() });
    let mut second = Record::new(json!({"a": 1}), &[]);
    second.replaced = vec![replaced("ztunnel", "ours"), replaced("istio-cni-node", "istio's")];
    second.pod_security = Some(PodSecurity { was: "restricted".to_owned() });
    let second = second.after(Some(&first));
    assert_eq!(second.replaced, [replaced("ztunnel", "istio's"), replaced("istio-cni-node", "istio's")]);
    assert_eq!(second.pod_security.unwrap().was, "baseline");
    assert_eq!(second.values, json!({"a": 1}));
}

#[test]
fn a_record_reads_as_it_was_written() {
    let mut record =
        Record::new(json!({"a": [1, "x"]}), &[(Id::new("v1", "ConfigMap", "ns", "x"), json!({}))]);
    record.replaced = vec![replaced("ztunnel", "istio's")];
    let text = serde_json::to_vec(&record).unwrap();
    assert_eq!(serde_json::from_slice::<Record>(&text).unwrap(), record);
}

#[test]
fn the_installation_before_is_kept_until_another_one_follows() {
    let record = |image: &str| {
        let id = Id::new("apps/v1", "DaemonSet", "istio-system", "ztunnel");
        Record::new(json!({"image": image}), &[(id, json!({"image": image}))])
    };
    let first = record("1");
    let second = record("2").after(Some(&first));
    assert_eq!(second.previous.as_ref().map(|before| &before.values), Some(&json!({"image": "1"})));
    assert_eq!(record("2").after(Some(&second)), second);
    let third = record("3").after(Some(&second));
    assert_eq!(third.previous.map(|before| before.values), Some(json!({"image": "2"})));
}
