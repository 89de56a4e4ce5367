use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn served(health: &Health) -> SocketAddr {
    let listener = http_server::listen(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(health.clone().serve(listener));
    address
}

#[tokio::test]
async fn the_node_is_ready_once_pods_are_known_whatever_becomes_of_them() {
    let health = Health::default();
    let address = served(&health).await;
    assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let unready = ask(address, "/readyz").await;
    assert!(
        unready.starts_with("HTTP/1.1 503") && unready.ends_with("pods have not been read yet\n"),
        "{unready}"
    );
    health.set(Facts { synced: true, proxies: 1, enrolled: 1, pending: 0 });
    let ready = ask(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("enrolled=1 pending=0\n"), "{ready}");
    assert!(ask(address, "/metrics").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_missing_proxy_or_a_backlog_degrades_the_node_and_leaves_it_ready() {
    let health = Health::default();
    let address = served(&health).await;
    health.set(Facts { synced: true, proxies: 0, enrolled: 1, pending: 2 });
    let ready = ask(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains("degraded: no proxy is connected"), "{ready}");
    assert!(ready.contains("degraded: pods that the mesh selects"), "{ready}");
    assert_eq!(Facts { synced: true, ..Facts::default() }.degraded(), []);
}

#[tokio::test]
async fn a_plugin_that_runtimes_do_not_find_makes_the_node_unready() {
    let health = Health::default();
    let address = served(&health).await;
    health.set(Facts { synced: true, ..Facts::default() });
    health.plugin(Plugin::Wrong("the node's CNI configuration does not name adit-cni".to_owned()));
    let unready = ask(address, "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("does not name adit-cni"), "{unready}");
    health.plugin(Plugin::InPlace);
    assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
}

#[test]
fn what_degrades_the_node_is_a_metric_too() {
    let metrics = Metrics::new();
    Facts { synced: true, proxies: 0, enrolled: 1, pending: 0 }.show(&metrics);
    let text = metrics.encode().unwrap();
    assert!(text.contains("adit_agent_degraded{why=\"no_proxy\"} 1"), "{text}");
    assert!(text.contains("adit_agent_degraded{why=\"pods_pending\"} 0"), "{text}");
}
