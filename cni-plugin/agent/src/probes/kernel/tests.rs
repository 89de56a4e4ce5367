use super::*;
use crate::netns::tests::TempDir;

#[test]
fn only_a_node_without_early_demultiplexing_may_have_pods_behind_branch_interfaces() {
    let proc_root = TempDir::new();
    assert!(!may_have_branches(proc_root.path()));
    let directory = proc_root.path().join("sys/net/ipv4");
    fs::create_dir_all(&directory).unwrap();
    for (value, may) in [("1\n", false), ("0\n", true)] {
        fs::write(directory.join("tcp_early_demux"), value).unwrap();
        assert_eq!(may_have_branches(proc_root.path()), may, "{value:?}");
    }
}
