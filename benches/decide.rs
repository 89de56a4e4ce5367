//! Decisions of one connection: route, authorize, balance.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use benches::worlds;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use proxy_core::decide::{Connection, Flow, Route, RouteKind, Step, authorize, outbound};
use proxy_core::model::{Identity, Workload};
use proxy_core::world::World;
use proxy_core::{Moment, Pick};

/// What the decision must come to, before anything is measured.
#[track_caller]
fn check(world: &World, source: &Workload, flow: Flow) {
    let step = outbound::route(world, source, flow, Pick(1));
    let Step::Done(Ok(Route { kind: RouteKind::Tunnel { .. }, .. })) = &step else {
        panic!("no tunnel: {step:?}");
    };
}

fn flow_to(to: Ipv4Addr, port: u16) -> Flow {
    let from = SocketAddr::from((worlds::pod_ip(0), 40_000));
    Flow::new(from, SocketAddr::from((to, port)))
}

/// To a pod and to a service, in worlds of growing size.
fn route(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for size in [10, 1_000, 100_000] {
        let world = worlds::of(size);
        let source = worlds::known(&world, 0);
        let cases = [
            ("pod", flow_to(worlds::pod_ip(size - 1), 8080)),
            ("service", flow_to(worlds::service_ip(0), 80)),
        ];
        for (name, flow) in cases {
            check(&world, &source, flow);
            let mut picks = 0;
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    picks += 1;
                    outbound::route(black_box(&world), &source, flow, Pick(picks))
                });
            });
        }
    }
    group.finish();
}

/// One endpoint of a service of growing size: any of them, and one near the client.
fn balance(c: &mut Criterion) {
    let mut group = c.benchmark_group("balance");
    for endpoints in [50, 1_000, 10_000] {
        for (name, local) in [("any", false), ("near", true)] {
            let world = worlds::with_service(endpoints, local);
            let source = worlds::known(&world, 0);
            let flow = flow_to(worlds::service_ip(0), 80);
            check(&world, &source, flow);
            let mut picks = 0;
            group.bench_function(BenchmarkId::new(name, endpoints), |b| {
                b.iter(|| {
                    picks += 1;
                    outbound::route(black_box(&world), &source, flow, Pick(picks))
                });
            });
        }
    }
    group.finish();
}

/// A connection that the last of so many policies allows, and one that none allows.
fn authorization(c: &mut Criterion) {
    let mut group = c.benchmark_group("authorize");
    for policies in [0, 10, 1_000] {
        let mut world = worlds::of(10);
        worlds::add_policies(&mut world, policies, "cluster.local/ns/shop/sa/client");
        let local = worlds::known(&world, 0);
        for (name, account) in [("allowed", "client"), ("denied", "stranger")] {
            let connection = Connection {
                source: SocketAddr::from((worlds::pod_ip(1), 40_000)),
                identity: Some(Identity::new("cluster.local", "shop", account)),
                target: SocketAddr::from((worlds::pod_ip(0), 8080)),
            };
            let permitted = authorize(&world, &local, &connection, Moment::default()).is_ok();
            assert_eq!(permitted, name == "allowed" || policies == 0, "{name} by {policies} policies");
            group.bench_function(BenchmarkId::new(name, policies), |b| {
                b.iter(|| authorize(black_box(&world), &local, &connection, Moment::default()));
            });
        }
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
}

criterion_group! { name = benches; config = short(); targets = route, balance, authorization }
criterion_main!(benches);
