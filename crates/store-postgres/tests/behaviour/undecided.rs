//! A commit whose connection broke: whoever has waited is told the truth.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use paddington_exchange::store::{Accepted, SharedStore};

use crate::support::{accepts_again, claim, mailbox, place, submission, texts};

/// Number of sessions that are terminated.
const KILLS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_are_told_the_truth_when_writers_are_killed() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let stream = claim(&store, &hub).await.stream;
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let (store, hub, stop) = (Arc::clone(&store), hub.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut told, mut failed) = (BTreeMap::new(), Vec::new());
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let text = format!("{sender}/{number}");
                    match store.accept(&hub, submission(1, text.clone())).await {
                        Ok(Accepted::Stored(id)) => drop(told.insert(id.number, text)),
                        Ok(full) => panic!("{full:?}"),
                        Err(error) => {
                            assert!(!error.may_be_stored(), "{error}");
                            failed.push(text);
                            accepts_again(&store).await;
                        }
                    }
                }
                (told, failed)
            })
        })
        .collect();
    let url = place.server.url();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // Those that are storing something right now.
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%append(%' \
         AND pid <> pg_backend_pid() AND pid IN (SELECT pid FROM pg_locks WHERE relation = '{}.writer'::regclass)",
        place.schema
    );
    let mut kills = 0;
    while kills < KILLS {
        kills += client.query(&kill, &[]).await.unwrap().len();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    accepts_again(&store).await;
    stop.store(true, Ordering::Relaxed);
    let (mut told, mut failed) = (BTreeMap::new(), Vec::new());
    for sender in senders {
        let (of_sender, failed_ones) = sender.await.unwrap();
        for (number, text) in of_sender {
            assert_eq!(told.insert(number, text), None, "{number} was given twice");
        }
        failed.extend(failed_ones);
    }
    let found = texts(&store, &hub, stream, 1).await;
    let stored: BTreeMap<_, _> = (1..).zip(found).collect();
    assert!(!failed.is_empty(), "no commit broke");
    assert_eq!(stored, told, "what is stored is what the senders were told");
    assert!(failed.iter().all(|text| !stored.values().any(|stored| stored == text)));
}

#[tokio::test]
async fn what_a_broken_connection_sent_before_is_not_stored_after_the_answer() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    claim(&store, &hub).await;
    let writer = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%INSERT INTO writer%'";
    assert_ne!(place.sql(&format!("SELECT count(*) FROM ({writer}) w")), "0");
    // A statement that arrives late, as from a slow network: its writer is closed.
    place.sql("UPDATE writer SET closed = true");
    let error = store.accept(&hub, submission(1, "late")).await.unwrap_err();
    assert!(error.to_string().contains("this writer is closed"), "{error}");
    assert!(!error.may_be_stored());
    assert_eq!(place.sql("SELECT accepted FROM link"), "0");
    // The store begins a new one by itself.
    accepts_again(&store).await;
    store.accept(&hub, submission(1, "next")).await.unwrap();
}
