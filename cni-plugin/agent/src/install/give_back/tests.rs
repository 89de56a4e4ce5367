use std::fs;

use super::super::decide::{Mode, decide};
use super::super::node::tests::{Dir, Found};
use super::super::round;
use super::super::round::tests::{BRIDGE, KINDNET, WITH_THEM, node, settle};
use super::*;

fn traces(dir: &Dir) -> Traces {
    Traces {
        selected_namespaces_file: dir.0.join("run/selected-namespaces.json"),
        cni_cache: dir.0.join("cni"),
    }
}

/// The directories of runtimes.
fn ours(dir: &Dir) -> Vec<Found> {
    let is_theirs = |found: &Found| found.path.starts_with("net.d") || found.path.starts_with("bin");
    dir.everything().into_iter().filter(is_theirs).collect()
}

#[test]
fn install_and_uninstall_leave_every_byte_mode_and_owner_as_they_were() {
    for mode in [Mode::Chained, Mode::Owned, Mode::Standalone] {
        for (file, text) in [("10-k.conflist", KINDNET), ("10-b.conf", BRIDGE), ("10-b.json", BRIDGE)] {
            let (dir, site) = node("give-back", mode, &[(file, text)]);
            let before = ours(&dir);
            settle(&site);
            assert_ne!(ours(&dir), before);
            assert_eq!(give_back(&site, &traces(&dir), Heir::Nobody).unwrap(), Stub::Removed);
            assert_eq!(ours(&dir), before, "{mode:?} {file}");
            assert_eq!(give_back(&site, &traces(&dir), Heir::Nobody).unwrap(), Stub::Removed);
        }
    }
}

#[test]
fn the_plugin_stays_while_a_sandbox_needs_it_or_that_cannot_be_told() {
    let (dir, site) = node("stub", Mode::Chained, &[("10-k.conflist", KINDNET)]);
    // {"plugins":[{"type":"adit-cni"}]}
    let attachment = r#"{"config":"eyJwbHVnaW5zIjpbeyJ0eXBlIjoiYWRpdC1jbmkifV19"}"#;
    dir.write("cni/results/net-1-eth0", attachment);
    settle(&site);
    dir.write("run/selected-namespaces.json", "{}");
    let stub = give_back(&site, &traces(&dir), Heir::Nobody);
    assert_eq!(stub.unwrap(), Stub::Kept { attachments: Some(1) });
    assert_eq!(dir.read("bin/adit-cni"), "the plugin");
    assert_eq!(dir.read("net.d/10-k.conflist"), KINDNET);
    assert!(!dir.0.join("run/selected-namespaces.json").exists());
    fs::remove_file(dir.0.join("cni/results/net-1-eth0")).unwrap();
    assert_eq!(give_back(&site, &traces(&dir), Heir::Nobody).unwrap(), Stub::Removed);
    assert!(!dir.0.join("bin/adit-cni").exists());

    settle(&site);
    fs::remove_dir_all(dir.0.join("cni")).unwrap();
    assert_eq!(give_back(&site, &traces(&dir), Heir::Nobody).unwrap(), Stub::Kept { attachments: None });
}

#[test]
fn istio_cni_gets_its_files_back_and_pods_go_on_waiting() {
    for (file, text) in [("10-k.conflist", WITH_THEM), ("02-istio-cni.conflist", WITH_THEM)] {
        for mode in [Mode::Chained, Mode::Owned] {
            let (dir, site) = node("hand-back", mode, &[(file, text), ("20-l.conflist", KINDNET)]);
            let before = ours(&dir);
            settle(&site);
            dir.write("run/selected-namespaces.json", "{}");
            give_back(&site, &traces(&dir), Heir::IstioCni).unwrap();
            assert_eq!(ours(&dir), before, "{mode:?} {file}");
            assert_eq!(dir.read("run/selected-namespaces.json"), "{}");
            assert_eq!(dir.read("bin/istio-cni"), "not ours");
        }
    }
}

/// A crash leaves the steps before it done, and perhaps one file half prepared.
fn crash(site: &Site, steps: &[Step], done: usize) {
    let dir = ConfDir(site.conf_dir.clone());
    steps.iter().take(done).for_each(|step| dir.carry_out(step).unwrap());
    fs::write(site.conf_dir.join(".adit-new.10-k.conflist.tmp"), "half").unwrap();
    fs::write(site.binaries.targets[0].join("adit-cni.tmp.1"), "half").unwrap();
}

fn install_steps(site: &Site) -> Vec<Step> {
    let dir = ConfDir(site.conf_dir.clone());
    let seen = dir.look().unwrap();
    let plan = decide(&seen, &site.settings, None);
    round::steps(dir.journal().unwrap().with(&plan, &seen), &plan)
}

const NODES: [&[(&str, &str)]; 4] = [
    &[("10-k.conflist", KINDNET)],
    &[("10-b.conf", BRIDGE)],
    &[("10-k.conflist", WITH_THEM)],
    &[("02-istio-cni.conflist", WITH_THEM), ("10-k.conflist", KINDNET)],
];

#[test]
fn after_a_crash_at_any_step_of_an_install_a_restart_ends_as_without_it() {
    for files in NODES {
        for mode in [Mode::Chained, Mode::Owned, Mode::Standalone] {
            let (dir, site) = node("crash-whole", mode, files);
            let steps = install_steps(&site).len();
            settle(&site);
            let want = ours(&dir);
            drop(dir);
            for done in 0..=steps {
                let (dir, site) = node("crash-install", mode, files);
                crash(&site, &install_steps(&site), done);
                settle(&site);
                assert_eq!(ours(&dir), want, "{mode:?} {files:?} after {done} steps");
            }
        }
    }
}

#[test]
fn after_a_crash_at_any_step_the_node_can_be_given_back() {
    for files in NODES {
        for mode in [Mode::Chained, Mode::Owned, Mode::Standalone] {
            let (dir, site) = node("crash-none", mode, files);
            let before = ours(&dir);
            let steps = install_steps(&site).len();
            drop(dir);
            for done in 0..=steps {
                // While the node is being installed, and while it is being given back.
                for back in 0..=4 {
                    let (dir, site) = node("crash-give-back", mode, files);
                    crash(&site, &install_steps(&site), done);
                    let away = super::steps(&site, Heir::IstioCni).unwrap();
                    crash(&site, &away, back);
                    give_back(&site, &traces(&dir), Heir::IstioCni).unwrap();
                    assert_eq!(ours(&dir), before, "{mode:?} {files:?} after {done} and {back} steps");
                }
            }
        }
    }
}
