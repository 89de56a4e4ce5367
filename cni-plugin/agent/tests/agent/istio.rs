//! The plugin of istio-cni on a node that we take over.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::rig::{PodNetns, Rig, TempDir, obey};

async fn rig() -> Rig {
    let dir = TempDir::new();
    fs::create_dir(dir.path().join("istio")).unwrap();
    let rig = Rig::start(dir, |_, _| {}).await;
    rig.namespace("mesh", "ambient");
    rig.namespace("plain", "");
    rig
}

/// One request as istio-cni's plugin makes it; its status and body.
async fn post(socket: &Path, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: unix\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

impl Rig {
    /// A name for the namespace, as runtimes give it one.
    fn named(&self, name: &str, netns: &str) -> String {
        let path = self.dir.path().join("netns").join(name);
        std::os::unix::fs::symlink(netns, &path).unwrap();
        path.display().to_string()
    }

    async fn cmdadd(&self, namespace: &str, name: &str, netns: &str, ip: &str) -> (u16, String) {
        let body = serde_json::json!({
            "Netns": netns, "PodName": name, "PodNamespace": namespace,
            "IPs": [{ "Interface": 0, "Address": { "IP": ip, "Mask": "////AA==" }, "Gateway": "" }],
        });
        post(&self.dir.path().join("istio/pluginevent.sock"), "/cmdadd", &body.to_string()).await
    }
}

#[tokio::test]
async fn a_pod_that_istio_cni_s_plugin_starts_is_enrolled_first() {
    let rig = rig().await;
    let netns = PodNetns::with_address("10.0.0.5");
    let _asked = obey(rig.proxy());
    rig.pod("mesh", "a", "");
    assert_eq!(
        rig.cmdadd("mesh", "a", &rig.named("c1", &netns.path()), "10.0.0.5").await,
        (200, String::new())
    );
    assert!(netns.is_captured());
    assert!(rig.is_enabled("mesh", "a"), "{:?}", rig.status("mesh", "a"));
    // A pod that is not the mesh's starts as it is.
    let other = PodNetns::with_address("10.0.0.6");
    rig.pod("plain", "b", "");
    assert_eq!(rig.cmdadd("plain", "b", &rig.named("c2", &other.path()), "10.0.0.6").await.0, 200);
    assert!(!other.is_captured());
}

#[tokio::test]
async fn a_namespace_that_istio_cni_s_plugin_names_is_checked_like_one_of_ours() {
    let rig = rig().await;
    rig.pod("mesh", "a", "");
    let foreign = PodNetns::with_address("10.0.0.6");
    let (status, why) = rig.cmdadd("mesh", "a", &rig.named("c3", &foreign.path()), "10.0.0.5").await;
    assert!(status == 500 && why.contains("mesh/a") && why.contains("another pod's"), "{status} {why}");
    assert!(!foreign.is_captured());
    let (status, why) = rig.cmdadd("mesh", "a", &rig.named("c4", "/proc/self/ns/net"), "10.0.0.5").await;
    assert!(status == 500 && why.contains("mesh/a") && why.contains("host's own"), "{status} {why}");
    let (status, why) = rig.cmdadd("mesh", "a", "/var/run/netns/nowhere", "10.0.0.5").await;
    assert!(status == 500 && why.contains("/var/run/netns/nowhere"), "{status} {why}");
    let socket = rig.dir.path().join("istio/pluginevent.sock");
    let (status, why) = post(&socket, "/cmdadd", "{}").await;
    assert!(status == 400 && why.contains("PodName is empty"), "{status} {why}");
    let (status, why) = post(&socket, "/cmdadd", &" ".repeat(100_000)).await;
    assert!(status == 400 && why.contains("cannot be read"), "{status} {why}");
    assert_eq!(post(&socket, "/cmddel", "{}").await.0, 404);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn lines_of_istio_cni_s_plugin_are_taken_whatever_they_hold() {
    let rig = rig().await;
    let socket = rig.dir.path().join("istio/log.sock");
    for body in [r#"["{\"level\":\"info\",\"msg\":\"x\"}","no"]"#, "no json"] {
        assert_eq!(post(&socket, "/log", body).await, (200, String::new()));
    }
}

#[tokio::test]
async fn where_istio_cni_never_ran_nobody_listens_for_it() {
    let rig = Rig::start(TempDir::new(), |_, _| {}).await;
    assert!(!rig.dir.path().join("istio").exists());
}
