//! Names of workloads: who is asked how often, what is remembered, and what happens when nobody answers.

use std::net::SocketAddr;
use std::sync::Arc;

use proxy_core::dns::asked;

use super::super::tests::{response, server, servers};
use super::{Resolver, in_hosts};
use crate::config::ResolvConf;
use crate::metrics::dns::DnsMetrics;

fn resolver(list: &[SocketAddr], ipv6: bool) -> Resolver {
    Resolver::new(servers(list), ipv6, Arc::<DnsMetrics>::default())
}

/// An answer with one address of the type asked for, good for so many seconds.
fn answer(query: &[u8], ttl: u8) -> Vec<u8> {
    let kind = asked(query).unwrap().kind;
    let mut response = response(query, 0);
    // Without the OPT record that the query ends with.
    response.truncate(response.len() - 11);
    (response[7], response[11]) = (1, 0);
    response.extend_from_slice(&[0xc0, 12]);
    let data: &[u8] =
        if kind == 1 { &[10, 0, 0, 9] } else { &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9] };
    let length = u8::try_from(data.len()).unwrap();
    response.extend_from_slice(&kind.to_be_bytes());
    response.extend_from_slice(&[0, 1, 0, 0, 0, ttl, 0, length]);
    response.extend_from_slice(data);
    response
}

async fn resolve(resolver: &Resolver, name: &str) -> Vec<String> {
    let mut found: Vec<_> =
        resolver.resolve(None, &name.into()).await.iter().map(ToString::to_string).collect();
    found.sort();
    found
}

#[tokio::test]
async fn both_families_are_asked_for_and_remembered() {
    let (address, _task, got) = server(|query| vec![answer(query, 60)]).await;
    let resolver = resolver(&[address], true);
    for _ in 0..3 {
        assert_eq!(resolve(&resolver, "db.example").await, ["10.0.0.9", "2001:db8::9"]);
    }
    let mut kinds: Vec<_> = got.lock().iter().map(|query| asked(query).unwrap().kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [1, 28]);
}

#[tokio::test]
async fn without_ipv6_only_the_other_family_is_asked_for() {
    let (address, _task, got) = server(|query| vec![answer(query, 60)]).await;
    assert_eq!(resolve(&resolver(&[address], false), "db.example").await, ["10.0.0.9"]);
    assert_eq!(got.lock().len(), 1);
}

#[tokio::test]
async fn an_answer_is_not_remembered_longer_than_it_says() {
    let (address, _task, got) = server(|query| vec![answer(query, 0)]).await;
    let resolver = resolver(&[address], false);
    resolve(&resolver, "db.example").await;
    resolve(&resolver, "db.example").await;
    assert_eq!(got.lock().len(), 2);
}

#[tokio::test]
async fn those_who_want_one_name_at_once_ask_once() {
    let (address, _task, got) = server(|query| vec![answer(query, 60)]).await;
    let resolver = resolver(&[address], false);
    let all = futures_util::future::join_all((0..20).map(|_| resolve(&resolver, "db.example"))).await;
    assert!(all.iter().all(|found| found == &["10.0.0.9"]));
    assert_eq!(got.lock().len(), 1);
}

#[tokio::test]
async fn those_who_wait_for_an_answer_share_it_also_when_it_is_not_to_be_remembered() {
    let (address, _task, got) = server(|query| vec![answer(query, 0)]).await;
    let resolver = resolver(&[address], false);
    let all = futures_util::future::join_all((0..20).map(|_| resolve(&resolver, "db.example"))).await;
    assert!(all.iter().all(|found| found == &["10.0.0.9"]));
    assert_eq!(got.lock().len(), 1);
}

#[tokio::test]
async fn that_one_family_is_lacking_is_no_answer_while_nobody_tells_of_the_other() {
    let (address, _task, _) = server(|query| {
        let ipv6 = asked(query).unwrap().kind == 28;
        vec![response(query, if ipv6 { 0 } else { 2 })]
    })
    .await;
    let resolver = resolver(&[address], true);
    assert!(resolve(&resolver, "db.example").await.is_empty());
    let known = resolver.slot(&"db.example".into()).lock().await.clone().unwrap();
    assert_eq!(known.until - known.since, super::FAILED, "it is asked again soon");
}

#[tokio::test]
async fn a_server_that_is_silent_leaves_time_to_ask_the_next() {
    let (silent, _first, _) = server(|_| vec![]).await;
    let (knows, _second, _) = server(|query| vec![answer(query, 60)]).await;
    let conf = ResolvConf { servers: vec![silent, knows], ..ResolvConf::default() };
    let resolver = Resolver::new(conf, false, Arc::<DnsMetrics>::default());
    assert_eq!(resolve(&resolver, "db.example").await, ["10.0.0.9"]);
}

#[tokio::test]
async fn an_address_needs_no_server_and_a_failure_keeps_nobody_else_waiting() {
    let (address, _task, got) = server(|_| vec![]).await;
    let resolver = resolver(&[address], false);
    assert_eq!(resolve(&resolver, "10.1.2.3").await, ["10.1.2.3"]);
    assert_eq!(got.lock().len(), 0);
    let all = futures_util::future::join_all((0..20).map(|_| resolve(&resolver, "db.example"))).await;
    assert!(all.iter().all(Vec::is_empty));
    assert_eq!(got.lock().len(), 2, "one query and its repetition, not twenty");
}

#[tokio::test]
async fn search_domains_are_tried_when_the_name_itself_has_no_address() {
    let (address, _task, got) = server(|query| {
        let name = asked(query).unwrap().name.to_string();
        vec![if name == "db.b.example." { answer(query, 60) } else { response(query, 3) }]
    })
    .await;
    let mut conf = servers(&[address]);
    conf.search = vec!["a.example".to_owned(), "b.example".to_owned(), "c.example".to_owned()];
    let resolver = Resolver::new(conf, false, Arc::<DnsMetrics>::default());
    assert_eq!(resolve(&resolver, "db").await, ["10.0.0.9"]);
    let names: Vec<_> = got.lock().iter().map(|query| asked(query).unwrap().name.to_string()).collect();
    assert_eq!(names, ["db.", "db.a.example.", "db.b.example."]);
    assert!(resolve(&resolver, "db.").await.is_empty());
}

#[tokio::test]
async fn no_number_of_names_fills_the_memory() {
    let (address, _task, _) = server(|query| vec![answer(query, 60)]).await;
    let resolver = resolver(&[address], false);
    for number in 0..super::MEMORY + 10 {
        let slot = resolver.slot(&format!("n{number}.example").into());
        let since = tokio::time::Instant::now();
        let until = since + super::UNTOLD;
        *slot.lock().await = Some(super::Remembered { addresses: [].into(), since, until });
    }
    assert_eq!(resolver.known.lock().len(), super::MEMORY);
    assert_eq!(resolve(&resolver, "db.example").await, ["10.0.0.9"]);
}

#[test]
fn the_hosts_file_comes_first() {
    let hosts = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # not db\n#10.0.0.1 db\n10.0.0.2 x DB y\n";
    let told =
        |name| in_hosts(hosts, name).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(told("localhost").unwrap(), ["127.0.0.1", "::1"]);
    assert_eq!(told("db.").unwrap(), ["10.0.0.2"]);
    assert_eq!(told("not"), None);
}
