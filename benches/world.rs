//! What the control plane sends: decode a resource, apply a batch in worlds of growing size.

use std::hint::black_box;
use std::time::Duration;

use benches::worlds;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use proxy_core::{Moment, decode};
use xds_proto::istio::workload::address::Type;

/// Workloads that one push changes.
const BATCH: u32 = 10;

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    group.throughput(Throughput::Elements(BATCH.into()));
    for size in [10, 1_000, 100_000] {
        let world = worlds::of(size);
        let batch = worlds::batch(size, BATCH);
        let effects = world.clone().apply(batch.clone(), Moment::default());
        assert!(effects.workloads_changed, "the batch changes something");
        group.bench_function(BenchmarkId::new("batch of 10", size), |b| {
            b.iter_batched(
                || (world.clone(), batch.clone()),
                |(mut world, batch)| {
                    let effects = world.apply(batch, Moment::default());
                    (world, effects)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let workload = worlds::encode(Type::Workload(worlds::workload(0, 0, 0)));
    let service = worlds::encode(Type::Service(worlds::service(0)));
    let policy = worlds::policy(0, "cluster.local/ns/shop/sa/client").encode_to_vec();
    for (name, bytes) in [("workload", &workload), ("service", &service)] {
        decode::address("benchmark", bytes).expect("a resource of ours");
        group.bench_function(name, |b| b.iter(|| decode::address("benchmark", black_box(bytes))));
    }
    decode::authorization("shop/policy-0", &policy).expect("a policy of ours");
    group.bench_function("policy", |b| {
        b.iter(|| decode::authorization("shop/policy-0", black_box(&policy)));
    });
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
}

criterion_group! { name = benches; config = short(); targets = apply, decoding }
criterion_main!(benches);
