use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::super::node::tests::Dir;
use super::*;

fn node(name: &str) -> (Dir, Binaries) {
    let dir = Dir::new(name);
    for sub in ["image", "one", "two"] {
        fs::create_dir(dir.0.join(sub)).unwrap();
    }
    dir.write("image/adit-cni", "the plugin");
    dir.write("one/istio-cni", "not ours");
    fs::set_permissions(dir.0.join("image/adit-cni"), Permissions::from_mode(0o755)).unwrap();
    let binaries =
        Binaries { source: dir.0.join("image"), targets: vec![dir.0.join("one"), dir.0.join("two")] };
    (dir, binaries)
}

fn inode(path: PathBuf) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn the_binary_comes_into_every_directory_with_its_mode() {
    let (dir, binaries) = node("binaries");
    assert!(!binaries.are_in_place().unwrap());
    assert_eq!(binaries.install().unwrap(), 2);
    assert!(binaries.are_in_place().unwrap());
    for target in ["one", "two"] {
        let path = dir.0.join(target).join("adit-cni");
        assert_eq!(fs::read(&path).unwrap(), b"the plugin");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o755);
    }
    binaries.remove().unwrap();
    assert_eq!(fs::read_dir(dir.0.join("one")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(dir.0.join("two")).unwrap().count(), 0);
    binaries.remove().unwrap();
    assert_eq!(dir.read("one/istio-cni"), "not ours");
}

#[test]
fn a_binary_that_is_the_same_is_not_touched_and_another_is_replaced() {
    let (dir, binaries) = node("same");
    binaries.install().unwrap();
    let before = inode(dir.0.join("one/adit-cni"));
    dir.write("two/adit-cni", "an elder!!");
    assert_eq!(binaries.install().unwrap(), 1);
    assert_eq!(inode(dir.0.join("one/adit-cni")), before);
    assert_eq!(dir.read("two/adit-cni"), "the plugin");
    fs::set_permissions(dir.0.join("one/adit-cni"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(binaries.install().unwrap(), 1);
}

#[test]
fn what_a_killed_agent_left_goes() {
    let (dir, binaries) = node("stale");
    dir.write("one/adit-cni.tmp.17", "half a bin");
    binaries.sweep().unwrap();
    assert!(!dir.0.join("one/adit-cni.tmp.17").exists());
}

#[test]
fn a_missing_source_is_told_with_its_path() {
    let (dir, binaries) = node("no-source");
    fs::remove_file(dir.0.join("image/adit-cni")).unwrap();
    let error = binaries.install().unwrap_err();
    assert_eq!((error.attempt, error.path), ("read", dir.0.join("image/adit-cni")));
}
