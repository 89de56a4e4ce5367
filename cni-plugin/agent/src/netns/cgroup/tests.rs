use super::*;

const ID: &str = "8d5ba2e8b1bd3ba93b2b0e9b6c3f4d0a1f2e3d4c5b6a79880123456789abcdef";
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

#[track_caller]
fn check(text: &str, want: Option<(&str, &str)>) {
    let want = want.map(|(pod, id)| Container { pod: pod.to_owned(), id: id.to_owned() });
    assert_eq!(container(text), want, "{text}");
}

#[test]
fn the_layouts_of_the_runtimes_are_understood() {
    let under = UID.replace('-', "_");
    for path in [
        format!("/kubepods/burstable/pod{UID}/{ID}"),
        format!("/kubepods/pod{UID}/{ID}"),
        format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope"
        ),
        format!("/kubepods.slice/kubepods-pod{under}.slice/docker-{ID}.scope"),
        format!("/kubepods.slice/kubepods-besteffort-pod{under}.slice/crio-{ID}.scope"),
        format!("/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{ID}"),
        format!("/docker/c0ffee/kubelet/kubepods/besteffort/pod{UID}/{ID}"),
        format!("/../../pod{UID}/{ID}"),
    ] {
        check(&format!("0::{path}\n"), Some((UID, ID)));
    }
}

#[test]
fn a_static_pods_uid_keeps_no_separators() {
    let bare = UID.replace('-', "");
    check(&format!("0::/kubepods/burstable/pod{bare}/{ID}"), Some((&bare, ID)));
}

#[test]
fn all_controllers_must_agree() {
    let same = format!("12:pids:/kubepods/pod{UID}/{ID}\n11:cpu,cpuacct:/kubepods/pod{UID}/{ID}\n0::/\n");
    check(&same, Some((UID, ID)));
    let differ = format!("12:pids:/kubepods/pod{UID}/{ID}\n11:cpu:/kubepods/pod{UID}/another\n");
    check(&differ, None);
}

#[test]
fn what_is_no_pods_container_is_none() {
    for text in [
        String::new(),
        "0::/init.scope".to_owned(),
        "0::/system.slice/sshd.service".to_owned(),
        format!("0::/kubepods/pod{UID}"),
        format!("0::/kubepods/pod{UID}/"),
        format!("0::/kubepods/xpod{UID}/{ID}"),
        format!("0::/kubepods/pod{UID}x/{ID}"),
        "0::/kubepods/pod2c48913c-b29f-11e7-9350-02096814/abc".to_owned(),
        format!("0::/kubepods/pod2c48913c--b29f-11e7-9350-020968147796/{ID}"),
        format!("/crio-{ID}"),
        format!("0::/machine.slice/crio-{ID}.scope"),
        "0::/kubepods/podäöü/é".to_owned(),
    ] {
        check(&text, None);
    }
}
