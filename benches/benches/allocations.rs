//! The allocations of a message in steady state: both services run in one process, and everything
//! is counted, from `send` to the handler and back to the acknowledgement.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::alloc::System;

use paddington_bench::Pair;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Number of messages, and of round trips, that are counted; a quarter as many come before, to warm up.
const COUNT: u64 = 20_000;
/// The same for messages that are longer than 16 KiB.
const COUNT_OF_LONG: u64 = 2_000;
/// More than this would be a leak, or a copy of a message in each layer.
const MOST_ALLOCATIONS: f64 = 20.0;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for size in [16, 256, 4 * 1024, 64 * 1024] {
        runtime.block_on(async {
            let count = if size > 16 * 1024 { COUNT_OF_LONG } else { COUNT };
            let mut pair = Pair::start(size).await.unwrap();
            pair.messages(count / 4).await.unwrap();
            let region = Region::new(ALLOCATOR);
            pair.messages(count).await.unwrap();
            report("message one way", size, count, &region);
            pair.round_trips(count / 4).await.unwrap();
            let region = Region::new(ALLOCATOR);
            pair.round_trips(count).await.unwrap();
            report("round trip", size, count, &region);
        });
    }
}

fn report(what: &str, size: usize, count: u64, region: &Region<'_, System>) {
    let change = region.change();
    let each = |all: usize| all as f64 / count as f64;
    let allocations = each(change.allocations + change.reallocations);
    let bytes = each(change.bytes_allocated);
    let line = format!("{what}, {size} B: {allocations:.2} allocations, {bytes:.0} bytes");
    println!("{line}");
    assert!(allocations < MOST_ALLOCATIONS, "{line}");
}
