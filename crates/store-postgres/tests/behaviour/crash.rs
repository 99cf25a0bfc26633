//! A server that crashes under load: what was acknowledged is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use paddington_exchange::store::{Accepted, Cursors, Fence, LinkStore, SharedStore, Signal};
use paddington_store_postgres::PostgresStore;
use paddington_test_support::{PostgresServer, eventually};

use crate::support::{
    accepts_again, at, claim, claim_later, config, cursor, heard, mailbox, submission, texts,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_crashes_and_the_rest_is_not_stored() {
    let Some(server) = PostgresServer::start() else { return };
    // Longer than anything is waited for: what ends it is the loss of the session lock.
    let config = config(&server.url(), "paddington").with_lease(Duration::from_secs(600));
    let store = PostgresStore::open(&config).await.unwrap();
    let hub = mailbox("hub");
    let mut signals = store.signals();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let (store, hub, stop) = (Arc::clone(&store), hub.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut told, mut unsure) = (BTreeMap::new(), 0);
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let text = format!("{sender}/{number}");
                    match store.accept(&hub, submission(1, text.clone())).await {
                        Ok(Accepted::Stored(id)) => drop(told.insert((id.stream, id.number), text)),
                        Ok(full) => panic!("{full:?}"),
                        Err(error) => {
                            unsure += u64::from(error.may_be_stored());
                            accepts_again(&store).await;
                        }
                    }
                }
                (told, unsure)
            })
        })
        .collect();
    for _ in 0..3 {
        let before = store.health().appended;
        eventually(|| async { store.health().appended > before + 200 }).await;
        server.crash();
        eventually(|| async { store.health().failure.is_some() }).await;
        eventually(|| async { store.lease(0).is_zero() }).await;
        let started = std::time::Instant::now();
        store.accept(&hub, submission(1, "x")).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5), "it fails at once");
        server.resume();
        accepts_again(&store).await;
        heard(&mut signals, |signal| *signal == Signal::Lost).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut told, mut unsure) = (BTreeMap::new(), 0);
    for sender in senders {
        let (of_sender, of_them) = sender.await.unwrap();
        unsure += of_them;
        told.extend(of_sender);
    }
    assert_eq!(unsure, 0, "every broken commit is decided");
    assert_eq!(store.owned(0).await.unwrap(), []);
    assert!(!store.lease(0).is_zero(), "it counts again");
    let claimed = claim_later(&store, &hub).await;
    let mut found = BTreeMap::new();
    for stream in &claimed.streams {
        let texts = texts(&store, &hub, stream.instance, 1).await;
        found.extend((1..).map(|number| (stream.instance, number)).zip(texts));
    }
    assert_eq!(found, told);
}

#[tokio::test]
async fn lazy_changes_wait_for_the_server() {
    let Some(server) = PostgresServer::start() else { return };
    let store = PostgresStore::open(&config(&server.url(), "paddington")).await.unwrap();
    let hub = mailbox("hub");
    let fence = claim(&store, &hub).await.fence;
    server.crash();
    eventually(|| async { store.health().failure.is_some() }).await;
    let committed = store.commit(&hub, cursor(1, 5), fence);
    for answer in [store.sync(&hub), store.uncount(&hub, at(cursor(1, 5).instance, 9), fence)] {
        let error = answer.await.unwrap_err();
        assert!(!error.is_stale(), "{error}");
    }
    store.claim(&hub, Fence::default()).await.unwrap_err();
    server.resume();
    committed.await.unwrap();
    accepts_again(&store).await;
    assert_eq!(store.cursors(&hub).await.unwrap(), [cursor(1, 5)]);
}
