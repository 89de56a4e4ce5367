//! Pushes as the control plane sends them: what is refused, and what follows from the rest.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prost::Message;
use proxy_core::model::{Identity, PodInfo};
use proxy_core::world::{NodeContext, Strictness};
use proxy_mtls::{CertSource, Limits, Material, SourceError, Store, TlsPolicy};
use xds_client::{AdsEvent, ResourceUpdate, Sink, TypeUrl, Update};
use xds_proto::istio::security::{Address as Cidr, Authorization, Clause, Match, Rule};
use xds_proto::istio::workload::{Address, TunnelProtocol, Workload, address};

use super::Ingest;
use crate::config::{NodeConfig, SnapshotConfig};
use crate::dns::resolver::Resolver;
use crate::live::Live;
use crate::metrics::{About, Metrics, SnapshotMetrics};
use crate::ready::{self, Ready};
use crate::snapshot::Keeper;

/// Notes who is asked for, and never answers.
#[derive(Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl CertSource for Asked {
    fn fetch(&self, identity: Identity) -> BoxFuture<'static, Result<Material, SourceError>> {
        self.0.lock().push(identity.to_string());
        std::future::pending().boxed()
    }
}

struct Rig {
    ingest: Ingest,
    asked: Arc<Mutex<Vec<String>>>,
}

fn rig() -> Rig {
    let context = NodeContext {
        node_name: "n1".into(),
        network: "".into(),
        cluster_domain: "cluster.local".into(),
        own_ports: proxy_core::decide::guard::OwnPorts::default(),
        loopback_tunnels: true,
        on_demand: false,
        unknown_policy: Strictness::default(),
        mesh_addresses: proxy_core::world::MeshAddresses::default(),
    };
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let ingest = Ingest {
        live: Arc::new(Live::new(context, Resolver::default())),
        certificates: Some(Store::new(
            Arc::new(Asked(Arc::clone(&asked))),
            TlsPolicy::default(),
            Limits::default(),
        )),
        metrics: Metrics::new(About {
            tag: "t",
            data_plane: tokio::runtime::Handle::current(),
            lines_lost: Counter::default(),
            max_series: 1_000,
        }),
        ready: Ready::waiting_for(&[ready::STATE]),
        synced: tokio::sync::watch::Sender::new(false),
        keeper: None,
    };
    Rig { ingest, asked }
}

fn pod(name: &str) -> Workload {
    Workload {
        uid: format!("Kubernetes//Pod/ns/{name}"),
        name: name.to_owned(),
        namespace: "ns".to_owned(),
        service_account: name.to_owned(),
        node: "n1".to_owned(),
        addresses: vec![vec![10, 0, 0, 1]],
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        ..Workload::default()
    }
}

fn resource(name: &str, value: Vec<u8>) -> ResourceUpdate {
    ResourceUpdate { name: name.to_owned(), version: "1".to_owned(), value }
}

fn workload(pod: Workload) -> ResourceUpdate {
    let name = pod.uid.clone();
    resource(&name, Address { r#type: Some(address::Type::Workload(pod)) }.encode_to_vec())
}

fn info(name: &str) -> PodInfo {
    PodInfo { name: name.into(), namespace: "ns".into(), service_account: name.into() }
}

#[tokio::test]
async fn a_resource_that_does_not_decode_is_refused_by_name_and_field_and_the_rest_applies() {
    let Rig { ingest, .. } = rig();
    let short = Workload { addresses: vec![vec![1, 2, 3]], ..pod("bad") };
    let refused = ingest.apply(Update {
        type_url: TypeUrl::Address,
        resources: vec![workload(short), resource("torn", vec![0xff]), workload(pod("good"))],
        removed: vec![],
    });
    let names: Vec<_> = refused.iter().map(|refusal| refusal.name.as_str()).collect();
    assert_eq!(names, ["Kubernetes//Pod/ns/bad", "torn"]);
    assert!(refused[0].why.contains("address"), "{}", refused[0].why);
    let told = ingest.metrics.encode().unwrap();
    let counted = format!("adit_xds_refused_resources_total{{url=\"{}\"}} 2", TypeUrl::Address.as_str());
    assert!(told.contains(&counted), "{told}");
    let found = ingest.live.local_workload(&info("good")).await.expect("the good one is there");
    assert_eq!(&*found.name, "good");
}

#[tokio::test(start_paused = true)]
async fn a_removed_workload_is_gone() {
    let Rig { ingest, .. } = rig();
    let push = |resources, removed| {
        assert!(ingest.apply(Update { type_url: TypeUrl::Address, resources, removed }).is_empty());
    };
    push(vec![workload(pod("a"))], vec![]);
    push(vec![], vec!["Kubernetes//Pod/ns/a".to_owned()]);
    let gone = ingest.live.local_workload(&info("a")).await.expect_err("nothing is left");
    assert_eq!(gone.to_string(), "failed to fetch information about local workload: ns/a (a)");
}

#[tokio::test]
async fn a_policy_with_an_unreadable_matcher_is_refused_and_denies() {
    let Rig { ingest, .. } = rig();
    let matched = Match { source_ips: vec![Cidr { address: vec![1], length: 99 }], ..Match::default() };
    let policy = Authorization {
        name: "p".to_owned(),
        namespace: "ns".to_owned(),
        scope: 1,
        rules: vec![Rule { clauses: vec![Clause { matches: vec![matched] }] }],
        ..Authorization::default()
    };
    let refused = ingest.apply(Update {
        type_url: TypeUrl::Authorization,
        resources: vec![resource("ns/p", policy.encode_to_vec())],
        removed: vec![],
    });
    assert_eq!(refused.len(), 1);
    assert!(refused[0].why.contains("source_ips"), "{}", refused[0].why);
    let world = ingest.live.snapshot();
    let kept = world.policy("ns/p").expect("the policy counts all the same");
    assert_eq!(kept.rules, proxy_core::model::Rules::Unreadable);
}

#[tokio::test]
async fn a_local_workload_that_takes_tunnels_has_its_certificate_fetched_ahead() {
    let Rig { ingest, asked } = rig();
    ingest.apply(Update { type_url: TypeUrl::Address, resources: vec![workload(pod("a"))], removed: vec![] });
    tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while asked.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the certificate is asked for");
    assert_eq!(*asked.lock(), ["spiffe://cluster.local/ns/ns/sa/a"]);
}

#[tokio::test]
async fn a_waiting_connection_goes_on_when_its_workload_is_announced() {
    let Rig { ingest, .. } = rig();
    let waiting = info("late");
    let waits = ingest.live.local_workload(&waiting);
    let announces = async {
        tokio::task::yield_now().await;
        ingest.apply(Update {
            type_url: TypeUrl::Address,
            resources: vec![workload(pod("late"))],
            removed: vec![],
        });
    };
    let (found, ()) = tokio::join!(waits, announces);
    assert_eq!(&*found.expect("announced in time").name, "late");
}

#[tokio::test]
async fn the_first_sync_makes_the_state_ready_and_messages_are_counted() {
    let Rig { ingest, .. } = rig();
    ingest.event(AdsEvent::Message { type_url: TypeUrl::Address, bytes: 12 });
    ingest.event(AdsEvent::Synced);
    assert!(*ingest.synced.borrow());
    let text = ingest.metrics.encode().expect("metrics encode");
    assert!(
        text.contains("istio_xds_message_bytes_total{url=\"type.googleapis.com/istio.workload.Address\"} 12"),
        "{text}"
    );
}

/// Kept in a folder of its own, gone with the test.
struct Disk(std::path::PathBuf);

impl Disk {
    fn keeper(&self) -> Arc<Keeper> {
        let config = SnapshotConfig {
            dir: self.0.clone(),
            wait: std::time::Duration::ZERO,
            max_age: std::time::Duration::from_secs(60),
        };
        let node = NodeConfig {
            name: "n1".to_owned(),
            network: String::new(),
            cluster_id: "c".to_owned(),
            cluster_domain: String::new(),
            istio_version: String::new(),
        };
        Keeper::new(config, &node, SnapshotMetrics::default())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn without_a_control_plane_the_next_process_serves_what_this_one_took() {
    let disk = Disk(std::env::temp_dir().join(format!("adit-ingest-{}", std::process::id())));
    let Rig { mut ingest, .. } = rig();
    let keeper = disk.keeper();
    ingest.keeper = Some(Arc::clone(&keeper));
    let bad = Workload { addresses: vec![vec![1, 2, 3]], ..pod("bad") };
    let resources = vec![workload(pod("a")), workload(bad)];
    assert_eq!(ingest.apply(Update { type_url: TypeUrl::Address, resources, removed: vec![] }).len(), 1);
    keeper.write().unwrap();

    let Rig { ingest: mut next, .. } = rig();
    next.keeper = Some(disk.keeper());
    let held = next.restore();
    assert_eq!(held.iter().map(|held| held.name.as_str()).collect::<Vec<_>>(), ["Kubernetes//Pod/ns/a"]);
    assert_eq!(held[0].version, "1");
    let found = next.live.local_workload(&info("a")).await.expect("it is known again");
    assert_eq!(&*found.name, "a");
    assert!(*next.synced.borrow(), "pods are served");
}

#[tokio::test]
async fn without_a_snapshot_the_control_plane_is_waited_for() {
    let disk = Disk(std::env::temp_dir().join(format!("adit-ingest-none-{}", std::process::id())));
    let Rig { mut ingest, .. } = rig();
    ingest.keeper = Some(disk.keeper());
    assert_eq!(ingest.restore(), []);
    assert!(!*ingest.synced.borrow());
}
