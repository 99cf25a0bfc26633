//! Envelope throughput: seal and open once, by payload size. `paddington-bench envelope` measures
//! the ratios in alternating rounds.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use paddington_bench::Envelope;

fn envelope(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("envelope seal+open");
    for size in Envelope::SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        for envelope in Envelope::ALL {
            let mut work = envelope.work(size).unwrap();
            group.bench_function(BenchmarkId::new(envelope.name(), size), |bench| {
                bench.iter(|| work().unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, envelope);
criterion_main!(benches);
