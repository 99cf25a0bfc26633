//! Peers are removed.

use std::sync::Arc;
use std::time::Duration;

use paddington_exchange::{
    Delivered, Event, Exchange, OnError, RemoveError, RequestError, SendError, Setup, Waiting,
};
use paddington_test_support::{MemoryNetwork, TestLink, capture_logs, setup};
use paddington_wire::{Encoding, Message};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use crate::{PORT, SECOND, client_of, connected, hub, joined, passes, start, status};

const CONNECTED: &str = r#"{"Connected":{"agent":"client"}}"#;
const DISCONNECTED: &str = r#"{"Disconnected":{"agent":"client"}}"#;

#[tokio::test(start_paused = true)]
async fn a_removed_client_is_told_and_then_refused_as_a_stranger() {
    let logs = capture_logs();
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    let (_, client, _) = joined("client", &hub, &network).await;
    passes(&client, "hub", &inbox).await;
    let (mut told, mut events) = (client.events(), hub.events());
    let begun = Instant::now();
    let removed = hub.remove("client", Waiting::Refuse).await.unwrap();
    assert_eq!((removed.messages, removed.unhandled, removed.not_purged), (0, 0, None));
    assert_eq!(hub.peers().len(), 0);
    assert_eq!(
        events.recv().await.unwrap(),
        Event::PeerRemoved { peer: "client".parse().unwrap() }
    );
    while !matches!(told.recv().await.unwrap(), Event::Down { cause, .. } if cause.contains("removed"))
    {
    }
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    let refused = hub.send(Message::new("client", "late")).await.unwrap_err();
    assert!(matches!(refused, SendError::UnknownPeer(_)));

    let before = network.dialled();
    sleep(3_600 * SECOND).await;
    let tries = network.dialled() - before;
    assert!((50..80).contains(&tries), "it is tried once a minute: {tries}");
    assert!(!status(&client, "hub").unwrap().is_connected());
    assert!(logs.lines().iter().any(|line| line.contains("has removed this link")));
    let again = hub.remove("client", Waiting::Purge).await.unwrap_err();
    assert!(matches!(again, RemoveError::UnknownPeer(_)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_at_which_something_waits_is_removed_only_if_that_may_be_dropped() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let network = MemoryNetwork::new();
        let (hub, _) = hub(&network).await;
        let link = TestLink::with_encoding("hub", "away", encoding);
        hub.add_client(link.invited()).await.unwrap();
        let mut receipts = Vec::new();
        for number in 0..3 {
            receipts.push(hub.send(Message::new("away", number.to_string())).await.unwrap());
        }
        let asking = hub.clone();
        let asked =
            tokio::spawn(
                async move { asking.request(Message::new("away", "?"), 3_600 * SECOND).await },
            );
        yield_now().await;
        let refused = hub.remove("away", Waiting::Refuse).await.unwrap_err();
        let text = refused.to_string();
        assert!(
            matches!(refused, RemoveError::Waiting { messages: 3, unhandled: 0, .. }),
            "{text}"
        );
        let kept = hub.remove("away", Waiting::Keep).await.unwrap_err();
        assert!(matches!(kept, RemoveError::NotStored(_)));
        assert!(timeout(SECOND, receipts[0].clone().into_future()).await.is_err());
        assert_eq!(status(&hub, "away").unwrap().outbox_messages, 3);

        let removed = hub.remove("away", Waiting::Purge).await.unwrap();
        assert_eq!((removed.messages, removed.unhandled), (3, 0));
        for receipt in receipts {
            assert_eq!(receipt.await, Delivered::Removed);
        }
        let ended = asked.await.unwrap().unwrap_err();
        match encoding {
            Encoding::Hex => assert!(matches!(ended, RequestError::Hex(_))),
            _ => assert!(matches!(ended, RequestError::Removed(_)), "{ended}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_for_room_is_told_that_its_recipient_is_removed() {
    let network = MemoryNetwork::new();
    let mut parts = setup("hub", PORT, &network);
    parts.config.outbox_messages = 1;
    let (hub, _) = start(parts).await;
    hub.add_client(TestLink::new("hub", "away").invited()).await.unwrap();
    hub.send(Message::new("away", "1")).await.unwrap();
    let waiting = hub.clone();
    let sent =
        tokio::spawn(async move { waiting.send_when_ready(Message::new("away", "2")).await });
    sleep(SECOND).await;
    assert!(!sent.is_finished());
    hub.remove("away", Waiting::Purge).await.unwrap();
    let refused = timeout(SECOND, sent).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(refused, SendError::Removed(_)), "{refused}");
}

/// A service whose handler waits for permits, and the texts that it was called with.
async fn slow(
    setup: Setup,
) -> (Exchange, Arc<Semaphore>, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let permits = Arc::new(Semaphore::new(0));
    let (told, heard) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::clone(&permits);
    let handler = move |message: Message| {
        let (gate, told) = (Arc::clone(&gate), told.clone());
        async move {
            told.send(message.payload().to_owned()).unwrap();
            if !message.is_control() {
                gate.acquire().await.unwrap().forget();
            }
            told.send("done".to_owned()).unwrap();
            if message.payload() == "fail" { Err("as asked") } else { Ok(()) }
        }
    };
    (Exchange::start(setup, handler).await.unwrap(), permits, heard)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_runs_may_finish_and_then_the_handler_is_told() {
    for (encoding, first) in
        [(Encoding::Sealed, "1"), (Encoding::Hex, "1"), (Encoding::Sealed, "fail")]
    {
        let network = MemoryNetwork::new();
        let mut parts = setup("hub", PORT, &network);
        parts.config.on_error = OnError::Stop;
        let (hub, permits, mut heard) = slow(parts).await;
        let link = TestLink::with_encoding("hub", "client", encoding);
        hub.add_client(link.invited()).await.unwrap();
        let (client, _) = client_of(&link, &network).await;
        for text in [first, "2", "3"] {
            client.send(Message::new("hub", text)).await.unwrap();
        }
        assert_eq!(heard.recv().await.unwrap(), CONNECTED);
        assert_eq!(heard.recv().await.unwrap(), "done");
        assert_eq!(heard.recv().await.unwrap(), first);
        sleep(SECOND).await;
        let refused = hub.remove("client", Waiting::Refuse).await.unwrap_err();
        assert!(matches!(refused, RemoveError::Waiting { messages: 0, unhandled: 2, .. }));
        let removed = hub.remove("client", Waiting::Purge).await.unwrap();
        assert_eq!((removed.messages, removed.unhandled), (0, 2));
        sleep(5 * SECOND).await;
        assert!(heard.try_recv().is_err(), "it runs");
        permits.add_permits(3);
        sleep(SECOND).await;
        let told: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(told, ["done", DISCONNECTED, "done"], "{encoding}");
    }
}

/// The calls of a peer that was removed are waited for, and reported, as those of any other.
#[tokio::test(start_paused = true)]
async fn a_call_of_a_removed_peer_is_ended_by_a_shutdown() {
    let network = MemoryNetwork::new();
    let (hub, _permits, mut heard) = slow(setup("hub", PORT, &network)).await;
    let (_, client, _) = joined("client", &hub, &network).await;
    client.send(Message::new("hub", "1")).await.unwrap();
    while heard.recv().await.unwrap() != "1" {}
    hub.remove("client", Waiting::Refuse).await.unwrap();
    let report = hub.shutdown().await;
    assert_eq!(report.unfinished, ["client".parse().unwrap()]);
    drop(hub);
    while heard.recv().await.is_some() {} // the handler is gone
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_removed_peer_are_not_handled_any_more() {
    let network = MemoryNetwork::new();
    let (hub, _permits, mut heard) = slow(setup("hub", PORT, &network)).await;
    let (_, client, _) = joined("client", &hub, &network).await;
    let asked = {
        let client = client.clone();
        tokio::spawn(async move { client.request(Message::new("hub", "?"), 10 * SECOND).await })
    };
    while heard.recv().await.unwrap() != "?" {}
    hub.remove("client", Waiting::Refuse).await.unwrap();
    assert!(matches!(asked.await.unwrap().unwrap_err(), RequestError::TimedOut));
    let report = hub.shutdown().await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_the_same_name_gets_nothing_of_its_predecessor() {
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    let (_, old, old_inbox) = joined("client", &hub, &network).await;
    passes(&hub, "client", &old_inbox).await;
    network.freeze();
    let lost = hub.send(Message::new("client", "for the old one")).await.unwrap();
    old.send(Message::new("hub", "from the old one")).await.unwrap();
    hub.remove("client", Waiting::Purge).await.unwrap();
    let (_, new, new_inbox) = joined("client", &hub, &network).await;
    passes(&hub, "client", &new_inbox).await;
    passes(&new, "hub", &inbox).await;
    sleep(600 * SECOND).await;
    assert_eq!(lost.await, Delivered::Removed);
    let texts = [new_inbox.drain().await, old_inbox.drain().await, inbox.drain().await].concat();
    assert!(!texts.iter().any(|text| text.contains("old one")), "{texts:?}");
    let status = status(&hub, "client").unwrap();
    assert_eq!((status.counters.sessions, status.counts.unwrap().accepted), (1, 1));
    assert!(status.is_conserved());
}

#[tokio::test(start_paused = true)]
async fn a_removed_server_is_told_and_not_dialled_any_more() {
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    let (link, client, client_inbox) = joined("client", &hub, &network).await;
    passes(&client, "hub", &inbox).await;
    client.remove("hub", Waiting::Refuse).await.unwrap();
    sleep(SECOND).await;
    assert!(!status(&hub, "client").unwrap().is_connected());
    let dialled = network.dialled();
    sleep(3_600 * SECOND).await;
    assert_eq!(network.dialled(), dialled);
    client.add_server(link.server_at(PORT)).await.unwrap();
    connected(&hub, "client").await;
    passes(&hub, "client", &client_inbox).await;

    client.remove("hub", Waiting::Refuse).await.unwrap();
    client.add_server(link.server_at(PORT + 9)).await.unwrap(); // nobody listens there
    sleep(60 * SECOND).await;
    client.remove("hub", Waiting::Refuse).await.unwrap();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    client.add_server(link.server_at(PORT + 9)).await.unwrap();
    client.remove("hub", Waiting::Refuse).await.unwrap();
    sleep(SECOND).await;
    assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() <= tasks);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_refuses_changes_and_waits_for_the_one_that_was_begun() {
    let network = MemoryNetwork::new();
    let (hub, _) = hub(&network).await;
    let (_, client, _) = joined("client", &hub, &network).await;
    let (written, write) = tokio::sync::oneshot::channel::<()>();
    let removing = hub.clone();
    let durable = async move { write.await.map_err(|_| "gone") };
    let removal =
        tokio::spawn(async move { removing.remove_with("client", Waiting::Purge, durable).await });
    sleep(SECOND).await;
    let shutdown = {
        let hub = hub.clone();
        tokio::spawn(async move { hub.shutdown().await })
    };
    sleep(SECOND).await;
    assert!(!shutdown.is_finished());
    let late = TestLink::new("hub", "late");
    let adding = {
        let hub = hub.clone();
        tokio::spawn(async move { hub.add_client(late.invited()).await })
    };
    written.send(()).unwrap();
    removal.await.unwrap().unwrap();
    assert_eq!(adding.await.unwrap().unwrap_err().to_string(), "the service is shutting down");
    assert!(shutdown.await.unwrap().is_clean());
    assert_eq!(hub.peers().len(), 0);
    sleep(SECOND).await;
    assert!(!status(&client, "hub").unwrap().is_connected());
    assert!(hub.disconnect("client").await.is_err());
    assert!(matches!(hub.remove("client", Waiting::Purge).await, Err(RemoveError::ShuttingDown)));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_ever_for_a_change() {
    let network = MemoryNetwork::new();
    let (hub, _) = hub(&network).await;
    let (_, client, _) = joined("client", &hub, &network).await;
    let changing = hub.clone();
    let never = std::future::pending::<Result<(), String>>();
    let change =
        tokio::spawn(async move { changing.remove_with("client", Waiting::Purge, never).await });
    sleep(SECOND).await;
    let report = timeout(Duration::from_secs(60), hub.shutdown()).await.unwrap();
    assert!(report.is_clean());
    change.abort();
    sleep(SECOND).await;
    assert!(!status(&client, "hub").unwrap().is_connected());
}
