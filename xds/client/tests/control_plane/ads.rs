//! The discovery stream: subscriptions, answers, reconnects, trust and tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tonic::Status;
use xds_client::{AdsEvent, Credential, Endpoint, Following, Node, Termination, TrustAnchor, TypeUrl, ads};
use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use xds_proto::{ADDRESS_TYPE, AUTHORIZATION_TYPE};

use crate::istiod::{Authority, Istiod, TLS12, TLS13, TestFile, response};
use crate::sink::{Record, Recorder, Seen, recorder};

#[tokio::test]
async fn a_push_is_applied_and_acknowledged_and_both_types_make_us_synced() {
    let (mut istiod, _client, mut record) = plaintext(&[]).await;
    let mut stream = istiod.stream().await;
    let address = stream.request().await;
    assert_eq!(address.type_url, ADDRESS_TYPE);
    assert_eq!(address.node.unwrap().id, "ztunnel~10.0.0.7~zt.istio-system~istio-system.svc.cluster.local");
    assert_eq!(stream.request().await.type_url, AUTHORIZATION_TYPE);

    stream.push(response(ADDRESS_TYPE, "n1", &["web", "api"])).await;
    let event = Seen::Event(AdsEvent::Message { type_url: TypeUrl::Address, bytes: 6 });
    assert_eq!(record.next().await, event);
    let Seen::Update(update) = record.next().await else { panic!("no update") };
    assert_eq!(update.resources[1].value, b"api");
    let answer = stream.request().await;
    assert_eq!((answer.response_nonce.as_str(), answer.error_detail, answer.node), ("n1", None, None));

    stream.push(response(AUTHORIZATION_TYPE, "n2", &[])).await;
    let event = Seen::Event(AdsEvent::Message { type_url: TypeUrl::Authorization, bytes: 0 });
    assert_eq!(record.next().await, event);
    assert!(matches!(record.next().await, Seen::Update(_)));
    assert_eq!(record.next().await, Seen::Event(AdsEvent::Synced));
    assert_eq!(stream.request().await.response_nonce, "n2");
}

#[tokio::test]
async fn a_refused_resource_is_named_and_asked_for_again_after_a_reconnect() {
    let (mut istiod, _client, mut record) = plaintext(&["bad"]).await;
    let mut stream = istiod.stream().await;
    subscriptions(&mut stream).await;
    stream.push(response(ADDRESS_TYPE, "n1", &["good", "bad"])).await;
    let answer = stream.request().await;
    assert_eq!(answer.error_detail.unwrap().message, "bad: not good");
    assert_eq!(answer.response_nonce, "n1");

    let removed = DeltaDiscoveryResponse {
        removed_resources: vec!["good".to_owned()],
        ..response(ADDRESS_TYPE, "n2", &["better"])
    };
    stream.push(removed).await;
    assert_eq!(stream.request().await.error_detail, None);
    drop(stream);
    assert_eq!(record.termination().await, Termination::Complete);

    let held = subscriptions(&mut istiod.stream().await).await;
    let named = [("better", "1"), ("bad", "")].map(|(name, version)| (name.to_owned(), version.to_owned()));
    assert_eq!(held, [HashMap::from(named), HashMap::new()]);
}

#[tokio::test]
async fn an_unknown_type_is_acknowledged_and_the_stream_goes_on() {
    let (mut istiod, _client, mut record) = plaintext(&[]).await;
    let mut stream = istiod.stream().await;
    subscriptions(&mut stream).await;
    stream.push(response("type.googleapis.com/istio.workload.Workload", "n1", &["web"])).await;
    let answer = stream.request().await;
    assert_eq!((answer.response_nonce.as_str(), answer.error_detail), ("n1", None));
    stream.push(response(ADDRESS_TYPE, "n2", &["web"])).await;
    assert_eq!(record.update().await.type_url, TypeUrl::Address);
}

#[tokio::test]
async fn every_ending_is_counted_under_its_word_and_followed_by_a_new_stream() {
    let (mut istiod, _client, mut record) = plaintext(&[]).await;
    let rows = [
        (Status::unknown("moved"), Termination::Reconnect),
        (Status::cancelled("moved"), Termination::Reconnect),
        (Status::permission_denied("wrong namespace"), Termination::Error),
        (Status::internal("broken"), Termination::Error),
    ];
    for (status, want) in rows {
        let mut stream = istiod.stream().await;
        subscriptions(&mut stream).await;
        stream.push(response(ADDRESS_TYPE, "n", &[])).await;
        stream.request().await;
        let words = format!("{status:?}");
        stream.fail(status).await;
        assert_eq!(record.termination().await, want, "{words}");
    }
    istiod.stream().await;
}

#[tokio::test]
async fn a_lost_connection_is_a_reconnect() {
    let (mut istiod, _client, mut record) = plaintext(&[]).await;
    let mut stream = istiod.stream().await;
    subscriptions(&mut stream).await;
    stream.push(response(ADDRESS_TYPE, "n", &["web"])).await;
    stream.request().await;
    istiod.cut();
    assert_eq!(record.termination().await, Termination::Reconnect);
    let [address, _] = subscriptions(&mut istiod.stream().await).await;
    assert_eq!(address.len(), 1);
}

#[tokio::test]
async fn a_quiet_stream_stays_open() {
    let (mut istiod, _client, mut record) = plaintext(&[]).await;
    let mut stream = istiod.stream().await;
    subscriptions(&mut stream).await;
    stream.push(response(ADDRESS_TYPE, "n1", &["web"])).await;
    record.update().await;
    stream.request().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(20)).await;
    tokio::time::resume();
    stream.push(response(ADDRESS_TYPE, "n2", &["api"])).await;
    let event = Seen::Event(AdsEvent::Message { type_url: TypeUrl::Address, bytes: 3 });
    assert_eq!(record.next().await, event);
}

#[tokio::test]
async fn a_sink_that_panics_ends_the_stream_and_not_the_client() {
    let mut istiod = Istiod::start(None).await;
    let (sink, mut record) = recorder(&[], &["deadly"]);
    let _client = follow(istiod.plaintext_endpoint(), sink);
    let stream = istiod.stream().await;
    stream.push(response(ADDRESS_TYPE, "n", &["deadly"])).await;
    assert_eq!(record.termination().await, Termination::Error);
    let stream = istiod.stream().await;
    stream.push(response(ADDRESS_TYPE, "n", &["web"])).await;
    assert_eq!(record.update().await.resources[0].name, "web");
}

#[tokio::test]
async fn a_wrong_root_is_retried_until_the_file_is_right() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut istiod = Istiod::start(Some(authority.server(&["localhost"], TLS13))).await;
    let roots = TestFile::absent();
    let (sink, mut record) = recorder(&[], &[]);
    let _client = follow(istiod.tls_endpoint(TrustAnchor::File(roots.path().to_owned())), sink);
    assert_eq!(record.termination().await, Termination::ConnectionError);
    roots.write(&other.pem);
    assert_eq!(record.termination().await, Termination::ConnectionError);
    roots.write(&authority.pem);
    istiod.stream().await;
}

#[tokio::test]
async fn a_rotated_token_is_seen_by_the_next_stream() {
    let mut istiod = Istiod::start(None).await;
    let token = TestFile::holding("first");
    let (sink, _record) = recorder(&[], &[]);
    let endpoint = Endpoint {
        credential: Credential::TokenFile(token.path().to_owned()),
        headers: vec![("X-Org".to_owned(), "shop".to_owned())],
        ..istiod.plaintext_endpoint()
    };
    let _client = follow(endpoint, sink);
    let stream = istiod.stream().await;
    assert_eq!(stream.metadata.get("authorization").unwrap(), "Bearer first");
    assert_eq!(stream.metadata.get("clusterid").unwrap(), "Kubernetes");
    assert_eq!(stream.metadata.get("x-org").unwrap(), "shop");
    token.write("second");
    drop(stream);
    assert_eq!(istiod.stream().await.metadata.get("authorization").unwrap(), "Bearer second");
}

#[tokio::test]
async fn an_empty_token_file_is_retried_until_it_is_filled() {
    let mut istiod = Istiod::start(None).await;
    let token = TestFile::holding("");
    let (sink, mut record) = recorder(&[], &[]);
    let credential = Credential::TokenFile(token.path().to_owned());
    let _client = follow(Endpoint { credential, ..istiod.plaintext_endpoint() }, sink);
    assert_eq!(record.termination().await, Termination::ConnectionError);
    token.write("there");
    assert_eq!(istiod.stream().await.metadata.get("authorization").unwrap(), "Bearer there");
}

#[tokio::test]
async fn an_older_tls_is_spoken_only_when_allowed() {
    let authority = Authority::new();
    let mut istiod = Istiod::start(Some(authority.server(&["localhost"], TLS12))).await;
    let endpoint = istiod.tls_endpoint(TrustAnchor::Pem(authority.pem.clone()));
    let (sink, mut record) = recorder(&[], &[]);
    let client = follow(endpoint.clone(), sink);
    assert_eq!(record.termination().await, Termination::ConnectionError);
    client.0.abort();
    let (sink, _record) = recorder(&[], &[]);
    let _client = follow(Endpoint { tls12: true, ..endpoint }, sink);
    istiod.stream().await;
}

#[tokio::test]
async fn with_pqc_demanded_a_control_plane_without_it_is_refused() {
    let authority = Authority::new();
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    let classical = authority.server_with(provider, &["localhost"], TLS13);
    let istiod = Istiod::start(Some(classical)).await;
    let endpoint = istiod.tls_endpoint(TrustAnchor::Pem(authority.pem.clone()));
    let (sink, mut record) = recorder(&[], &[]);
    let _refused = follow(Endpoint { pqc: true, ..endpoint }, sink);
    assert_eq!(record.termination().await, Termination::ConnectionError);

    let mut istiod = Istiod::start(Some(authority.server(&["localhost"], TLS13))).await;
    let endpoint = istiod.tls_endpoint(TrustAnchor::Pem(authority.pem.clone()));
    let (sink, _record) = recorder(&[], &[]);
    let _accepted = follow(Endpoint { pqc: true, ..endpoint }, sink);
    istiod.stream().await;
}

async fn plaintext(refused: &[&'static str]) -> (Istiod, Client, Record) {
    let istiod = Istiod::start(None).await;
    let (sink, record) = recorder(refused, &[]);
    let client = follow(istiod.plaintext_endpoint(), sink);
    (istiod, client, record)
}

/// A running client, stopped with the test.
struct Client(JoinHandle<std::convert::Infallible>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn follow(endpoint: Endpoint, sink: Recorder) -> Client {
    let node = Node {
        instance_ip: "10.0.0.7".to_owned(),
        pod_name: "zt".to_owned(),
        pod_namespace: "istio-system".to_owned(),
        ..Node::default()
    };
    let following = Following { endpoint, node, sink: Arc::new(sink), on_demand: None, fallback: None };
    Client(tokio::spawn(ads::run(following)))
}

/// Reads both first requests and answers the versions they hold.
async fn subscriptions(stream: &mut crate::istiod::Stream) -> [HashMap<String, String>; 2] {
    let (address, authorization) = (stream.request().await, stream.request().await);
    assert_eq!(
        (address.type_url.as_str(), authorization.type_url.as_str()),
        (ADDRESS_TYPE, AUTHORIZATION_TYPE)
    );
    [address.initial_resource_versions, authorization.initial_resource_versions]
}
