//! What applications send to their resolver, and what resolvers answer.

use prost::Message;
use proxy_core::dns::{
    Asker, Settings, Transport, Verdict, answers, asked, decide, failure, id, is_retryable, is_truncated,
    set_id,
};
use proxy_core::world::World;
use proxy_core::{Moment, Pick, decode};
use xds_proto::istio::workload as wire;

use super::discovery::some_world;

/// Whatever is asked: an answer is one to this question, and no longer than its transport carries.
pub(super) fn message(bytes: &[u8]) {
    let _ = (is_retryable(bytes), is_truncated(bytes), asked(bytes).map(|asked| asked.kind));
    if let Some(failure) = failure(bytes) {
        assert!(answers(bytes, &failure), "a failure that answers something else");
        assert!(failure.len() <= bytes.len().max(12), "a failure of {} bytes", failure.len());
    }
    let mut renamed = bytes.to_vec();
    set_id(&mut renamed, 7);
    assert_eq!(id(&renamed), id(bytes).map(|_| 7));
    let world = world();
    let settings = Settings { ipv6: true, preferred_namespace: None, search_domains: Vec::new() };
    let asker = Asker { namespace: "ns", network: "" };
    for transport in [Transport::Udp, Transport::Tcp] {
        let verdict = decide(&world, &settings, asker, bytes, transport, Pick(1));
        let Verdict::Answer(answer) = verdict else { continue };
        assert!(answers(bytes, &answer.message), "{answer:?} answers something else");
        assert!(answer.message.len() <= 65_535, "{} bytes", answer.message.len());
        assert_eq!(failure(&answer.message), None, "a response was taken for a query");
    }
}

/// A world with the service of the seeds.
fn world() -> World {
    let service = wire::Service {
        name: "web".to_owned(),
        namespace: "ns".to_owned(),
        hostname: "web.ns.svc.cluster.local".to_owned(),
        addresses: (1..=40)
            .map(|last| wire::NetworkAddress {
                network: String::new(),
                address: vec![10, 96, 0, last],
                length: None,
            })
            .collect(),
        ..wire::Service::default()
    };
    let bytes = wire::Address { r#type: Some(wire::address::Type::Service(service)) }.encode_to_vec();
    let mut world = some_world();
    world.apply(vec![decode::address("ns/web", &bytes).expect("a service")], Moment::default());
    world
}
