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

const WARM_UP: u64 = 5_000;
const COUNT: u64 = 20_000;
/// More than this would be a leak, or a copy of a message in each layer.
const MOST_ALLOCATIONS: f64 = 20.0;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for size in [16, 256, 4 * 1024, 64 * 1024] {
        runtime.block_on(async {
            let mut pair = Pair::start(size).await.unwrap();
            pair.messages(WARM_UP).await.unwrap();
            let region = Region::new(ALLOCATOR);
            pair.messages(COUNT).await.unwrap();
            report("message one way", size, &region);
            pair.round_trips(WARM_UP).await.unwrap();
            let region = Region::new(ALLOCATOR);
            pair.round_trips(COUNT).await.unwrap();
            report("round trip", size, &region);
        });
    }
}

fn report(what: &str, size: usize, region: &Region<'_, System>) {
    let change = region.change();
    let each = |count: usize| count as f64 / COUNT as f64;
    let allocations = each(change.allocations + change.reallocations);
    let bytes = each(change.bytes_allocated);
    let line = format!("{what}, {size} B: {allocations:.2} allocations, {bytes:.0} bytes");
    println!("{line}");
    assert!(allocations < MOST_ALLOCATIONS, "{line}");
}
