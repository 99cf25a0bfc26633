//! Situations at small bounds of `docs/limits.md` that a whole service has and a link alone has not.
//! Each has to reach its bound; `mutants` breaks its rule.

use std::time::Duration;

use anyhow::{Error, bail, ensure};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use paddington::{Delivered, Message, SendError, SendOptions, Service, ServiceConfig};
use paddington_exchange::HANDSHAKE_PERIOD;
use paddington_exchange::store::{DeadLetter, DeadLetters, Fence, MAX_LETTERS, Mailbox};
use paddington_store::SqliteStore;
use paddington_test_support::{MemoryDisk, MemoryNetwork, Pair, pair};
use paddington_wire::{MessageId, RejectCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// A situation at a bound.
pub(crate) struct Situation {
    pub(crate) name: &'static str,
    run: fn() -> LocalBoxFuture<'static, Result<(), Error>>,
}

/// Every situation.
pub(crate) const ALL: &[Situation] = &[
    Situation { name: "the room for all peers is full", run: || full_room().boxed_local() },
    Situation { name: "thousands of receipts wait", run: || late_receipts().boxed_local() },
    Situation { name: "a link has too many handshakes", run: || handshakes().boxed_local() },
    Situation { name: "a message ends its process", run: || crashes().boxed_local() },
    Situation { name: "there are too many dead letters", run: || letters().boxed_local() },
    Situation { name: "many instances have left messages", run: || old_streams().boxed_local() },
];

impl Situation {
    /// Runs it, in virtual time.
    ///
    /// # Errors
    ///
    /// If a promise is broken, or the bound is not reached.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build()?.block_on((self.run)())
    }
}

async fn nothing(_: Message) -> Result<(), Error> {
    Ok(())
}

/// One peer takes all the room that it can get.
async fn full_room() -> Result<(), Error> {
    const ROOM: u64 = 40_000;
    const LEN: usize = 976;
    const PEERS: [&str; 2] = ["greedy", "modest"];
    let mut config = ServiceConfig::new("hub", "ws://hub.example:6501", "127.0.0.1", &6501)?;
    for peer in PEERS {
        config.add_client(peer, "127.0.0.1")?;
    }
    config.settings_mut().transport.limits.max_payload = LEN as u32;
    config.settings_mut().outbox_bytes_total = ROOM;
    let hub = Service::start_on(MemoryNetwork::new().network(), &config, nothing).await?;
    for peer in PEERS {
        let mut sent = 0;
        loop {
            match hub.send(Message::new(peer, "x".repeat(LEN))).await {
                Err(SendError::Full { .. }) => break,
                other => drop(other?),
            }
            sent += 1;
            ensure!(sent < ROOM, "more waits than there is room for");
        }
    }
    let status = hub.peers();
    let all: u64 = status.iter().map(|peer| peer.outbox_bytes).sum();
    ensure!(all <= ROOM, "{all} bytes wait for all peers together");
    let modest = status.iter().find(|peer| peer.name.as_str() == PEERS[1]);
    let own = modest.map_or(0, |peer| peer.outbox_bytes);
    ensure!(own + LEN as u64 + 24 > ROOM / 4, "a peer has {own} bytes of its own room");
    Ok(())
}

/// Messages expire, and their receipts are awaited long after.
async fn late_receipts() -> Result<(), Error> {
    const TTL: Duration = Duration::from_secs(1);
    let pair = pair();
    let (client, _) = pair.start_client().await;
    let mut receipts = Vec::new();
    for _ in 0..3_000 {
        let options = SendOptions { ttl: Some(TTL) };
        let sent = client.exchange().send_with(Message::new("server", "x"), options).await;
        receipts.push(sent?);
    }
    sleep(2 * TTL).await;
    for receipt in receipts {
        let delivered = timeout(TTL, receipt).await?;
        ensure!(delivered == Delivered::Expired, "an expired message is {delivered:?}");
    }
    Ok(())
}

/// A client is connected more often than it may.
async fn handshakes() -> Result<(), Error> {
    const MAX: usize = 2;
    let mut pair = pair();
    pair.server.settings_mut().handshakes = MAX;
    let (server, _) = pair.start_server().await;
    let (_client, _) = pair.start_client().await;
    let begun = Instant::now();
    let counters = || server.peers()[0].counters;
    while begun.elapsed() < HANDSHAKE_PERIOD - Duration::from_millis(100) {
        if server.peers()[0].is_connected() {
            pair.network.cut();
        }
        sleep(Duration::from_millis(50)).await;
    }
    let sessions = counters().sessions;
    ensure!(sessions <= MAX as u64, "{sessions} sessions in {HANDSHAKE_PERIOD:?}");
    ensure!(counters().refused_overload > 0, "the bound is not reached");
    Ok(())
}

/// A message ends the process of its handler each time.
async fn crashes() -> Result<(), Error> {
    const MAX: u32 = 2;
    let (mut pair, disk) = (pair(), MemoryDisk::default());
    pair.server.settings_mut().crashes = MAX;
    pair.server.settings_mut().drain = Duration::from_millis(10);
    let (client, _) = pair.start_client().await;
    let poison = client.send(Message::new("server", "poison")).await?;
    let mut lives = 0;
    while is_killed(&pair, &disk).await? {
        lives += 1;
        ensure!(lives <= 2 * MAX, "a message that ends its process comes for ever");
    }
    let delivered = timeout(Duration::from_secs(60), poison).await?;
    ensure!(matches!(delivered, Delivered::Rejected(_)), "the message is {delivered:?}");
    ensure!(lives == 1 + MAX, "it is given up after {lives} crashes");
    Ok(())
}

/// Runs the server until it has to handle the poison, if that comes, and kills it.
async fn is_killed(pair: &Pair, disk: &MemoryDisk) -> Result<bool, Error> {
    let (told, mut handling) = mpsc::channel(16);
    let handler = move |message: Message| {
        let told = told.clone();
        async move {
            if message.payload() == "poison" {
                told.send(()).await?;
                std::future::pending::<()>().await;
            }
            Ok::<(), Error>(())
        }
    };
    let network = pair.network.network();
    let server = Service::start_with(network, Some(disk.open()), &pair.server, handler).await?;
    let is_handling = timeout(Duration::from_secs(30), handling.recv()).await.is_ok();
    drop(disk.open()); // from now on it writes nothing
    server.shutdown().await;
    Ok(is_handling)
}

/// More instances of the sender have left messages than a READY lists.
async fn old_streams() -> Result<(), Error> {
    const INSTANCES: usize = 68;
    let (pair, disk) = (pair(), MemoryDisk::default());
    let mut last = None;
    for number in 0..INSTANCES {
        let network = pair.network.network();
        let client = Service::start_with(network, Some(disk.open()), &pair.client, nothing).await?;
        client.send(Message::new("server", number.to_string())).await?;
        if number + 1 < INSTANCES {
            drop(disk.open()); // from now on it writes nothing
            client.shutdown().await;
        } else {
            last = Some(client);
        }
    }
    let (_server, inbox) = pair.start_server().await;
    for number in 0..INSTANCES {
        let text = timeout(Duration::from_secs(60), inbox.text()).await?;
        ensure!(text == number.to_string(), "message {text} comes in place of {number}");
    }
    sleep(Duration::from_secs(60)).await;
    let more = inbox.drain().await;
    ensure!(more.is_empty(), "after the last message come {more:?}");
    ensure!(last.is_some_and(|client| client.peers()[0].outbox_messages == 0), "messages wait");
    Ok(())
}

/// One peer's messages fail without end, and another one's once.
async fn letters() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("store"))?;
    let letter = |peer: &str, link: u8, number: u64| -> Result<DeadLetter, Error> {
        let id = MessageId { stream: [1; 16].into(), number };
        let at = std::time::SystemTime::UNIX_EPOCH;
        Ok(DeadLetter {
            mailbox: Mailbox { peer: peer.parse()?, link: [link; 16].into() },
            id,
            code: RejectCode::FAILED,
            at,
            payload: "x".into(),
        })
    };
    store.add_letter(letter("quiet", 1, 1)?, Fence::default()).await?;
    let mut adding = Vec::new();
    for number in 1..=MAX_LETTERS as u64 + 10 {
        adding.push(store.add_letter(letter("loud", 2, number)?, Fence::default()));
    }
    for added in adding {
        added.await?;
    }
    let kept = store.letters().await?;
    ensure!(kept.len() <= MAX_LETTERS, "{} dead letters are kept", kept.len());
    ensure!(kept.len() == MAX_LETTERS, "the bound is not reached");
    if !kept.iter().any(|(_, letter)| letter.peer().as_str() == "quiet") {
        bail!("the letters of one peer erase those of another");
    }
    Ok(())
}
