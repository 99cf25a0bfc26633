//! Links are changed.

use paddington_exchange::ChangeError;
use paddington_test_support::{MemoryNetwork, TestLink, setup};
use paddington_transport::Renewed;
use paddington_wire::Message;
use tokio::time::{Instant, sleep};

use crate::{PORT, SECOND, client_of, connected, hub, joined, passes, start, status};

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_disconnected_comes_back_and_loses_nothing() {
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    let (_, client, client_inbox) = joined("client", &hub, &network).await;
    for (side, peer) in [(&hub, "client"), (&client, "hub")] {
        for number in 0..100 {
            client.send(Message::new("hub", number.to_string())).await.unwrap();
            hub.send(Message::new("client", number.to_string())).await.unwrap();
        }
        assert!(side.disconnect(peer).await.unwrap());
        for number in 0..100 {
            assert_eq!(inbox.text().await, number.to_string());
            assert_eq!(client_inbox.text().await, number.to_string());
        }
    }
    assert_eq!(status(&hub, "client").unwrap().counters.sessions, 3);
    network.fail_listeners();
    assert!(hub.disconnect("client").await.unwrap());
    sleep(SECOND).await;
    assert!(!hub.disconnect("client").await.unwrap());
    assert!(matches!(hub.disconnect("nobody").await, Err(ChangeError::UnknownPeer(_))));
}

#[tokio::test(start_paused = true)]
async fn a_client_comes_from_the_addresses_that_are_set_and_from_no_other() {
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    let (_, client, _) = joined("client", &hub, &network).await;
    hub.set_range("client", "127.0.0.0/8".parse().unwrap()).await.unwrap();
    passes(&client, "hub", &inbox).await;
    assert_eq!(status(&hub, "client").unwrap().counters.sessions, 1, "it is within");
    hub.set_range("client", "10.0.0.0/8".parse().unwrap()).await.unwrap();
    sleep(SECOND).await;
    assert!(!status(&hub, "client").unwrap().is_connected());
    client.send(Message::new("hub", "later")).await.unwrap();
    sleep(60 * SECOND).await;
    assert!(!status(&hub, "client").unwrap().is_connected());
    hub.set_range("client", "127.0.0.1".parse().unwrap()).await.unwrap();
    assert_eq!(inbox.text().await, "later");
    let server = client.set_range("hub", "127.0.0.1".parse().unwrap()).await;
    assert!(matches!(server, Err(ChangeError::NotAClient(_))));
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_set_count_from_the_next_connection_on() {
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    let (link, client, _) = joined("client", &hub, &network).await;
    let (other, ..) = joined("other", &hub, &network).await;
    let fresh = link.with_fresh_keys();
    let receipt = client.send(Message::new("hub", "1")).await.unwrap();
    hub.set_credentials("client", fresh.credentials()).await.unwrap();
    passes_after(&client, "hub", "1", &inbox).await;
    drop(receipt);
    passes(&client, "hub", &inbox).await;
    hub.disconnect("client").await.unwrap();
    sleep(60 * SECOND).await;
    assert!(!status(&hub, "client").unwrap().is_connected(), "its keys open nothing any more");
    client.send(Message::new("hub", "2")).await.unwrap();
    let set = Instant::now();
    client.set_credentials("hub", fresh.credentials()).await.unwrap();
    assert_eq!(inbox.text().await, "2");
    assert!(set.elapsed() < SECOND, "it does not wait for the end of its pause");

    let taken = hub.set_credentials("client", other.for_client("client").credentials()).await;
    assert!(matches!(taken, Err(ChangeError::KeysInUse { .. })), "{taken:?}");
    hub.set_credentials("client", fresh.credentials()).await.unwrap();
    hub.set_credentials("other", link.for_client("other").credentials()).await.unwrap();
    let hex = TestLink::with_encoding("hub", "client", paddington_wire::Encoding::Hex);
    let encoding = hub.set_credentials("client", hex.credentials()).await;
    assert!(matches!(encoding, Err(ChangeError::OtherEncoding(_))));
}

async fn passes_after(
    from: &paddington_exchange::Exchange,
    to: &str,
    first: &str,
    inbox: &paddington_test_support::Inbox,
) {
    assert_eq!(inbox.text().await, first);
    passes(from, to, inbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_moved_is_found_at_once_with_its_newer_invitation() {
    let network = MemoryNetwork::new();
    let (moved, inbox) = start(setup("hub", PORT + 7, &network)).await;
    let link = TestLink::new("hub", "client");
    let (client, _) = client_of(&link, &network).await;
    client.send(Message::new("hub", "1")).await.unwrap();
    sleep(600 * SECOND).await;
    let fresh = link.with_fresh_keys();
    moved.add_client(fresh.invited()).await.unwrap();
    let newer = |link: &TestLink, port| {
        let server = link.server_at(port);
        Renewed {
            endpoint: server.endpoint,
            fallbacks: server.fallbacks,
            credentials: server.credentials,
            tls: None,
        }
    };
    let begun = Instant::now();
    client.replace_endpoint("hub", newer(&fresh, PORT + 7)).await.unwrap();
    assert_eq!(inbox.text().await, "1");
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());

    // of several changes during a session, the last ones count
    let last = link.with_fresh_keys();
    for _ in 0..100 {
        client.set_credentials("hub", link.with_fresh_keys().credentials()).await.unwrap();
        client.replace_endpoint("hub", newer(&link, PORT + 7)).await.unwrap();
    }
    client.set_credentials("hub", last.credentials()).await.unwrap();
    moved.set_credentials("client", last.credentials()).await.unwrap();
    passes(&client, "hub", &inbox).await;
    moved.disconnect("client").await.unwrap();
    connected(&moved, "client").await;
    passes(&client, "hub", &inbox).await;
    let refused = moved.replace_endpoint("client", newer(&last, 1)).await;
    assert!(matches!(refused, Err(ChangeError::NotAServer(_))));
}
