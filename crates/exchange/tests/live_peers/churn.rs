//! Many peers come and go.

use paddington_exchange::{AddError, Exchange, RemoveError, Waiting};
use paddington_test_support::{Inbox, MemoryNetwork, TestLink, setup};
use paddington_wire::Message;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::{PORT, SECOND, client_of, connected, hub, joined, passes, start, status};

/// Number of peers that stay, and of those that come and go beside them.
const STAY: usize = 20;
const COME: usize = 1_000;

#[tokio::test(start_paused = true)]
async fn a_thousand_peers_come_and_go_and_those_that_stay_notice_nothing() {
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    let mut staying = Vec::new();
    for number in 0..STAY {
        staying.push(joined(&format!("stays-{number}"), &hub, &network).await);
    }
    for number in 0..COME {
        let link = TestLink::new("hub", &format!("comes-{}", number % 10));
        hub.add_client(link.invited()).await.unwrap();
        let (name, client, own) = &staying[number % STAY];
        hub.send(Message::new(name.client.as_str(), number.to_string())).await.unwrap();
        client.send(Message::new("hub", number.to_string())).await.unwrap();
        if number % 50 == 0 {
            let (visitor, visitor_inbox) = client_of(&link, &network).await;
            passes(&hub, link.client.as_str(), &visitor_inbox).await;
            visitor.shutdown().await;
        }
        hub.remove(link.client.as_str(), Waiting::Purge).await.unwrap();
        let _ = own;
    }
    sleep(SECOND).await;
    for (index, (link, client, own)) in staying.iter().enumerate() {
        let numbers = (index..COME).step_by(STAY).map(|number| number.to_string());
        assert_eq!(texts(own).await, numbers.collect::<Vec<_>>());
        let status = status(&hub, link.client.as_str()).unwrap();
        assert_eq!((status.counters.sessions, status.outbox_messages), (1, 0));
        assert!(status.is_conserved() && client.peers()[0].is_conserved());
    }
    assert_eq!(texts(&inbox).await.len(), COME);
    assert_eq!(hub.peers().len(), STAY);
}

/// Takes the messages that are there, without control messages.
async fn texts(inbox: &Inbox) -> Vec<String> {
    let mut texts = inbox.drain().await;
    texts.retain(|text| !text.starts_with('{'));
    texts
}

/// Whatever many tasks do with one name at the same time, each change is made or refused as a whole,
/// and nothing is left of peers that are gone.
#[tokio::test(start_paused = true)]
async fn changes_of_one_name_by_many_tasks_leave_nothing_behind() {
    let network = MemoryNetwork::new();
    let mut parts = setup("hub", PORT, &network);
    parts.config.transport.limits.max_payload = 1_000;
    (parts.config.outbox_bytes, parts.config.outbox_bytes_total) = (10_000, 10_000);
    let (hub, _) = start(parts).await;
    // the listener starts, and stays
    let (link, client, _) = joined("first", &hub, &network).await;
    client.shutdown().await;
    hub.remove(link.client.as_str(), Waiting::Purge).await.unwrap();
    sleep(10 * SECOND).await;
    let before = Handle::current().metrics().num_alive_tasks();
    let tasks: Vec<_> = (0..40).map(|task| tokio::spawn(come_and_go(hub.clone(), task))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    match hub.remove("contested", Waiting::Purge).await {
        Ok(_) | Err(RemoveError::UnknownPeer(_)) => {}
        Err(error) => panic!("{error}"),
    }
    assert_eq!(hub.peers().len(), 0);
    sleep(10 * SECOND).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    // all the room is there again
    let (_, last, _) = joined("last", &hub, &network).await;
    last.shutdown().await;
    for _ in 0..9 {
        hub.send(Message::new("last", "x".repeat(1_000))).await.unwrap();
    }
    hub.remove("last", Waiting::Purge).await.unwrap();
}

async fn come_and_go(hub: Exchange, task: usize) {
    for _ in 0..25 {
        let link = TestLink::new("hub", "contested");
        let added = if task.is_multiple_of(2) {
            hub.add_client(link.invited()).await
        } else {
            let server = TestLink::new("contested", "hub").server_at(1);
            hub.add_server(server).await
        };
        assert!(matches!(added, Ok(()) | Err(AddError::NameKnown(_))), "{added:?}");
        let _ = hub.send(Message::new("contested", "x".repeat(500))).await;
        tokio::task::yield_now().await;
        let removed = hub.remove("contested", Waiting::Purge).await;
        assert!(matches!(removed, Ok(_) | Err(RemoveError::UnknownPeer(_))), "{removed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_goes_and_comes_back_a_hundred_times_with_a_session_each_time() {
    let network = MemoryNetwork::new();
    let (hub, _) = hub(&network).await;
    let link = TestLink::new("hub", "client");
    let (client, _) = start(setup("client", PORT + 1, &network)).await;
    hub.add_client(TestLink::new("hub", "x").invited()).await.unwrap();
    for _ in 0..100 {
        hub.add_client(link.invited()).await.unwrap();
        client.add_server(link.server_at(PORT)).await.unwrap();
        connected(&hub, "client").await;
        client.remove("hub", Waiting::Purge).await.unwrap();
        hub.remove("client", Waiting::Purge).await.unwrap();
    }
    sleep(10 * SECOND).await;
    assert_eq!(client.peers().len(), 0);
}
