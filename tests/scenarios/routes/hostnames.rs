//! Workloads that are known by a DNS name alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;

use parking_lot::Mutex;
use tests::lab::Speaks;

use super::super::{captured, meshed, uncaptured};
use super::{at, give, line_of, refused, wait_service};

pub(crate) fn a_workload_known_by_a_hostname_is_resolved_when_a_connection_is_made() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let (first, second) = (uncaptured(&lab, "first", "b"), uncaptured(&lab, "second", "b"));
    let _servers = [first.serve(7001, Speaks::First("first_")), second.serve(7001, Speaks::First("second"))];
    let names = Names::serve();
    give(
        &lab,
        "service",
        "workloads:
- {uid: dns/db, namespace: default, name: db, hostname: db.example.net, services: {default/db.example: {}}}
- {uid: dns/gone, namespace: default, name: gone, hostname: gone.example.net, services: {default/gone.example: {}}}
services:
- {namespace: default, hostname: db.example, vips: [/10.97.0.1], ports: {80: 7001}}
- {namespace: default, hostname: gone.example, vips: [/10.97.0.2], ports: {80: 7001}}",
    );
    for (hostname, workload) in [("db.example", "dns/db"), ("gone.example", "dns/gone")] {
        wait_service(&lab, hostname, |service| !service["endpoints"][workload].is_null());
    }
    names.set("db.example.net", first.ip());
    let mut conn = client.connect(at("10.97.0.1:80"));
    conn.hear("first_").echo("hello");
    let local = conn.local();
    drop(conn);
    let line = line_of(&client.node().proxy(), local);
    assert_eq!(line.text("dst.addr"), first.at(7001).to_string(), "{line:?}");
    assert_eq!((line.text("dst.workload"), line.text("dst.service")), ("db", "db.example"), "{line:?}");

    // What has no address is told, and nothing else is tried.
    let line = refused(&client, at("10.97.0.2:80"));
    assert!(line.text("error").contains("no ip addresses were resolved"), "{line:?}");
    assert!(names.asked() > 1);
}

/// A DNS server where the lab's resolver file says, which knows addresses of IPv4.
struct Names(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    names: BTreeMap<String, Ipv4Addr>,
    asked: usize,
}

impl Names {
    #[track_caller]
    fn serve() -> Self {
        let socket = UdpSocket::bind("10.0.0.254:53").expect("the port of a DNS server");
        let known = Arc::new(Mutex::new(Known::default()));
        std::thread::spawn({
            let known = Arc::clone(&known);
            move || {
                let mut query = [0; 512];
                while let Ok((size, client)) = socket.recv_from(&mut query) {
                    if let Some(answer) = known.lock().answer(&query[..size]) {
                        let _ = socket.send_to(&answer, client);
                    }
                }
            }
        });
        Self(known)
    }

    fn set(&self, name: &str, address: IpAddr) {
        let IpAddr::V4(address) = address else { panic!("{address} is not of IPv4") };
        self.0.lock().names.insert(name.to_owned(), address);
    }

    fn asked(&self) -> usize {
        self.0.lock().asked
    }
}

impl Known {
    /// Answers one question (RFC 1035, section 4): with an address, with none, or that there is no such name.
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        self.asked += 1;
        let mut labels = Vec::new();
        let mut rest = query.get(12..)?;
        while let (size @ 1.., after) = (usize::from(*rest.first()?), rest.get(1..)?) {
            labels.push(String::from_utf8_lossy(after.get(..size)?).to_lowercase());
            rest = after.get(size..)?;
        }
        let question = query.get(12..query.len() - rest.len() + 5)?;
        let wants_ipv4 = rest.get(1..3)? == [0, 1];
        let known = self.names.get(&labels.join("."));
        let address = known.filter(|_| wants_ipv4);
        let no_such_name = if known.is_some() { 0 } else { 3 };
        let mut answer = query.get(..2)?.to_vec();
        answer.extend([0x81, 0x80 | no_such_name, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
        answer.extend(question);
        if let Some(address) = address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}
