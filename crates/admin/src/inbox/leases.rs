//! The end of leases: one task with one timer, only while there are leases.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, sleep_until};

use super::inbox::Shared;

/// Starts the task that ends leases. It ends with the last of them.
pub(super) fn spawn(shared: &Arc<Shared>) {
    drop(tokio::spawn(end_leases(Arc::clone(shared))));
}

async fn end_leases(shared: Arc<Shared>) {
    loop {
        let next = {
            let mut queue = shared.lock();
            let next = queue.end_leases(Instant::now());
            if next.is_none() {
                // Under the lock: whoever gives a lease after this starts another task.
                shared.leasing.store(false, Ordering::Relaxed);
            }
            next
        };
        shared.tell();
        let Some(next) = next else { return };
        tokio::select! {
            () = sleep_until(next) => {}
            () = shared.leased.notified() => {}
        }
    }
}
