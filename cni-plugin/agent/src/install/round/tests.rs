use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::Site;
use super::super::decide::Mode;
use super::super::node::tests::Dir;
use super::*;

pub(crate) const KINDNET: &str = "{\n \"cniVersion\": \"0.3.1\",\n \"name\": \"kindnet\",\n \"plugins\": [\n  {\"type\": \"ptp\", \"mtu\": 1e3}\n ]\n}\n";
pub(crate) const WITH_THEM: &str = "{\n \"cniVersion\": \"0.3.1\",\n \"name\": \"kindnet\",\n \"plugins\": [\n  {\"type\": \"ptp\", \"mtu\": 1e3},\n  {\"type\": \"istio-cni\"}\n ]\n}\n";
pub(crate) const BRIDGE: &str = "{ \"name\": \"b\",   \"type\": \"bridge\" }";

pub(crate) fn node(name: &str, mode: Mode, files: &[(&str, &str)]) -> (Dir, Site) {
    let dir = Dir::new(name);
    for sub in ["image", "net.d", "bin", "run", "cni/results"] {
        fs::create_dir_all(dir.0.join(sub)).unwrap();
    }
    dir.write("image/adit-cni", "the plugin");
    dir.write("bin/istio-cni", "not ours");
    for (file, text) in files {
        dir.write(&format!("net.d/{file}"), text);
        let mode = fs::Permissions::from_mode(0o604);
        fs::set_permissions(dir.0.join("net.d").join(file), mode).unwrap();
    }
    let settings = Settings {
        mode,
        conf_name: None,
        owned_name: "02-istio-cni.conflist".to_owned(),
        file_mode: 0o600,
        entry: r#"{"type":"adit-cni","agent_socket":"/s"}"#.to_owned(),
        alone: r#"{"cniVersion":"0.3.1","name":"istio-cni","type":"adit-cni"}"#.to_owned(),
    };
    let binaries = Binaries { source: dir.0.join("image"), targets: vec![dir.0.join("bin")] };
    let site = Site { conf_dir: dir.0.join("net.d"), binaries, settings };
    (dir, site)
}

fn rounds(site: &Site) -> Rounds {
    Rounds::new(ConfDir(site.conf_dir.clone()), site.binaries.clone(), site.settings.clone())
}

/// Runs a new installer until it is content.
#[track_caller]
pub(crate) fn settle(site: &Site) {
    let mut rounds = rounds(site);
    let looked: Vec<_> = (0..6).map(|second| rounds.look(Duration::from_secs(second * 2)).state).collect();
    assert_eq!(looked.last(), Some(&Some(State::Ready)), "{looked:?}");
}

const fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_node_gets_the_plugin_and_is_not_touched_again() {
    let (dir, site) = node("round", Mode::Chained, &[("10-k.conflist", KINDNET)]);
    settle(&site);
    assert!(dir.read("net.d/10-k.conflist").contains("adit-cni"));
    assert_eq!(dir.read("bin/adit-cni"), "the plugin");
    let before = dir.everything();
    settle(&site);
    assert_eq!(dir.everything(), before);
}

#[test]
fn a_node_without_a_network_is_waited_for() {
    let (dir, site) = node("wait", Mode::Chained, &[]);
    let mut rounds = rounds(&site);
    let looked = rounds.look(at(0));
    assert!(matches!(looked.state, Some(State::Waiting(_))), "{looked:?}");
    dir.write("net.d/10-k.conflist", KINDNET);
    // The binary has just been written; the configuration follows at the pace of writes.
    rounds.look(at(5000));
    assert_eq!(rounds.look(at(5000)).state, Some(State::Ready));
}

#[test]
fn what_is_taken_away_comes_back() {
    let (dir, site) = node("repair", Mode::Chained, &[("10-k.conflist", KINDNET)]);
    let mut rounds = rounds(&site);
    for now in [0, 2000, 4000] {
        rounds.look(at(now));
    }
    fs::remove_file(dir.0.join("bin/adit-cni")).unwrap();
    rounds.look(at(6000));
    assert_eq!(dir.read("bin/adit-cni"), "the plugin");
    dir.write("net.d/10-k.conflist", KINDNET);
    let looked = rounds.look(at(8000));
    assert_eq!(looked.events, [Event::Undone, Event::Written]);
    assert_eq!(rounds.look(at(8000)).state, Some(State::Ready));
    fs::remove_file(dir.0.join("net.d/10-k.conflist")).unwrap();
    assert!(matches!(rounds.look(at(10_000)).state, Some(State::Waiting(_))));
}

#[test]
fn somebody_who_rewrites_its_file_ten_times_a_second_is_named_and_makes_no_busy_loop() {
    for (version, mode) in [("0.3.0", Mode::Chained), ("1.0.0", Mode::Chained), ("1.1.0", Mode::Chained)] {
        let theirs = KINDNET.replace("0.3.1", version);
        let (dir, site) = node("war", mode, &[("10-k.conflist", &theirs)]);
        let mut rounds = rounds(&site);
        let mut events = Vec::new();
        for now in (0..30_000).step_by(100) {
            let looked = rounds.look(at(now));
            if looked.events.contains(&Event::Written) {
                let ours = dir.read("net.d/10-k.conflist");
                assert!(ours.starts_with(theirs.trim_end_matches("\n ]\n}\n")), "{ours}");
            }
            events.extend(looked.events);
            dir.write("net.d/10-k.conflist", &theirs);
        }
        let writes = events.iter().filter(|event| **event == Event::Written).count();
        assert!((20..30).contains(&writes), "{writes} writes in 30 s");
        let wars: Vec<_> = events.iter().filter(|event| matches!(event, Event::War { .. })).collect();
        let [Event::War { writer, advice }] = wars.as_slice() else { panic!("{wars:?}") };
        assert!(writer.contains("10-k.conflist with plugins ptp"), "{writer}");
        assert!(advice.contains("istioOwnedCNIConfig"), "{advice}");
    }
}

#[test]
fn with_a_file_of_its_own_the_mesh_has_no_war() {
    let (dir, site) = node("no-war", Mode::Owned, &[("10-k.conflist", KINDNET)]);
    settle(&site);
    let ours = dir.read("net.d/02-istio-cni.conflist");
    let mut rounds = rounds(&site);
    for now in (0..30_000).step_by(100) {
        dir.write("net.d/10-k.conflist", KINDNET);
        let looked = rounds.look(at(now));
        assert_eq!((looked.state, looked.events), (Some(State::Ready), Vec::new()));
    }
    assert_eq!(dir.read("net.d/02-istio-cni.conflist"), ours);
    // Another program renames the chain: the copy stays what it was until there is another chain.
    fs::rename(dir.0.join("net.d/10-k.conflist"), dir.0.join("net.d/10-k.conflist.bak")).unwrap();
    assert_eq!(rounds.look(at(31_000)).state, Some(State::Ready));
    assert_eq!(dir.read("net.d/02-istio-cni.conflist"), ours);
}

#[test]
fn a_file_that_comes_first_makes_the_node_unready_until_it_has_the_plugin() {
    let (dir, site) = node("preempted", Mode::Chained, &[("10-k.conflist", KINDNET)]);
    let mut rounds = rounds(&site);
    for now in [0, 2000, 4000] {
        rounds.look(at(now));
    }
    dir.write("net.d/05-new.conflist", KINDNET);
    let looked = rounds.look(at(6000));
    assert!(matches!(&looked.state, Some(State::Wrong(why)) if why.contains("05-new")), "{looked:?}");
    assert_eq!(looked.events, [Event::Preempted, Event::Undone, Event::Written]);
    assert_eq!(rounds.look(at(6000)).state, Some(State::Ready));
    assert!(dir.read("net.d/05-new.conflist").contains("adit-cni"));
}

#[test]
fn a_chain_half_written_is_given_time_and_then_passed_over() {
    let (dir, site) = node("half", Mode::Chained, &[("10-k.conflist", KINDNET), ("20-l.conflist", KINDNET)]);
    let mut rounds = rounds(&site);
    for now in [0, 2000, 4000] {
        rounds.look(at(now));
    }
    dir.write("net.d/10-k.conflist", "{");
    assert_eq!(rounds.look(at(6000)).state, None);
    assert_eq!(rounds.look(at(8000)).state, None);
    assert_eq!(dir.read("net.d/20-l.conflist"), KINDNET);
    for now in [12_000, 12_000, 12_000] {
        rounds.look(at(now));
    }
    assert!(dir.read("net.d/20-l.conflist").contains("adit-cni"));
}

#[test]
fn a_failure_is_told_and_tried_again() {
    let (dir, site) = node("failure", Mode::Chained, &[("10-k.conflist", KINDNET)]);
    fs::remove_file(dir.0.join("image/adit-cni")).unwrap();
    let mut rounds = rounds(&site);
    let looked = rounds.look(at(0));
    assert_eq!(looked.events, [Event::BinaryFailed]);
    assert!(matches!(&looked.state, Some(State::Wrong(why)) if why.contains("image/adit-cni")), "{looked:?}");
    dir.write("image/adit-cni", "the plugin");
    settle(&site);
}

/// The node's directories per platform, as the chart mounts them, and what stands there before.
const PLATFORMS: [(&str, &str, &str, &str, Mode); 9] = [
    ("default", "/opt/cni/bin", "/etc/cni/net.d", "10-kindnet.conflist", Mode::Chained),
    ("gke", "/home/kubernetes/bin", "/etc/cni/net.d", "10-gke-ptp.conflist", Mode::Chained),
    (
        "k3s",
        "/var/lib/rancher/k3s/data/cni",
        "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        "10-flannel.conflist",
        Mode::Chained,
    ),
    ("k3d", "/bin", "/var/lib/rancher/k3s/agent/etc/cni/net.d", "10-flannel.conflist", Mode::Chained),
    (
        "microk8s",
        "/var/snap/microk8s/current/opt/cni/bin",
        "/var/snap/microk8s/current/args/cni-network",
        "10-calico.conflist",
        Mode::Chained,
    ),
    ("minikube", "/opt/cni/bin", "/etc/cni/net.d", "1-k8s.conflist", Mode::Chained),
    ("openshift", "/var/lib/cni/bin", "/etc/cni/multus/net.d", "00-multus.conf", Mode::Standalone),
    ("bottlerocket", "/opt/cni/bin", "/etc/cni/net.d", "10-aws.conflist", Mode::Chained),
    ("talos", "/opt/cni/bin", "/etc/cni/net.d", "10-flannel.conflist", Mode::Chained),
];

#[test]
fn every_platform_is_a_pair_of_directories() {
    for (platform, bin, conf, file, mode) in PLATFORMS {
        let (dir, mut site) = node(&format!("platform-{platform}"), mode, &[]);
        let inside = |path: &str| dir.0.join("host").join(path.trim_start_matches('/'));
        for path in [bin, conf] {
            fs::create_dir_all(inside(path)).unwrap();
        }
        let text = if file.ends_with(".conflist") { KINDNET } else { BRIDGE };
        fs::write(inside(conf).join(file), text).unwrap();
        fs::write(inside(bin).join("loopback"), "another plugin").unwrap();
        site.conf_dir = inside(conf);
        site.binaries.targets = vec![inside(bin)];
        if mode == Mode::Standalone {
            site.settings.conf_name = Some("istio-cni.conf".to_owned());
        }
        settle(&site);
        assert!(inside(bin).join("adit-cni").is_file(), "{platform}");
        let ours = if mode == Mode::Standalone { "istio-cni.conf" } else { file };
        let chain = fs::read_to_string(inside(conf).join(ours)).unwrap();
        assert!(chain.contains("adit-cni"), "{platform}: {chain}");
        let others = fs::read_dir(inside(bin)).unwrap().count();
        assert_eq!(others, 2, "{platform}");
    }
}
