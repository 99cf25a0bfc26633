//! A database that has forgotten something: nothing that is accepted afterwards is lost.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use paddington_exchange::store::{Accepted, LinkStore, SharedStore};
use paddington_store_postgres::{PostgresStore, restored};
use paddington_test_support::{PostgresServer, eventually};

use crate::support::{
    accept, accepts_again, at, claim, claim_later, config, fill, mailbox, place, submission, texts,
};

/// Puts the rows of a snapshot in the place of the present ones.
fn forget(place: &crate::support::Place) {
    for table in ["link", "stream", "outbox"] {
        place.sql(&format!("DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM old_{table}"));
    }
}

fn snapshot(place: &crate::support::Place) {
    for table in ["link", "stream", "outbox"] {
        place.sql(&format!("CREATE TABLE old_{table} AS SELECT * FROM {table}"));
    }
}

#[tokio::test]
async fn what_is_accepted_after_a_restore_has_a_stream_of_its_own() {
    let place = place!();
    let hub = mailbox("hub");
    let store = place.open().await;
    let old = claim(&store, &hub).await;
    fill(&store, &hub, 1..=3).await;
    snapshot(&place);
    // These are known to the peer, perhaps, and forgotten by the database.
    fill(&store, &hub, 4..=9).await;
    let fence = claim(&store, &hub).await.fence;
    store.close().await.unwrap();
    forget(&place);
    restored(&place.config()).await.unwrap();

    let store = place.open().await;
    let id = accept(&store, &hub, "new").await;
    assert_ne!(id.stream, old.stream);
    assert_eq!(id.number, 1);
    assert_eq!(
        place.sql("SELECT string_agg(seq::text, ',' ORDER BY ord, seq) FROM outbox"),
        "1,2,3,1"
    );
    let claimed = claim_later(&store, &hub).await;
    assert!(claimed.fence > fence, "{} was given before", claimed.fence.0);
    assert_eq!(
        claimed.streams.iter().map(|it| it.instance).collect::<Vec<_>>(),
        [old.stream, id.stream]
    );
    assert_eq!(texts(&store, &hub, id.stream, 1).await, ["new"]);
}

#[tokio::test]
async fn what_is_accepted_after_a_failover_to_a_standby_that_lags_is_not_lost() {
    let Some(primary) = PostgresServer::start() else { return };
    let Some(standby) = primary.standby() else { return };
    let hosts = format!("{},{}", primary.socket().display(), standby.socket().display());
    let url =
        format!("postgres:///postgres?user=postgres&host={hosts}&target_session_attrs=read-write");
    let text = PostgresStore::open(&config(&standby.url(), "a")).await.unwrap_err().to_string();
    assert!(text.contains("is a standby or read-only: name the primary"), "{text}");
    let (store, hub) = (PostgresStore::open(&config(&url, "a")).await.unwrap(), mailbox("hub"));
    let old = claim(&store, &hub).await;
    fill(&store, &hub, 1..=3).await;
    let known = || standby.sql("SELECT count(*) FROM a.outbox");
    eventually(|| async { known() == "3" }).await;
    standby.cut_off();
    fill(&store, &hub, 4..=9).await;
    primary.crash();
    standby.promote();
    eventually(|| async { store.health().failure.is_some() || store.lease().is_zero() }).await;
    eventually(|| async { store.owned().await.is_ok() }).await;
    accepts_again(&store).await;
    let id = accept(&store, &hub, "new").await;
    assert_eq!(id.number, 1);
    assert_ne!(id.stream, old.stream);
    let owned = store.owned().await.unwrap();
    assert_eq!(
        (owned[0].fence, owned[0].stream),
        (old.fence, id.stream),
        "it has to be claimed anew"
    );
    let claimed = claim(&store, &hub).await;
    assert!(claimed.fence.0 >> 40 > old.fence.0 >> 40);
    let streams: Vec<_> =
        claimed.streams.iter().map(|it| (it.instance, it.messages.len())).collect();
    assert_eq!(streams, [(old.stream, 3), (id.stream, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_accepted_is_lost_when_a_synchronous_standby_takes_over() {
    const SENDERS: u64 = 4;
    let Some(primary) = PostgresServer::start() else { return };
    let Some(standby) = primary.standby() else { return };
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'");
    primary.sql("SELECT pg_reload_conf()");
    let is_synchronous = || {
        primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'") == "1"
    };
    eventually(async || is_synchronous()).await;
    let hosts = format!("{},{}", primary.socket().display(), standby.socket().display());
    let url =
        format!("postgres:///postgres?user=postgres&host={hosts}&target_session_attrs=read-write");
    let (store, hub) = (PostgresStore::open(&config(&url, "a")).await.unwrap(), mailbox("hub"));
    claim(&store, &hub).await;
    let stop = Arc::new(AtomicBool::new(false));
    let senders = (0..SENDERS).map(|sender| {
        let (store, hub, stop) = (Arc::clone(&store), hub.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut known, mut refused) = (HashMap::new(), HashSet::new());
            for number in 0_u64.. {
                let text = format!("{sender}-{number}");
                match store.accept(&hub, submission(1, text.clone())).await {
                    Ok(Accepted::Stored(id)) => drop(known.insert(id, text)),
                    Ok(Accepted::Full { .. }) => panic!("there is room"),
                    Err(cause) if cause.may_be_stored() => {}
                    Err(_) => {
                        refused.insert(text);
                        accepts_again(&store).await;
                    }
                }
                if stop.load(Ordering::Relaxed) {
                    return (known, refused);
                }
                tokio::task::yield_now().await;
            }
            (known, refused)
        })
    });
    let senders: Vec<_> = senders.collect();
    let count = |server: &PostgresServer| server.sql("SELECT count(*) FROM a.outbox");
    eventually(async || count(&primary).parse::<u64>().unwrap() > 200).await;
    primary.crash();
    standby.promote();
    let before = count(&standby);
    eventually(async || count(&standby) != before).await;
    stop.store(true, Ordering::Relaxed);
    let (mut known, mut refused) = (HashMap::new(), HashSet::new());
    for sender in senders {
        let (of_sender, not) = sender.await.unwrap();
        known.extend(of_sender);
        refused.extend(not);
    }
    let mut found = HashMap::new();
    for stream in claim_later(&store, &hub).await.streams {
        let first = at(stream.instance, stream.base);
        let number = stream.messages.len();
        let all = texts(&store, &hub, stream.instance, stream.base).await;
        assert_eq!(all.len(), number);
        found.extend((first.number..).map(|it| at(stream.instance, it)).zip(all));
    }
    let lost = known.iter().filter(|(id, text)| found.get(id) != Some(text)).count();
    let kept = found.values().filter(|text| refused.contains(*text)).count();
    assert_eq!((lost, kept), (0, 0), "of {} that were accepted", known.len());
}

/// The control: without the epoch, numbers are given twice, and the peer takes the new messages for
/// those that it has.
#[tokio::test]
async fn without_the_epoch_numbers_are_given_twice() {
    let place = place!();
    let hub = mailbox("hub");
    let store = place.open().await;
    let old = claim(&store, &hub).await;
    fill(&store, &hub, 1..=3).await;
    snapshot(&place);
    fill(&store, &hub, 4..=9).await;
    store.close().await.unwrap();
    forget(&place);
    let store = place.open().await;
    assert_eq!(accept(&store, &hub, "new").await, at(old.stream, 4));
}

#[tokio::test]
async fn an_owner_sees_that_its_stream_is_not_the_present_one() {
    let place = place!();
    let (store, hub) = (place.open().await, mailbox("hub"));
    let claimed = claim(&store, &hub).await;
    fill(&store, &hub, 1..=3).await;
    restored(&place.config()).await.unwrap();
    let id = accept(&store, &hub, "new").await;
    let owned = store.owned().await.unwrap();
    assert_eq!((owned[0].fence, owned[0].stream, owned[0].last), (claimed.fence, id.stream, 1));
    assert_ne!(owned[0].stream, claimed.stream);
    let again = claim(&store, &hub).await;
    let streams: Vec<_> = again.streams.iter().map(|it| (it.instance, it.messages.len())).collect();
    assert_eq!(streams, [(claimed.stream, 3), (id.stream, 1)]);
}
