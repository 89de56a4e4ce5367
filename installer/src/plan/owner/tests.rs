use super::*;

#[test]
fn an_object_s_owner_is_who_left_a_mark_in_it() {
    let helm = json!({"metadata": {
        "annotations": {"meta.helm.sh/release-name": "istio-ztunnel"},
        "labels": {"helm.sh/chart": "ztunnel-1.29.1"},
    }});
    let release = Owner::Helm { release: "istio-ztunnel".to_owned(), chart: "ztunnel-1.29.1".to_owned() };
    assert_eq!(Owner::of(&helm), release);
    let istioctl = json!({"metadata": {"labels": {"operator.istio.io/managed": "Reconcile"}}});
    assert_eq!(Owner::of(&istioctl), Owner::Istioctl);
    assert_eq!(Owner::of(&json!({"metadata": {}})), Owner::Nobody);
}

#[test]
fn what_we_applied_is_ours_whatever_marks_are_left() {
    let object = json!({"metadata": {
        "annotations": {"meta.helm.sh/release-name": "istio-ztunnel"},
        "managedFields": [{"manager": "adit", "operation": "Apply"}],
    }});
    assert_eq!(Owner::of(&object), Owner::Ours);
}

#[test]
fn installers_hand_over_their_fields_and_controllers_keep_the_status() {
    let object = json!({"metadata": {"managedFields": [
        {"manager": "helm", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:a": {}}}},
        {"manager": "istio-operator", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:b": {}}}},
        {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
         "apiVersion": "apps/v1", "fieldsV1": {"f:status": {}}},
    ]}});
    let managers = handed_over(&object);
    let [status, ours] = managers.as_array().unwrap().as_slice() else { panic!("{managers}") };
    assert_eq!(text(status, "/manager"), "kube-controller-manager");
    assert!(is_our_apply(ours));
    assert_eq!(ours["fieldsV1"], json!({"f:spec": {"f:a": {}, "f:b": {}}}));
}
