//! What a descriptor is told apart by; entering needs privileges, and is left to the scenarios.

use std::fs::File;
use std::sync::Arc;

use super::{Netns, home};

fn netns(path: &str) -> Netns {
    let home = home().expect("the own namespace");
    Netns::new(File::open(path).expect("a file").into(), home).expect("a descriptor")
}

#[test]
fn the_own_namespace_is_known_by_any_descriptor() {
    let own = netns("/proc/thread-self/ns/net");
    assert!(own.is_home().expect("examined"));
    assert!(own.is_namespace().expect("examined"));
    assert_eq!(own.id(), netns("/proc/self/ns/net").id());
}

#[test]
fn a_device_is_no_namespace() {
    let device = netns("/dev/null");
    assert!(!device.is_home().expect("examined"));
    assert!(!device.is_namespace().expect("examined"));
}

#[test]
fn a_process_is_no_namespace() {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    let process = pidfd_open(getpid(), PidfdFlags::empty()).expect("a descriptor of the process");
    let process = Netns::new(process, Arc::clone(&home().expect("the own namespace"))).expect("a descriptor");
    assert!(!process.is_namespace().expect("examined"));
}
