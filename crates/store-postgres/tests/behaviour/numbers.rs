//! Numbers have no gap and are never given twice, however many replicas accept.

use std::collections::BTreeSet;
use std::sync::Arc;

use paddington_exchange::store::{Accepted, LinkStore, SharedStore};
use paddington_wire::MessageId;

use crate::support::{accept, claim, fill, mailbox, place, submission, texts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_accept_for_one_peer() {
    const EACH: u64 = 5_000;
    let place = place!();
    let hub = mailbox("hub");
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(place.open().await);
    }
    let owner = Arc::clone(&replicas[0]);
    let stream = claim(&owner, &hub).await.stream;
    let senders: Vec<_> = (0_u64..)
        .zip(&replicas)
        .map(|(at, store)| {
            let (store, hub) = (Arc::clone(store), hub.clone());
            tokio::spawn(async move {
                let numbers = at * EACH..(at + 1) * EACH;
                let mut ids: Vec<MessageId> = Vec::new();
                for chunk in numbers.collect::<Vec<_>>().chunks(500) {
                    ids.extend(fill(&store, &hub, chunk.iter().copied()).await);
                }
                ids
            })
        })
        .collect();
    // Whoever reads meanwhile sees a prefix without a gap.
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 4 * EACH as usize {
        seen.extend(texts(&owner, &hub, stream, seen.len() as u64 + 1).await);
    }
    let mut numbers = BTreeSet::new();
    for (sender, at) in senders.into_iter().zip(0..) {
        let ids = sender.await.unwrap();
        assert!(ids.is_sorted_by_key(|id| id.number), "the calls of one replica keep their order");
        for (id, text) in ids.iter().zip(at * EACH..) {
            assert_eq!(id.stream, stream);
            assert!(numbers.insert(id.number), "{} was given twice", id.number);
            assert_eq!(seen[id.number as usize - 1], text.to_string());
        }
    }
    assert_eq!((numbers.first(), numbers.last()), (Some(&1), Some(&(4 * EACH))));
    let commits: u64 = replicas.iter().map(|store| store.health().commits).sum();
    assert!(commits < 4 * EACH / 20, "{commits} commits: they are stored in groups");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_to_many_new_peers_share_commits() {
    let place = place!();
    let store = place.open().await;
    let peers: Vec<_> = (0..300).map(|at| mailbox(&format!("peer-{at}"))).collect();
    let answers: Vec<_> = (1..=5)
        .flat_map(|number| peers.iter().map(move |peer| (number, peer)))
        .map(|(number, peer)| (number, store.accept(peer, submission(number, "x"))))
        .collect();
    for (number, answer) in answers {
        let Accepted::Stored(id) = answer.await.unwrap() else { panic!("it is full") };
        assert_eq!(id.number, number);
    }
    let health = store.health();
    assert_eq!(health.appended, 1_500);
    assert!(health.commits < 40, "{} commits", health.commits);
    assert_eq!(place.sql("SELECT count(*), min(next), max(next) FROM link"), "300|6|6");
}

#[tokio::test]
async fn a_call_takes_effect_even_if_its_future_is_dropped() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    for number in 0..200 {
        drop(store.accept(&hub, submission(number, number.to_string())));
    }
    let last = accept(&store, &hub, "last").await;
    assert_eq!(last.number, 201);
    let found = texts(&store, &hub, last.stream, 1).await;
    let expected = (0..200).map(|number| number.to_string()).chain(["last".to_owned()]);
    assert!(found.into_iter().eq(expected));
    drop(store.accept(&hub, submission(1, "at the end")));
    store.close().await.unwrap();
    assert_eq!(place.sql("SELECT waiting FROM link"), "202");
}
