use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::*;
use crate::health::Plugin;
use crate::zds::Deadlines;

async fn ask(path: &PathBuf, request: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn proxies_and_the_plugin_are_dumped_to_root_and_the_rest_is_explained() {
    let path = std::env::temp_dir().join(format!("adit-debug-{}.sock", std::process::id()));
    let (notices, _inbox) = mpsc::unbounded_channel();
    let server = Server::new(Deadlines::default(), notices, crate::metrics::Proxies::default());
    server.keep(cni_plugin_wire::zds::PodUid("u-web".to_owned()));
    let health = Health::default();
    health.plugin(Plugin::Wrong("no conflist".to_owned()));
    let debug = Debug { handle: Handle::idle(), server, health, log: None };
    tokio::spawn(debug.serve(http_server::listen_root(&path).unwrap()));
    let zds = ask(&path, "GET /debug/zds").await;
    assert!(zds.starts_with("HTTP/1.1 200") && zds.contains("\"u-web\""), "{zds}");
    assert!(ask(&path, "GET /debug/install").await.contains("\"wrong\": \"no conflist\""));
    assert!(ask(&path, "GET /debug/pods").await.ends_with("[]\n"));
    assert!(ask(&path, "POST /logging?level=debug").await.starts_with("HTTP/1.1 404"));
    assert!(ask(&path, "GET /").await.contains("GET /debug/zds: which proxy serves which pods"));
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_running_agent_tells_who_asks_by_its_run_directory() {
    let run_dir = std::env::temp_dir().join(format!("adit-debug-ask-{}", std::process::id()));
    std::fs::create_dir_all(&run_dir).unwrap();
    let nobody = super::ask(&run_dir, Part::Pods).await.unwrap_err();
    assert!(
        matches!(nobody, AskError::Connect { .. }) && nobody.to_string().contains("debug.sock"),
        "{nobody}"
    );
    let (notices, _inbox) = mpsc::unbounded_channel();
    let server = Server::new(Deadlines::default(), notices, crate::metrics::Proxies::default());
    server.keep(cni_plugin_wire::zds::PodUid("u-web".to_owned()));
    let health = Health::default();
    health.plugin(Plugin::Wrong("no conflist".to_owned()));
    let debug = Debug { handle: Handle::idle(), server, health, log: None };
    tokio::spawn(debug.serve(http_server::listen_root(&run_dir.join(SOCKET_NAME)).unwrap()));
    assert_eq!(super::ask(&run_dir, Part::Pods).await.unwrap(), "[]\n");
    assert!(super::ask(&run_dir, Part::Zds).await.unwrap().contains("u-web"));
    assert!(super::ask(&run_dir, Part::Install).await.unwrap().contains("no conflist"));
    std::fs::remove_dir_all(run_dir).unwrap();
}
