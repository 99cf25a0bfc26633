//! A standby that takes over.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use paddington_exchange::store::{Accepted, LinkStore, Mailbox, SharedStore};
use paddington_store_postgres::PostgresStore;
use paddington_test_support::{PostgresServer, eventually};
use paddington_wire::MessageId;

use crate::support::{
    accept, accepts_again, at, claim, claim_later, config, fill, mailbox, submission, texts,
};

/// A server and its standby.
struct Pair {
    primary: PostgresServer,
    standby: PostgresServer,
    /// The URL of the one of them that can be written to.
    url: String,
}

impl Pair {
    /// Starts both; ends the test where there is no PostgreSQL.
    fn start() -> Option<Self> {
        let primary = PostgresServer::start()?;
        let standby = primary.standby()?;
        let hosts = format!("{},{}", primary.socket().display(), standby.socket().display());
        let writable = "target_session_attrs=read-write";
        let url = format!("postgres:///postgres?user=postgres&host={hosts}&{writable}");
        Some(Self { primary, standby, url })
    }
}

/// What a sender knows of its messages.
#[derive(Default)]
struct Sent {
    accepted: HashMap<MessageId, String>,
    refused: HashSet<String>,
}

impl Sent {
    /// Sends messages, one after the other, until it is told to stop.
    async fn send(
        store: Arc<PostgresStore>,
        to: Mailbox,
        sender: u64,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let mut sent = Self::default();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let text = format!("{sender}-{number}");
            number += 1;
            match store.accept(&to, submission(1, text.clone())).await {
                Ok(Accepted::Stored(id)) => drop(sent.accepted.insert(id, text)),
                Ok(Accepted::Full { .. }) => panic!("there is room"),
                Err(cause) if cause.may_be_stored() => {}
                Err(_) => {
                    sent.refused.insert(text);
                    accepts_again(&store).await;
                }
            }
            tokio::task::yield_now().await;
        }
        sent
    }
}

/// Returns the messages that wait, of all streams.
async fn found(store: &PostgresStore, hub: &Mailbox) -> HashMap<MessageId, String> {
    let mut found = HashMap::new();
    for stream in claim_later(store, hub).await.streams {
        let all = texts(store, hub, stream.instance, stream.base).await;
        assert_eq!(all.len(), stream.messages.len());
        found.extend((stream.base..).map(|number| at(stream.instance, number)).zip(all));
    }
    found
}

#[tokio::test]
async fn what_is_accepted_after_a_failover_to_a_standby_that_lags_is_not_lost() {
    let Some(Pair { primary, standby, url }) = Pair::start() else { return };
    let text = PostgresStore::open(&config(&standby.url(), "a")).await.unwrap_err().to_string();
    assert!(text.contains("is a standby or read-only: name the primary"), "{text}");
    let (store, hub) = (PostgresStore::open(&config(&url, "a")).await.unwrap(), mailbox("hub"));
    let old = claim(&store, &hub).await;
    fill(&store, &hub, 1..=3).await;
    standby.catch_up(&primary);
    standby.cut_off();
    fill(&store, &hub, 4..=9).await;
    primary.crash();
    standby.promote();
    eventually(|| async { store.health().failure.is_some() || store.lease(0).is_zero() }).await;
    eventually(|| async { store.owned(0).await.is_ok() }).await;
    accepts_again(&store).await;
    let id = accept(&store, &hub, "new").await;
    assert_eq!(id.number, 1);
    assert_ne!(id.stream, old.stream);
    let owned = store.owned(0).await.unwrap();
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
    let Some(pair) = Pair::start() else { return };
    pair.primary.synchronize();
    let (store, hub) =
        (PostgresStore::open(&config(&pair.url, "a")).await.unwrap(), mailbox("hub"));
    claim(&store, &hub).await;
    let stop = Arc::new(AtomicBool::new(false));
    let send = |sender| {
        tokio::spawn(Sent::send(Arc::clone(&store), hub.clone(), sender, Arc::clone(&stop)))
    };
    let senders: Vec<_> = (0..4).map(send).collect();
    let count = |server: &PostgresServer| server.sql("SELECT count(*) FROM a.outbox");
    eventually(async || count(&pair.primary).parse::<u64>().unwrap() > 200).await;
    pair.primary.crash();
    pair.standby.promote();
    let before = count(&pair.standby);
    eventually(async || count(&pair.standby) != before).await;
    stop.store(true, Ordering::Relaxed);
    let mut sent = Sent::default();
    for sender in senders {
        let Sent { accepted, refused } = sender.await.unwrap();
        sent.accepted.extend(accepted);
        sent.refused.extend(refused);
    }
    // Messages may be accepted before the replica counts as living at the new server.
    eventually(|| async { store.owned(0).await.is_ok() }).await;
    let found = found(&store, &hub).await;
    let lost = sent.accepted.iter().filter(|(id, text)| found.get(id) != Some(text)).count();
    let kept = found.values().filter(|text| sent.refused.contains(*text)).count();
    assert_eq!((lost, kept), (0, 0), "of {} that were accepted", sent.accepted.len());
}
