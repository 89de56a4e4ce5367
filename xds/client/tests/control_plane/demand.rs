//! Single addresses, falling back on what was kept, and requests that are too long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tonic::Status;
use xds_client::{
    Asked, Demand, Following, Held, Node, Questions, Refusal, Sink, TypeUrl, Update, ads, demand,
};
use xds_proto::ADDRESS_TYPE;
use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryResponse;

use crate::istiod::{Istiod, Stream, response};
use crate::sink::{Recorder, recorder};

#[tokio::test]
async fn an_address_is_asked_for_and_its_answer_applied_before_the_asker_goes_on() {
    let mut istiod = Istiod::start(None).await;
    let (sink, mut record) = recorder(&[], &[]);
    let (asks, questions) = demand();
    let _client = Client::follow(&istiod, sink, Some(questions), None);
    let mut stream = istiod.stream().await;
    subscriptions(&mut stream).await;

    let asking = ask(&asks, "/10.0.0.1");
    assert_eq!(stream.request().await.resource_names_subscribe, ["/10.0.0.1"]);
    let mut found = response(ADDRESS_TYPE, "1", &["uid"]);
    found.resources[0].aliases = vec!["/10.0.0.1".to_owned()];
    stream.push(found).await;
    assert_eq!(asking.await.unwrap(), Asked::Answered);
    assert_eq!(record.update().await.resources[0].name, "uid");
    assert_eq!(stream.request().await.response_nonce, "1");
    assert_eq!(stream.request().await.resource_names_unsubscribe, ["/10.0.0.1"]);

    let asking = ask(&asks, "/10.0.0.2");
    assert_eq!(stream.request().await.resource_names_subscribe, ["/10.0.0.2"]);
    let removed_resources = vec!["/10.0.0.2".to_owned()];
    stream.push(DeltaDiscoveryResponse { removed_resources, ..response(ADDRESS_TYPE, "2", &[]) }).await;
    assert_eq!(asking.await.unwrap(), Asked::Answered, "it is answered that there is none");
}

#[tokio::test]
async fn a_question_outlives_the_stream_on_which_it_was_asked() {
    let mut istiod = Istiod::start(None).await;
    let (sink, _record) = recorder(&[], &[]);
    let (asks, questions) = demand();
    let _client = Client::follow(&istiod, sink, Some(questions), None);
    let mut stream = istiod.stream().await;
    subscriptions(&mut stream).await;
    let asking = ask(&asks, "uid");
    stream.request().await;
    drop(stream);

    let mut stream = istiod.stream().await;
    assert_eq!(subscriptions(&mut stream).await, HashMap::from([("uid".to_owned(), String::new())]));
    stream.push(response(ADDRESS_TYPE, "1", &["uid"])).await;
    assert_eq!(asking.await.unwrap(), Asked::Answered);
}

/// Has kept one workload.
struct Keeper(Recorder);

impl Sink for Keeper {
    fn apply(&self, update: Update) -> Vec<Refusal> {
        self.0.apply(update)
    }

    fn restore(&self) -> Vec<Held> {
        vec![Held { type_url: TypeUrl::Address, name: "kept".to_owned(), version: "7".to_owned() }]
    }
}

#[tokio::test]
async fn without_a_control_plane_what_was_kept_serves_and_is_reported_once_there_is_one() {
    let mut istiod = Istiod::start(None).await;
    let (sink, _record) = recorder(&[], &[]);
    let _client = Client::follow(&istiod, Keeper(sink), None, Some(Duration::from_millis(10)));
    // Streams come, and none of them brings anything, until what was kept is reported.
    let mut reported = HashMap::new();
    while reported.is_empty() {
        let mut stream = istiod.stream().await;
        reported = subscriptions(&mut stream).await;
    }
    assert_eq!(reported, HashMap::from([("kept".to_owned(), "7".to_owned())]));
}

#[tokio::test]
async fn a_report_that_is_refused_twice_for_want_of_resources_is_left_out() {
    let mut istiod = Istiod::start(None).await;
    let (sink, mut record) = recorder(&[], &[]);
    let _client = Client::follow(&istiod, sink, None, None);
    let mut stream = istiod.stream().await;
    subscriptions(&mut stream).await;
    stream.push(response(ADDRESS_TYPE, "1", &["a", "b"])).await;
    record.update().await;
    stream.request().await;
    drop(stream);
    for _ in 0..2 {
        let mut stream = istiod.stream().await;
        assert_eq!(subscriptions(&mut stream).await.len(), 2);
        stream.fail(Status::resource_exhausted("larger than max")).await;
    }
    let mut stream = istiod.stream().await;
    assert_eq!(subscriptions(&mut stream).await, HashMap::new());
    stream.push(response(ADDRESS_TYPE, "2", &["b"])).await;
    assert_eq!(record.update().await.removed, ["a"], "what is not sent again is gone");
}

struct Client(JoinHandle<std::convert::Infallible>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    fn follow(
        istiod: &Istiod,
        sink: impl Sink,
        on_demand: Option<Questions>,
        fallback: Option<Duration>,
    ) -> Self {
        let node = Node { instance_ip: "10.0.0.7".to_owned(), ..Node::default() };
        let endpoint = istiod.plaintext_endpoint();
        let following = Following { endpoint, node, sink: Arc::new(sink), on_demand, fallback };
        Self(tokio::spawn(ads::run(following)))
    }
}

fn ask(demand: &Demand, key: &'static str) -> JoinHandle<Asked> {
    let demand = demand.clone();
    tokio::spawn(async move { demand.ask(key).await })
}

/// Reads both first requests and answers the versions that the one for addresses holds.
async fn subscriptions(stream: &mut Stream) -> HashMap<String, String> {
    let address = stream.request().await;
    stream.request().await;
    address.initial_resource_versions
}
