//! The agent and its ways of loading rules: what the operator asks for is what pods get, also after a change of mind.

use std::fs;
use std::os::unix::fs::symlink;

use cni_plugin_agent::config::RawBackend;

use crate::enroll::process;
use crate::rig::{PodNetns, Rig, TempDir, eventually, obey, uid, until, write_pod};

#[tokio::test]
async fn a_pod_follows_the_operator_from_one_backend_to_another_and_the_choice_is_kept() {
    let netns = PodNetns::with_address("10.0.0.5");
    let mut dir = TempDir::new();
    write_pod(&dir, "shop", "a", "10.0.0.5");
    process(&dir, 100, "a", &netns);
    // A host that shows nothing, whatever this machine's own namespace holds.
    let host = PodNetns::empty();
    fs::create_dir_all(dir.path().join("proc/1/ns")).unwrap();
    symlink(host.path(), dir.path().join("proc/1/ns/net")).unwrap();
    for (asked, native, recorded) in [
        (wish("auto", None), true, "nftables"),
        (wish("auto", None), true, "nftables"),
        (wish("false", Some("legacy")), false, "iptables-legacy"),
        (wish("", Some("nft")), false, "iptables-nft"),
        (wish("true", None), true, "nftables"),
    ] {
        let rig = Rig::start(dir, |raw, _| {
            raw.backend = asked;
            raw.measure_interval = Some("200ms".to_owned());
        })
        .await;
        rig.namespace("shop", "ambient");
        let mut proxy = obey(rig.proxy());
        until(&mut proxy, &format!("add {}", uid("a"))).await;
        eventually("the pod's rules are those of the backend alone", || {
            let (nft, legacy) =
                (netns.run("nft", &["list", "tables"]), netns.run("iptables-legacy-save", &[]));
            let iptables = nft_chains(&netns) || legacy.contains("ISTIO_OUTPUT");
            nft.contains("istio-ambient-nat") == native && iptables != native
        })
        .await;
        let record = fs::read_to_string(rig.dir.path().join("run/redirect-backend.json")).unwrap();
        assert!(record.contains(&format!(r#""backend":"{recorded}""#)), "{record}");
        rig.stop.cancel();
        rig.agent.await.unwrap().unwrap();
        dir = rig.dir;
    }
}

fn nft_chains(netns: &PodNetns) -> bool {
    netns.run("iptables-nft-save", &[]).contains("ISTIO_OUTPUT")
}

fn wish(native: &str, iptables: Option<&str>) -> RawBackend {
    RawBackend { native_nftables: Some(native.to_owned()), iptables: iptables.map(str::to_owned) }
}
