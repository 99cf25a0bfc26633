//! The cost of a message between two whole services without a network: routing, both queues, both
//! workers, acknowledgements, the cipher. Both run in one thread, joined by a cable in memory.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use paddington_bench::Pair;
use tokio::runtime::Builder;

const SIZES: [usize; 4] = [16, 256, 4 * 1024, 64 * 1024];

fn exchange(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let timed = |pair: &mut Pair, count: u64, back: bool| -> Duration {
        let began = Instant::now();
        let done = runtime.block_on(async {
            if back { pair.round_trips(count).await } else { pair.messages(count).await }
        });
        done.unwrap();
        began.elapsed()
    };
    let mut group = criterion.benchmark_group("exchange");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut pair = runtime.block_on(Pair::start(size)).unwrap();
        for (name, back) in [("message", false), ("round trip", true)] {
            group.bench_function(BenchmarkId::new(name, size), |bench| {
                bench.iter_custom(|count| timed(&mut pair, count, back));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, exchange);
criterion_main!(benches);
