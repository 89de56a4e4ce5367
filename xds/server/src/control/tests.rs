mod certificates;
mod client;
mod streams;

use std::net::SocketAddr;

use tokio::task::JoinHandle;

use super::*;
use crate::ca::CaOptions;

#[test]
fn a_token_is_compared_whole() {
    let access = Access { token: Some("secret".into()), any_identity: false, ..Access::default() };
    let control = Control::with_access(MeshConfig::default(), ca(), access);
    for (header, want) in [
        (Some("Bearer secret"), true),
        (Some("Bearer secre"), false),
        (Some("Bearer secrets"), false),
        (Some("secret"), false),
        (Some(""), false),
        (None, false),
    ] {
        assert_eq!(control.inner.admits(header), want, "{header:?}");
    }
    assert!(Control::new(MeshConfig::default(), ca()).inner.admits(None));
}

#[test]
fn an_update_that_changes_no_resource_is_no_news() {
    let control = Control::new(MeshConfig::default(), ca());
    let mut world = control.inner.world.subscribe();
    control.update(|objects| {
        objects.upsert_yaml("t", "{apiVersion: v1, kind: Namespace, metadata: {name: n}}").unwrap()
    });
    assert!(!world.has_changed().unwrap());
    control.update(|objects| objects.upsert_yaml("t", &pod("a", 1)).unwrap());
    assert!(world.has_changed().unwrap());
    world.mark_unchanged();
    control.update(|objects| objects.upsert_yaml("t", &pod("a", 1)).unwrap());
    assert!(!world.has_changed().unwrap());
}

/// A control plane on a port of its own.
struct Served {
    control: Control,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    async fn plaintext(control: Control) -> Self {
        Self::start(control, None).await
    }

    async fn start(control: Control, tls: Option<ServerTls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = control.clone();
        let task = tokio::spawn(async move { server.serve(listener, tls).await });
        Self { control, address, task }
    }

    fn put(&self, text: &str) {
        self.control.update(|objects| objects.upsert_yaml("t", text).unwrap());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn control() -> Control {
    Control::new(MeshConfig::default(), ca())
}

fn ca() -> Ca {
    Ca::generate("cluster.local", CaOptions::default()).unwrap()
}

fn pod(name: &str, n: u8) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{serviceAccountName: {name}}},
          status: {{podIP: 10.0.0.{n}}}}}"
    )
}
