//! Discovery over real sockets.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use tonic::Code;
use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use xds_proto::google::rpc::Status;

use super::client::{Client, answer, eventually, names, subscribe};
use super::*;
use crate::objects::Kind;
use crate::translate::ResourceType;

const A: &str = "Kubernetes//Pod/default/a";
const B: &str = "Kubernetes//Pod/default/b";
const NODE: &str = "ztunnel~10.0.0.9~z.istio-system~x";

#[tokio::test]
async fn a_change_is_pushed_and_a_removal_too() {
    let served = Served::plaintext(control()).await;
    served.put(&pod("a", 1));
    let mut client = Client::open(&served, subscribe(ResourceType::Address)).await;
    let first = client.next().await;
    assert_eq!(names(&first), [A]);
    client.ack(&first).await;

    served.put(&pod("b", 2));
    let second = client.next().await;
    assert_eq!(names(&second), [B]);
    client.ack(&second).await;

    served.control.update(|objects| assert!(objects.remove(Kind::Pod, "default", "a")));
    let third = client.next().await;
    assert_eq!(names(&third), [""; 0]);
    assert_eq!(third.removed_resources, [A]);
}

#[tokio::test]
async fn both_types_share_a_stream_with_nonces_of_their_own() {
    let served = Served::plaintext(control()).await;
    served.put("{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}}");
    let mut client = Client::open(&served, subscribe(ResourceType::Address)).await;
    let address = client.next().await;
    client.send(subscribe(ResourceType::Authorization)).await;
    let policy = client.next().await;
    assert_eq!(policy.type_url, ResourceType::Authorization.url());
    assert_eq!(names(&policy), ["default/p"]);
    assert_ne!(address.nonce, policy.nonce);

    assert_eq!(served.control.streams(), [(NODE.to_owned(), false)]);
    client.ack(&address).await;
    client.ack(&policy).await;
    eventually(|| served.control.streams(), |streams| *streams == [(NODE.to_owned(), true)]).await;
    served.put(&pod("a", 1));
    assert_eq!(served.control.streams(), [(NODE.to_owned(), false)]);
}

#[tokio::test]
async fn a_client_that_comes_back_is_spared_what_did_not_change() {
    let served = Served::plaintext(control()).await;
    served.put(&[pod("a", 1), pod("b", 2), pod("c", 3)].join("\n---\n"));
    let mut client = Client::open(&served, subscribe(ResourceType::Address)).await;
    let first = client.next().await;
    drop(client);
    eventually(|| served.control.streams(), Vec::is_empty).await;

    served.put(&pod("b", 9));
    served.control.update(|objects| assert!(objects.remove(Kind::Pod, "default", "c")));
    let initial_resource_versions =
        first.resources.iter().map(|resource| (resource.name.clone(), resource.version.clone())).collect();
    let again = DeltaDiscoveryRequest { initial_resource_versions, ..subscribe(ResourceType::Address) };
    let response = Client::open(&served, again).await.next().await;
    assert_eq!(names(&response), [B]);
    assert_eq!(response.removed_resources, ["Kubernetes//Pod/default/c"]);
}

#[tokio::test]
async fn policies_are_sent_again_to_a_client_that_comes_back() {
    let served = Served::plaintext(control()).await;
    served.put("{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}}");
    let kept = |name: &str| (name.to_owned(), String::new());
    let initial_resource_versions = HashMap::from([kept("default/p"), kept("default/gone")]);
    let again = DeltaDiscoveryRequest { initial_resource_versions, ..subscribe(ResourceType::Authorization) };
    let response = Client::open(&served, again).await.next().await;
    assert_eq!(names(&response), ["default/p"]);
    assert_eq!(response.removed_resources, ["default/gone"]);
}

#[tokio::test]
async fn a_refusal_is_recorded() {
    let served = Served::plaintext(control()).await;
    served.put(&pod("a", 1));
    let mut client = Client::open(&served, subscribe(ResourceType::Address)).await;
    let first = client.next().await;
    let error_detail = Some(Status { message: "a: no good".into(), ..Status::default() });
    client.send(DeltaDiscoveryRequest { error_detail, ..answer(&first.type_url, &first.nonce) }).await;
    let want = Nack {
        node: NODE.into(),
        type_url: ResourceType::Address.url().into(),
        message: "a: no good".into(),
    };
    eventually(|| served.control.nacks(), |nacks| *nacks == [want.clone()]).await;
    // Nothing is sent again but what changes.
    served.put(&pod("b", 2));
    assert_eq!(names(&client.next().await), [B]);
}

#[tokio::test]
async fn a_stale_nonce_is_ignored() {
    let served = Served::plaintext(control()).await;
    served.put(&pod("a", 1));
    let mut client = Client::open(&served, subscribe(ResourceType::Address)).await;
    let first = client.next().await;
    served.put(&pod("a", 2));
    let second = client.next().await;
    assert_ne!(first.nonce, second.nonce);
    let stale = DeltaDiscoveryRequest {
        resource_names_unsubscribe: vec!["*".into()],
        ..answer(&first.type_url, &first.nonce)
    };
    client.send(stale).await;
    client.send(answer(&first.type_url, "never sent")).await;
    client.ack(&second).await;
    served.put(&pod("a", 3));
    assert_eq!(names(&client.next().await), [A]);
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_the_last_state_and_not_every_one() {
    const UPDATES: u8 = 60;
    const PODS: usize = 400;
    let served = Served::plaintext(control()).await;
    served.put(&(0..PODS).map(|i| pod(&format!("p{i}"), 0)).collect::<Vec<_>>().join("\n---\n"));
    let mut client = Client::open(&served, subscribe(ResourceType::Address)).await;
    for n in 1..=UPDATES {
        let address = Ipv4Addr::new(10, 0, 0, n).into();
        served.control.update(|objects| {
            for i in 0..PODS {
                assert!(
                    objects.edit_pod("default", &format!("p{i}"), |pod| pod.status.pod_ip = Some(address))
                );
            }
        });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    let world = served.control.inner.world.borrow().translation.clone();
    let last: BTreeMap<_, _> =
        world.resources.values().map(|r| (r.name.clone(), r.version.clone())).collect();
    let (mut held, mut responses) = (BTreeMap::new(), 0);
    while held != last {
        let response = client.next().await;
        responses += 1;
        held.extend(response.resources.into_iter().map(|resource| (resource.name, resource.version)));
    }
    assert_eq!(held.len(), PODS);
    assert!(responses < 20, "{responses} responses for {UPDATES} updates");
}

#[tokio::test]
async fn a_client_that_does_not_say_who_it_is_is_refused() {
    let served = Served::plaintext(control()).await;
    let nobody = DeltaDiscoveryRequest { node: None, ..subscribe(ResourceType::Address) };
    let refused = Client::open(&served, nobody).await.end().await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "missing node information"));
}

#[tokio::test]
async fn without_the_token_there_is_no_stream() {
    let access = Access { token: Some("secret".into()), any_identity: false, ..Access::default() };
    let served = Served::plaintext(Control::with_access(MeshConfig::default(), ca(), access)).await;
    for token in [None, Some("wrong")] {
        let refused = Client::try_open(&served, subscribe(ResourceType::Address), token).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let mut client =
        Client::try_open(&served, subscribe(ResourceType::Address), Some("secret")).await.unwrap();
    assert_eq!(names(&client.next().await), [""; 0]);
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_cleanly() {
    let control = control();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = control.clone();
    let task = tokio::spawn(async move {
        server.serve_until(listener, None, async { stopped.await.unwrap() }).await;
    });
    let served = Served { control, address, task };
    let mut client = Client::open(&served, subscribe(ResourceType::Address)).await;
    client.next().await;
    stop.send(()).unwrap();
    assert_eq!(client.end().await.unwrap(), None);
    eventually(|| served.task.is_finished(), |finished| *finished).await;
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn dropping_the_server_cuts_its_streams_and_another_may_follow() {
    let control = control();
    let first = Served::plaintext(control.clone()).await;
    let mut client = Client::open(&first, subscribe(ResourceType::Address)).await;
    client.next().await;
    drop(first);
    assert!(client.end().await.is_err());
    let second = Served::plaintext(control).await;
    Client::open(&second, subscribe(ResourceType::Address)).await.next().await;
}
