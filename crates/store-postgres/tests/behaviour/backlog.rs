//! What waits for a peer is read piece by piece, however much it is.

use std::sync::atomic::{AtomicU64, Ordering};

use paddington_exchange::store::Backlog;
use paddington_test_support::eventually;

use crate::support::{fill, mailbox, place};

#[tokio::test]
async fn a_read_looks_at_few_more_messages_than_it_returns() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let first = fill(&store, &hub, 1..=5_000).await[0];
    place.sql("ANALYZE outbox");
    let (reads, rows) = (AtomicU64::new(0), AtomicU64::new(0));
    // The server counts what a session has looked at when that has done something a second later.
    eventually(|| async {
        assert_eq!(store.read(&hub, first, 1).await.unwrap().len(), 1);
        reads.fetch_add(1, Ordering::Relaxed);
        let counted = place.sql(&format!(
            "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'outbox' AND schemaname = '{}'",
            place.schema
        ));
        rows.store(counted.parse().unwrap(), Ordering::Relaxed);
        rows.load(Ordering::Relaxed) > 0
    })
    .await;
    let (reads, rows) = (reads.into_inner(), rows.into_inner());
    assert!(rows <= 100 * reads, "{rows} rows in {reads} reads");
}
