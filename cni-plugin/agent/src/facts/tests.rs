use super::*;

#[test]
fn control_groups_are_told_by_a_process_s_own() {
    assert_eq!(cgroups("0::/system.slice\n"), "v2");
    assert_eq!(cgroups("12:cpu,cpuacct:/x\n1:name=systemd:/x\n"), "v1");
    assert_eq!(cgroups("12:cpu:/x\n0::/y\n"), "hybrid");
    assert_eq!(cgroups(""), "unknown");
}

#[test]
fn only_modules_that_redirection_may_use_are_listed() {
    let text =
        "xt_mark 16384 2 - Live 0x0\nsnd 1 0 - Live 0x0\nnf_tables 262144 8 nft_ct,xt_mark, Live 0x0\n";
    assert_eq!(modules(text), ["nf_tables", "xt_mark"]);
}

#[test]
fn a_firewall_is_one_that_runs() {
    let running = ["systemd", "firewalld", "kubelet"].map(str::to_owned);
    assert_eq!(firewalls(&running), ["firewalld"]);
    assert!(firewalls(&["firewalld-helper".to_owned()]).is_empty());
}
