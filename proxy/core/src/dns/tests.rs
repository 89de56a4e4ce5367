//! Which queries the mesh answers, with what and in how many bytes, and that no message can do worse than be passed on.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::message::{Query, Reader};
use super::names::{Candidate, Place, candidates, expansions, with_wildcards};
use super::{
    A, AAAA, Addresses, Asker, Outcome, Settings, Transport, Verdict, addresses, answers, asked, decide,
    failure, id, is_retryable, is_truncated, lookup, record_type, set_id,
};
use crate::{
    Pick,
    fixtures::{service, workload, world},
    model::{IpFamilies, NetworkAddress, Service},
    world::{Change, World},
};

/// What a test expects of a query.
#[derive(Debug, PartialEq, Eq)]
enum Want {
    /// These records, addresses sorted.
    Records(Vec<String>),
    /// No error and no record.
    Nothing,
    /// Passed on.
    Relay,
}

fn records<const N: usize>(records: [&str; N]) -> Want {
    Want::Records(records.map(str::to_owned).into())
}

/// A service of a namespace with virtual addresses on networks.
fn named(hostname: &str, namespace: &str, vips: &[(&str, &str)]) -> Service {
    let mut service = service(hostname).in_namespace(namespace);
    service.vips = vips
        .iter()
        .map(|(network, address)| NetworkAddress {
            network: (*network).into(),
            address: address.parse().unwrap(),
        })
        .collect();
    service
}

fn kube(name: &str, namespace: &str, vips: &[(&str, &str)]) -> Service {
    named(&format!("{name}.{namespace}.svc.cluster.local"), namespace, vips)
}

/// A mesh of two networks, with names of every kind.
fn mesh() -> World {
    let n1 = |address: &'static str| [("n1", address)];
    let headless = |name: &str, v4: &str, v6: &str, of: &str| {
        workload(name).at(v4).at(v6).on_network("n1", None).serving(of, [])
    };
    let of = "ns1/headless.ns1.svc.cluster.local";
    let of_v6 = "ns1/headless-ipv6.ns1.svc.cluster.local";
    let of_ready = "ns1/ready.ns1.svc.cluster.local";
    let changes: Vec<Change> = vec![
        named("www.google.com", "ns1", &n1("1.1.1.1")).into(),
        kube("productpage", "ns1", &n1("9.9.9.9")).into(),
        kube("example", "ns2", &n1("10.10.10.10")).into(),
        kube("nslocal", "ns2", &n1("10.10.10.240")).private().into(),
        kube("nslocalsame", "ns1", &n1("10.10.10.241")).private().into(),
        named(
            "details.ns2.svc.cluster.remote",
            "ns2",
            &[("n1", "11.11.11.11"), ("n1", "12.12.12.12"), ("n1", "13.13.13.13"), ("n1", "14.14.14.14")],
        )
        .into(),
        named("dual.localhost", "ns1", &[("n1", "2.2.2.2"), ("n1", "2001:db8::ff00:42:8329")]).into(),
        named("ipv4.localhost", "ns1", &n1("2.2.2.2")).into(),
        named("ipv6.localhost", "ns1", &n1("2001:db8::1")).into(),
        named("*.wildcard", "ns1", &n1("10.10.10.10")).into(),
        named("*.b.wildcard", "ns1", &n1("11.11.11.11")).into(),
        named("*.svc.mesh.company.net", "ns1", &n1("10.1.2.3")).into(),
        kube("both-networks", "ns1", &[("n1", "21.21.21.21"), ("n2", "22.22.22.22")]).into(),
        kube("n2-only", "ns1", &[("n2", "22.22.22.22")]).into(),
        kube("headless", "ns1", &[]).into(),
        kube("headless-ipv6", "ns1", &[]).families(IpFamilies::Ipv6).into(),
        kube("ready", "ns1", &[]).into(),
        kube("nobody", "ns1", &[]).into(),
        named("headless.example.com", "ns1", &[]).into(),
        headless("h0", "30.30.30.30", "2001:db8::30", of).into(),
        headless("h1", "31.31.31.31", "2001:db8::31", of).into(),
        headless("h2", "33.33.33.33", "2001:db8::33", of_v6).into(),
        headless("h3", "34.34.34.34", "2001:db8::34", of_ready).into(),
        headless("h4", "35.35.35.35", "2001:db8::35", of_ready).unhealthy().into(),
        headless("ext", "32.32.32.32", "2001:db8::32", "ns1/headless.example.com").into(),
        named("preferred.io", "ns2", &n1("10.10.10.210")).into(),
        named("preferred.io", "preferred-ns", &n1("10.10.10.211")).into(),
        named("everywhere.io", "ns1", &n1("10.10.10.112")).into(),
        named("everywhere.io", "ns2", &n1("10.10.10.111")).canonical().into(),
        named("everywhere.io", "preferred-ns", &n1("10.10.10.113")).into(),
        named("canonical.svc", "ns2", &n1("10.10.10.140")).into(),
        named("canonical.svc", "ns3", &n1("10.10.10.141")).canonical().into(),
        named("canonical.svc", "preferred-ns", &n1("10.10.10.142")).into(),
        named("anyone.io", "ns3", &n1("10.10.10.161")).into(),
        named("anyone.io", "ns2", &n1("10.10.10.160")).into(),
    ];
    world(changes)
}

fn settings() -> Settings {
    Settings { ipv6: true, preferred_namespace: Some("preferred-ns".into()), search_domains: Vec::new() }
}

const ASKER: Asker<'_> = Asker { namespace: "ns1", network: "n1" };

/// A query as resolvers send it.
fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// The same query with an OPT record.
fn with_opt(mut message: Vec<u8>, payload: u16, flags: u16, options: &[u8]) -> Vec<u8> {
    message[11] = 1;
    message.push(0);
    let length = u16::try_from(options.len()).unwrap();
    for word in [41, payload, 0, flags, length] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(options);
    message
}

/// A response in words: flags, records, and the OPT record's payload and flags.
#[derive(Debug)]
struct Told {
    flags: u16,
    records: Vec<String>,
    opt: Option<(u16, u16)>,
}

/// Reads a response with pointers followed, by another way than the code under test writes it.
fn read(message: &[u8]) -> Told {
    let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let mut at = 12;
    for _ in 0..word(4) {
        at = name_at(message, at).1 + 4;
    }
    let mut told = Told { flags: word(2), records: Vec::new(), opt: None };
    for _ in 0..word(6) + word(8) + word(10) {
        let (owner, after) = name_at(message, at);
        let (kind, class, length) = (word(after), word(after + 2), usize::from(word(after + 8)));
        let data = &message[after + 10..after + 10 + length];
        let text = match kind {
            1 => IpAddr::from(<[u8; 4]>::try_from(data).unwrap()).to_string(),
            28 => IpAddr::from(<[u8; 16]>::try_from(data).unwrap()).to_string(),
            5 => name_at(message, after + 10).0,
            41 => {
                told.opt = Some((class, word(after + 6)));
                assert_eq!((owner.as_str(), word(after + 4)), ("", 0));
                String::new()
            }
            other => panic!("an answer of type {other}"),
        };
        if kind != 41 {
            assert_eq!((class, word(after + 4), word(after + 6)), (1, 0, 30), "class and TTL");
            told.records.push(format!("{owner} {} {text}", record_type(kind)));
        }
        at = after + 10 + length;
    }
    assert_eq!(at, message.len(), "nothing is left over");
    told
}

fn name_at(message: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    let mut after = None;
    loop {
        let length = usize::from(message[at]);
        if length == 0 {
            return (labels.join("."), after.unwrap_or(at + 1));
        }
        if length >= 0xc0 {
            after = after.or(Some(at + 2));
            at = ((length & 0x3f) << 8) | usize::from(message[at + 1]);
            continue;
        }
        labels.push(String::from_utf8(message[at + 1..at + 1 + length].to_vec()).unwrap());
        at += 1 + length;
    }
}

fn verdict(world: &World, settings: &Settings, asker: Asker<'_>, message: &[u8]) -> Verdict {
    decide(world, settings, asker, message, Transport::Udp, Pick(7))
}

#[track_caller]
fn told(world: &World, settings: &Settings, asker: Asker<'_>, name: &str, kind: u16) -> Want {
    match verdict(world, settings, asker, &query(name, kind)) {
        Verdict::Relay => Want::Relay,
        Verdict::Answer(answer) => {
            let told = read(&answer.message);
            assert_eq!(told.flags, 0x8580, "a response, authoritative, recursion desired and available");
            let mut records = told.records;
            let aliases = records.iter().take_while(|record| record.contains(" cname ")).count();
            records[aliases..].sort();
            assert_eq!(answer.addresses, records.len() - aliases);
            assert_eq!(answer.outcome == Outcome::Found, !records.is_empty());
            if records.is_empty() { Want::Nothing } else { Want::Records(records) }
        }
    }
}

#[track_caller]
fn check<const N: usize>(table: [(&str, u16, Want); N]) {
    let mesh = mesh();
    for (name, kind, want) in table {
        assert_eq!(told(&mesh, &settings(), ASKER, name, kind), want, "{name} {}", record_type(kind));
    }
}

#[test]
fn a_service_is_found_under_every_name_it_goes_by_and_nothing_else_is() {
    check([
        // Other types, whatever the name.
        ("productpage.ns1", 2, Want::Relay),
        ("productpage.ns1.svc.cluster.local", 255, Want::Relay),
        ("productpage.ns1.svc.cluster.local", 33, Want::Relay),
        ("_http._tcp.headless.ns1.svc.cluster.local", 33, Want::Relay),
        // Names from outside the cluster.
        ("www.google.com", A, records(["www.google.com a 1.1.1.1"])),
        ("www.google.com", AAAA, Want::Nothing),
        (
            "www.google.com.ns1.svc.cluster.local",
            A,
            records([
                "www.google.com.ns1.svc.cluster.local cname www.google.com",
                "www.google.com a 1.1.1.1",
            ]),
        ),
        ("www.bing.com", A, Want::Relay),
        // Every way to name a service.
        ("productpage.ns1.svc.cluster.local", A, records(["productpage.ns1.svc.cluster.local a 9.9.9.9"])),
        ("productpage.ns1.svc", A, records(["productpage.ns1.svc a 9.9.9.9"])),
        ("productpage.ns1", A, records(["productpage.ns1 a 9.9.9.9"])),
        ("productpage", A, records(["productpage a 9.9.9.9"])),
        (
            "productpage.ns1.ns1.svc.cluster.local",
            A,
            records([
                "productpage.ns1.ns1.svc.cluster.local cname productpage.ns1",
                "productpage.ns1 a 9.9.9.9",
            ]),
        ),
        ("productpage.ns1.ns1.svc.cluster.local", AAAA, Want::Nothing),
        (
            "productpage.svc.cluster.local",
            A,
            records(["productpage.svc.cluster.local cname productpage", "productpage a 9.9.9.9"]),
        ),
        ("example.ns2", A, records(["example.ns2 a 10.10.10.10"])),
        ("example.ns2.svc", A, records(["example.ns2.svc a 10.10.10.10"])),
        ("example.ns2.svc.cluster.local", A, records(["example.ns2.svc.cluster.local a 10.10.10.10"])),
        ("example", A, Want::Relay),
        ("nowhere.ns1.svc.cluster.local", A, Want::Relay),
        ("svc.cluster.local", A, Want::Relay),
        ("cluster.local", A, Want::Relay),
        ("", A, Want::Relay),
        // Case does not matter, and comes back as it was asked.
        ("ProductPage.NS1", A, records(["ProductPage.NS1 a 9.9.9.9"])),
        (
            "WwW.gOOgle.com.nS1.SVC.cluster.LOCAL",
            A,
            records([
                "WwW.gOOgle.com.nS1.SVC.cluster.LOCAL cname WwW.gOOgle.com",
                "WwW.gOOgle.com a 1.1.1.1",
            ]),
        ),
    ]);
}

#[test]
fn visibility_family_network_and_wildcards_decide_what_is_found() {
    check([
        // What others may not see.
        ("nslocal.ns2.svc.cluster.local", A, Want::Relay),
        (
            "nslocalsame.ns1.svc.cluster.local",
            A,
            records(["nslocalsame.ns1.svc.cluster.local a 10.10.10.241"]),
        ),
        // Another cluster's domain.
        (
            "details.ns2.svc.cluster.remote",
            A,
            records([
                "details.ns2.svc.cluster.remote a 11.11.11.11",
                "details.ns2.svc.cluster.remote a 12.12.12.12",
                "details.ns2.svc.cluster.remote a 13.13.13.13",
                "details.ns2.svc.cluster.remote a 14.14.14.14",
            ]),
        ),
        ("details.ns2", A, Want::Relay),
        // Families.
        ("dual.localhost", A, records(["dual.localhost a 2.2.2.2"])),
        ("dual.localhost", AAAA, records(["dual.localhost aaaa 2001:db8::ff00:42:8329"])),
        ("ipv6.localhost", A, Want::Nothing),
        ("ipv4.localhost", AAAA, Want::Nothing),
        // Wildcards, the nearest one.
        ("foo.wildcard", A, records(["foo.wildcard a 10.10.10.10"])),
        ("a.b.wildcard", A, records(["a.b.wildcard a 11.11.11.11"])),
        ("wildcard", A, Want::Relay),
        ("foo.svc.mesh.company.net", A, records(["foo.svc.mesh.company.net a 10.1.2.3"])),
        ("foo.foons.svc.mesh.company.net", A, records(["foo.foons.svc.mesh.company.net a 10.1.2.3"])),
        (
            "foo.svc.mesh.company.net.ns1.svc.cluster.local",
            A,
            records(["foo.svc.mesh.company.net.ns1.svc.cluster.local a 10.1.2.3"]),
        ),
        // Networks.
        ("n2-only.ns1.svc.cluster.local", A, Want::Nothing),
        (
            "both-networks.ns1.svc.cluster.local",
            A,
            records(["both-networks.ns1.svc.cluster.local a 21.21.21.21"]),
        ),
    ]);
}

#[test]
fn headless_services_and_names_of_several_namespaces_are_found() {
    check([
        // Services without an address of their own.
        (
            "headless.ns1.svc.cluster.local",
            A,
            records([
                "headless.ns1.svc.cluster.local a 30.30.30.30",
                "headless.ns1.svc.cluster.local a 31.31.31.31",
            ]),
        ),
        (
            "headless.ns1.svc.cluster.local",
            AAAA,
            records([
                "headless.ns1.svc.cluster.local aaaa 2001:db8::30",
                "headless.ns1.svc.cluster.local aaaa 2001:db8::31",
            ]),
        ),
        ("headless-ipv6.ns1", AAAA, records(["headless-ipv6.ns1 aaaa 2001:db8::33"])),
        ("headless-ipv6.ns1", A, Want::Nothing),
        ("ready.ns1", A, records(["ready.ns1 a 34.34.34.34"])),
        ("headless.pod0.ns1.svc.cluster.local", A, Want::Relay),
        ("headless.example.com", A, Want::Relay),
        // Names of several namespaces.
        ("preferred.io", A, records(["preferred.io a 10.10.10.211"])),
        ("everywhere.io", A, records(["everywhere.io a 10.10.10.112"])),
        ("canonical.svc", A, records(["canonical.svc a 10.10.10.141"])),
        ("anyone.io", A, records(["anyone.io a 10.10.10.160"])),
    ]);
}

#[test]
fn what_nobody_stands_behind_is_left_to_the_cluster() {
    // An alias of the cluster's DNS looks like this, and so does a service whose endpoints nobody published yet.
    assert_eq!(told(&mesh(), &settings(), ASKER, "nobody.ns1.svc.cluster.local", A), Want::Relay);
}

#[test]
fn a_service_that_takes_unready_endpoints_names_them() {
    let key = "ns1/db.ns1.svc.cluster.local";
    let endpoint = workload("db-0").at("10.0.0.1").serving(key, []).unhealthy();
    let mesh = |service: Service| world([endpoint.clone().into(), service.into()]);
    let asker = Asker { namespace: "ns1", network: "" };
    let told = |service| told(&mesh(service), &settings(), asker, "db", A);
    assert_eq!(told(kube("db", "ns1", &[]).taking_unhealthy()), records(["db a 10.0.0.1"]));
    assert_eq!(told(kube("db", "ns1", &[])), Want::Relay);
}

#[test]
fn without_ipv6_no_address_of_it_is_given() {
    let settings = Settings { ipv6: false, ..settings() };
    let told = |name, kind| told(&mesh(), &settings, ASKER, name, kind);
    assert_eq!(told("dual.localhost", AAAA), Want::Nothing);
    assert_eq!(told("headless.ns1", AAAA), Want::Nothing);
    assert_eq!(told("dual.localhost", A), records(["dual.localhost a 2.2.2.2"]));
    assert_eq!(told("www.bing.com", AAAA), Want::Relay);
}

#[test]
fn search_domains_of_ones_own_replace_those_of_kubernetes() {
    let settings = Settings { search_domains: vec!["corp.example".into()], ..settings() };
    let told = |name| told(&mesh(), &settings, ASKER, name, A);
    assert_eq!(
        told("www.google.com.corp.example"),
        records(["www.google.com.corp.example cname www.google.com", "www.google.com a 1.1.1.1"])
    );
    assert_eq!(told("www.google.com.ns1.svc.cluster.local"), Want::Relay);
    assert_eq!(told("productpage"), records(["productpage a 9.9.9.9"]));
}

#[test]
fn another_namespace_means_another_service() {
    let asker = Asker { namespace: "ns2", network: "n1" };
    let told = |name| told(&mesh(), &settings(), asker, name, A);
    assert_eq!(told("example"), records(["example a 10.10.10.10"]));
    assert_eq!(told("productpage"), Want::Relay);
    assert_eq!(told("everywhere.io"), records(["everywhere.io a 10.10.10.111"]));
    assert_eq!(told("preferred.io"), records(["preferred.io a 10.10.10.210"]));
    assert_eq!(
        told("nslocal.ns2.svc.cluster.local"),
        records(["nslocal.ns2.svc.cluster.local a 10.10.10.240"])
    );
}

#[test]
fn names_are_written_out_as_kubernetes_would() {
    let place = Place { namespace: "ns1", domain: "cluster.local" };
    let table: [(&str, &[&str]); 8] = [
        ("name", &["name.ns1.svc.cluster.local"]),
        ("name.ns2", &["name.ns2.svc.cluster.local", "name.ns2.ns1.svc.cluster.local"]),
        ("name.ns2.svc", &["name.ns2.svc.cluster.local", "name.ns2.svc.svc.cluster.local"]),
        ("name.ns2.not-svc", &["name.ns2.not-svc.svc.cluster.local"]),
        ("pod.sub-domain.ns.svc", &["pod.sub-domain.ns.svc.cluster.local"]),
        ("pod.sub-domain.ns.not-svc", &[]),
        ("name.ns2.svc.cluster", &[]),
        ("name.ns2.svc.cluster.local", &[]),
    ];
    for (name, want) in table {
        assert_eq!(expansions(name, place), want, "{name}");
    }
}

#[test]
fn candidates_come_in_order_and_once() {
    let place = Place { namespace: "ns1", domain: "cluster.local" };
    let search = ["ns1.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    let some = |name: &str, stripped| Candidate { name: name.to_owned(), stripped };
    assert_eq!(
        candidates("a.ns1.svc.cluster.local", place, &search),
        [
            some("a.ns1.svc.cluster.local", None),
            some("a", Some(1)),
            some("a.ns1", Some(2)),
            some("a.ns1.ns1.svc.cluster.local", Some(2)),
            some("a.ns1.svc", Some(3)),
            some("a.ns1.svc.svc.cluster.local", Some(3)),
        ]
    );
    assert_eq!(candidates("cluster.local", place, &search)[0], some("cluster.local", None));
    assert_eq!(with_wildcards("a.b.c").collect::<Vec<_>>(), ["a.b.c", "*.b.c", "*.c"]);
    assert_eq!(with_wildcards("a").collect::<Vec<_>>(), ["a"]);
}

#[test]
fn whatever_is_not_one_plain_question_is_passed_on() {
    let mesh = mesh();
    let plain = || query("productpage.ns1", A);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = plain();
        change(&mut message);
        message
    };
    assert_ne!(verdict(&mesh, &settings(), ASKER, &plain()), Verdict::Relay);
    let opt = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = with_opt(plain(), 1232, 0, &[]);
        change(&mut message);
        message
    };
    let end = plain().len();
    let table: [(&str, Vec<u8>); 21] = [
        ("a response", with(&|m| m[2] |= 0x80)),
        ("NOTIFY", with(&|m| m[2] |= 0x20)),
        ("UPDATE", with(&|m| m[2] |= 0x28)),
        ("IQUERY", with(&|m| m[2] |= 0x08)),
        ("one that says it is truncated", with(&|m| m[2] |= 0x02)),
        ("an authoritative query", with(&|m| m[2] |= 0x04)),
        ("the reserved flag", with(&|m| m[3] |= 0x40)),
        ("a response code", with(&|m| m[3] |= 0x01)),
        ("no question", with(&|m| m[5] = 0)),
        ("two questions", with(&|m| m[5] = 2)),
        ("an answer in it", with(&|m| m[7] = 1)),
        ("an authority in it", with(&|m| m[9] = 1)),
        ("an OPT record that is not there", with(&|m| m[11] = 1)),
        ("bytes after the end", with(&|m| m.push(0))),
        ("cut short", with(&|m| m.truncate(20))),
        ("another class", with(&|m| m[end - 1] = 3)),
        ("a name that points", with(&|m| m[12] = 0xc0)),
        ("a later EDNS", opt(&|m| m[end + 6] = 1)),
        ("an extended response code", opt(&|m| m[end + 5] = 1)),
        ("options that are not there", opt(&|m| m[end + 10] = 9)),
        ("a signature, TSIG", opt(&|m| m[end + 2] = 250)),
    ];
    for (what, message) in table {
        assert_eq!(verdict(&mesh, &settings(), ASKER, &message), Verdict::Relay, "{what}");
    }
    for strange in ["product\\page.ns1", "product page.ns1", "pröductpage.ns1"] {
        assert_eq!(told(&mesh, &settings(), ASKER, strange, A), Want::Relay, "{strange}");
    }
    assert_eq!(verdict(&mesh, &settings(), ASKER, &[]), Verdict::Relay);
}

#[test]
fn extensions_are_answered_in_kind() {
    let mesh = mesh();
    let told = |message: Vec<u8>| match verdict(&mesh, &settings(), ASKER, &message) {
        Verdict::Answer(answer) => read(&answer.message),
        Verdict::Relay => panic!("relayed"),
    };
    let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(told(query("productpage", A)).opt, None);
    assert_eq!(told(with_opt(query("productpage", A), 1232, 0, &cookie)).opt, Some((1232, 0)));
    assert_eq!(told(with_opt(query("productpage", A), 100, 0x8000, &[])).opt, Some((512, 0x8000)));
    let mut quiet = query("productpage", A);
    quiet[2] = 0;
    quiet[3] = 0x30;
    assert_eq!(told(quiet).flags, 0x8490, "no recursion asked for, checking disabled repeated");
}

/// A headless service of 256 endpoints.
fn crowd() -> World {
    let pods = (0..256).map(|number| {
        let pod = workload(&format!("p{number}")).at(&format!("10.2.{}.{}", number / 16, number % 16));
        Change::from(pod.serving("ns/large.ns.svc.cluster.local", []))
    });
    world(pods.chain([kube("large", "ns", &[]).into()]))
}

#[test]
fn a_long_answer_is_cut_to_what_the_client_takes() {
    let world = crowd();
    let asker = Asker { namespace: "ns", network: "" };
    let told =
        |message: &[u8], transport| match decide(&world, &settings(), asker, message, transport, Pick(1)) {
            Verdict::Answer(answer) => (answer.message.len(), read(&answer.message)),
            Verdict::Relay => panic!("relayed"),
        };
    let plain = query("large", A);
    let (length, whole) = told(&plain, Transport::Tcp);
    assert_eq!((whole.records.len(), is_cut(&whole)), (256, false));
    assert!(length > 4096);
    for (message, most) in [
        (plain.clone(), 512),
        (with_opt(plain.clone(), 1232, 0, &[]), 1232),
        (with_opt(plain.clone(), 9, 0, &[]), 512),
    ] {
        let (length, cut) = told(&message, Transport::Udp);
        assert!(is_cut(&cut));
        assert!(length <= most && length + 16 > most, "{length} bytes of {most}");
        assert_eq!(cut.opt.is_some(), message.len() > plain.len());
    }
    let (_, fits) = told(&with_opt(plain, 8192, 0, &[]), Transport::Udp);
    assert_eq!((fits.records.len(), is_cut(&fits)), (256, false));
}

fn is_cut(told: &Told) -> bool {
    told.flags & 0x0200 != 0
}

#[test]
fn addresses_come_in_an_order_that_is_drawn() {
    let world = crowd();
    let asker = Asker { namespace: "ns", network: "" };
    let order =
        |pick| match decide(&world, &settings(), asker, &query("large", A), Transport::Tcp, Pick(pick)) {
            Verdict::Answer(answer) => read(&answer.message).records,
            Verdict::Relay => panic!("relayed"),
        };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    let sorted = |pick| {
        let mut records = order(pick);
        records.sort();
        records
    };
    assert_eq!(sorted(1), sorted(2));
    let firsts: std::collections::BTreeSet<_> = (0..200).map(|pick| order(pick)[0].clone()).collect();
    assert!(firsts.len() > 100, "{} different ones come first", firsts.len());
}

#[test]
fn a_failure_repeats_the_question_and_says_so() {
    let sent = query("www.bing.com", A);
    let failed = failure(&sent).unwrap();
    assert_eq!(failed[..12], [0xab, 0xcd, 0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(failed[12..], sent[12..]);
    assert!(answers(&sent, &failed));
    let update = [0, 1, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff];
    assert_eq!(failure(&update).unwrap(), [0, 1, 0xa8, 0x82, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(failure(&failed), None, "a response is not answered");
    assert_eq!(failure(&[1, 2, 3]), None);
}

#[test]
fn a_response_belongs_to_its_query_only() {
    let sent = query("www.bing.com", A);
    let mut good = sent.clone();
    good[2] |= 0x80;
    assert!(answers(&sent, &good));
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut response = good.clone();
        change(&mut response);
        response
    };
    assert!(answers(&sent, &with(&|m| m[13] = b'W')), "letters of another case are the same name");
    for (what, response) in [
        ("another id", with(&|m| m[0] ^= 1)),
        ("no response", sent.clone()),
        ("another opcode", with(&|m| m[2] |= 0x28)),
        ("another name", with(&|m| m[13] = b'x')),
        ("another type", with(&|m| m[sent.len() - 3] = 28)),
        ("half a header", with(&|m| m.truncate(11))),
    ] {
        assert!(!answers(&sent, &response), "{what}");
    }
    let refused = [0xab, 0xcd, 0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(answers(&sent, &refused), "a server that could not read the query repeats none of it");
}

#[test]
fn what_changes_nothing_may_be_asked_again() {
    let sent = query("www.bing.com", A);
    assert!(is_retryable(&sent));
    let update = [0, 1, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    assert!(!is_retryable(&update) && !is_retryable(&[]));
}

#[test]
fn an_id_is_changed_and_nothing_else() {
    let mut message = query("www.bing.com", A);
    set_id(&mut message, 0x1234);
    assert_eq!(id(&message), Some(0x1234));
    set_id(&mut message, 0xabcd);
    assert_eq!(message, query("www.bing.com", A));
    set_id(&mut [1], 0);
    assert_eq!(id(&[1]), None);
}

#[test]
fn a_question_reads_as_logs_write_it() {
    let text = |message: &[u8]| asked(message).map(|asked| (asked.name.to_string(), record_type(asked.kind)));
    assert_eq!(text(&query("Www.bing.com", 28)), Some(("Www.bing.com.".to_owned(), "aaaa")));
    assert_eq!(text(&query("", 2)), Some((".".to_owned(), "ns")));
    assert_eq!(text(&query("a b\\.c", 65280)), Some(("a\\032b\\\\.c.".to_owned(), "unknown")));
    assert_eq!(text(&[0; 12]), None);
}

#[test]
fn our_own_question_is_one_we_would_answer() {
    let sent = lookup("productpage.ns1.", A, 7).unwrap();
    assert_eq!(Query::read(&sent).unwrap().id, 7);
    let Verdict::Answer(answer) = verdict(&mesh(), &settings(), ASKER, &sent) else { panic!("relayed") };
    let found = addresses(&answer.message).unwrap();
    assert_eq!(
        found,
        Addresses { addresses: vec!["9.9.9.9".parse().unwrap()], ttl: Some(Duration::from_secs(30)) }
    );
    assert!(answers(&sent, &answer.message) && !is_truncated(&answer.message));
    for wrong in ["", ".", "a..b", &"x".repeat(64), &"a.".repeat(128)] {
        assert_eq!(lookup(wrong, A, 7), None, "{wrong:?}");
    }
}

#[test]
fn an_answer_lives_as_long_as_its_shortest_lived_record() {
    let mut response = query("alias.example", A);
    response[2] |= 0x80;
    response[7] = 2;
    // alias.example CNAME example, for 60 s; then an address of it for 300 s, both named by pointers.
    response.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 18]);
    response.extend_from_slice(&[0xc0, 18, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 10, 0, 0, 9]);
    let found = addresses(&response).unwrap();
    assert_eq!((found.addresses.len(), found.ttl), (1, Some(Duration::from_secs(60))));
}

#[test]
fn that_a_name_does_not_exist_is_known_for_as_long_as_its_zone_says() {
    let mut response = query("none.example", A);
    response[2] |= 0x80;
    response[3] = 3;
    let plain = addresses(&response).unwrap();
    assert_eq!(plain, Addresses { addresses: Vec::new(), ttl: None });
    response[9] = 1;
    response.extend_from_slice(&[0xc0, 17, 0, 6, 0, 1, 0, 0, 0, 200, 0, 22, 0, 0]);
    for number in [1_u32, 2, 3, 4, 90] {
        response.extend_from_slice(&number.to_be_bytes());
    }
    assert_eq!(addresses(&response).unwrap().ttl, Some(Duration::from_secs(90)));
    response[3] = 2;
    assert_eq!(addresses(&response), None, "a server that failed knows nothing");
}

proptest! {
    #[test]
    fn no_message_can_do_harm(message in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = verdict(&World::new(crate::fixtures::node()), &settings(), ASKER, &message);
        let _ = (asked(&message).map(|asked| asked.name.to_string()), failure(&message), addresses(&message));
        let _ = (answers(&message, &message), is_retryable(&message), is_truncated(&message));
        let _ = Reader(&message).skip_name();
    }

    #[test]
    fn a_damaged_query_is_answered_as_it_stands_or_passed_on(
        name in "[a-z]{1,9}(\\.ns1)?", at in 0_usize..40, byte in any::<u8>(), payload in any::<u16>(),
    ) {
        let mut message = with_opt(query(&name, A), payload, 0, &[]);
        if let Some(place) = message.get_mut(at) {
            *place = byte;
        }
        if let Verdict::Answer(answer) = verdict(&mesh(), &settings(), ASKER, &message) {
            prop_assert!(answers(&message, &answer.message));
            prop_assert!(answer.message.len() <= usize::from(payload.max(512)));
            read(&answer.message);
        }
    }

    #[test]
    fn any_name_is_written_and_read_back(labels in prop::collection::vec("[a-z0-9-]{1,20}", 1..6)) {
        let name = labels.join(".");
        let sent = lookup(&name, AAAA, 1).unwrap();
        prop_assert_eq!(asked(&sent).unwrap().name.to_string(), format!("{name}."));
    }
}
