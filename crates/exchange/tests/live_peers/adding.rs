//! Peers are added.

use paddington_exchange::{
    AddError, Event, Exchange, RemoveError, SendError, Server, Setup, StartError, Waiting,
};
use paddington_test_support::{Inbox, MemoryNetwork, TestLink, setup};
use paddington_wire::{Encoding, Message};
use tokio::time::sleep;

use crate::{PORT, SECOND, client_of, connected, hub, joined, passes, start, status};

#[tokio::test(start_paused = true)]
async fn the_first_client_lets_a_service_listen_which_goes_on_when_the_last_is_removed() {
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    assert_eq!(hub.address(), None);
    let (_, client, _) = joined("first", &hub, &network).await;
    assert_eq!(hub.address().unwrap().port(), PORT);
    passes(&client, "hub", &inbox).await;
    hub.remove("first", Waiting::Refuse).await.unwrap();
    assert_eq!(hub.peers().len(), 0);
    let (_, client, _) = joined("second", &hub, &network).await;
    passes(&client, "hub", &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn peers_of_either_encoding_and_role_are_added_while_others_talk() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        let network = MemoryNetwork::new();
        let (hub, inbox) = hub(&network).await;
        let mut events = hub.events();
        let (_, old, old_inbox) = joined("old", &hub, &network).await;
        let (new, new_inbox) = start(setup("new", PORT + 1, &network)).await;
        let link = TestLink::with_encoding("hub", "new", encoding);
        new.add_server(link.server_at(PORT)).await.unwrap();
        passes(&old, "hub", &inbox).await;
        hub.add_client(link.invited()).await.unwrap();
        assert_eq!(status(&hub, "new").unwrap().encoding, encoding);
        passes(&new, "hub", &inbox).await;
        passes(&hub, "new", &new_inbox).await;
        passes(&hub, "old", &old_inbox).await;
        assert_eq!(status(&hub, "old").unwrap().counters.sessions, 1);
        let mut added = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let Event::PeerAdded { peer } = event {
                added.push(peer.to_string());
            }
        }
        assert_eq!(added, ["old", "new"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_added_changes_nothing_and_says_why() {
    let network = MemoryNetwork::new();
    let mut parts = setup("hub", PORT, &network);
    parts.config.peers = 2;
    let (hub, inbox) = start(parts).await;
    let (first, client, _) = joined("first", &hub, &network).await;
    let before = hub.peers().len();
    let mut events = hub.events();
    let fresh = TestLink::new("hub", "fresh");
    let mut same_link = fresh.clone();
    same_link.id = first.id;
    let mut refused = Vec::new();
    for link in [
        TestLink::new("hub", "first"),
        same_link,
        first.for_client("other"),
        TestLink::new("elsewhere", "hub"),
    ] {
        refused.push(hub.add_client(link.invited()).await.unwrap_err());
        let as_server = Server { name: link.client.clone(), ..link.server_at(7) };
        refused.push(hub.add_server(as_server).await.unwrap_err());
    }
    assert!(matches!(refused[0], AddError::NameKnown(_)), "{refused:?}");
    assert!(matches!(refused[2], AddError::LinkKnown { .. }), "{refused:?}");
    assert!(matches!(refused[4], AddError::KeysInUse { .. }), "{refused:?}");
    assert!(matches!(refused[6], AddError::OwnName(_)), "{refused:?}");
    assert!(matches!(refused[7], AddError::OwnName(_)), "{refused:?}");
    hub.add_client(fresh.invited()).await.unwrap();
    let many = hub.add_client(TestLink::new("hub", "third").invited()).await;
    assert!(matches!(many, Err(AddError::TooManyPeers { peers: 3, max: 2 })), "{many:?}");
    assert_eq!(hub.peers().len(), before + 1);
    let added: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert_eq!(added, [Event::PeerAdded { peer: fresh.client.clone() }]);
    passes(&client, "hub", &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_client_is_refused_if_the_port_is_taken_or_there_is_none() {
    let network = MemoryNetwork::new();
    let (other, _) = start(setup("other", PORT, &network)).await;
    other.add_client(TestLink::new("other", "x").invited()).await.unwrap();
    let (hub, inbox) = hub(&network).await;
    let link = TestLink::new("hub", "first");
    let refused = hub.add_client(link.invited()).await.unwrap_err();
    assert!(matches!(refused, AddError::Listen { .. }), "{refused}");
    assert_eq!((hub.peers().len(), hub.address()), (0, None));
    other.shutdown().await;
    hub.add_client(link.invited()).await.unwrap();
    let (client, _) = client_of(&link, &network).await;
    passes(&client, "hub", &inbox).await;

    let (deaf, _) = start(Setup { listen: None, ..setup("deaf", 0, &network) }).await;
    let refused = deaf.add_client(TestLink::new("deaf", "x").invited()).await.unwrap_err();
    assert!(matches!(refused, AddError::NoAddress), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_made_durable_changes_nothing() {
    let network = MemoryNetwork::new();
    let (hub, inbox) = hub(&network).await;
    let link = TestLink::new("hub", "client");
    let failed = async || Err::<(), _>("no room on the disk");
    let refused = hub.add_client_with(link.invited(), failed()).await.unwrap_err();
    assert!(matches!(&refused, AddError::NotDurable(cause) if cause.to_string().contains("room")));
    assert_eq!((hub.peers().len(), hub.address()), (0, None));
    let (_, client, client_inbox) = joined("client", &hub, &network).await;
    let mut events = hub.events();
    let refused = hub.remove_with("client", Waiting::Purge, failed()).await.unwrap_err();
    assert!(matches!(refused, RemoveError::NotDurable(_)));
    let gave_up =
        hub.remove_with("client", Waiting::Purge, std::future::pending::<Result<(), String>>());
    assert!(tokio::time::timeout(SECOND, gave_up).await.is_err());
    passes(&client, "hub", &inbox).await;
    passes(&hub, "client", &client_inbox).await;
    assert_eq!(status(&hub, "client").unwrap().counters.sessions, 1);
    assert!(events.try_recv().is_err(), "nothing has happened");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_refused_while_the_removal_of_its_recipient_is_stored() {
    let network = MemoryNetwork::new();
    let (hub, _) = hub(&network).await;
    let (_, _client, inbox) = joined("client", &hub, &network).await;
    let sender = hub.clone();
    let tries = async move {
        let refused = sender.send(Message::new("client", "late")).await.unwrap_err();
        assert!(matches!(refused, SendError::Removed(_)) && !refused.is_retryable());
        Err::<(), _>("no")
    };
    hub.remove_with("client", Waiting::Refuse, tries).await.unwrap_err();
    passes(&hub, "client", &inbox).await;
}

/// Newcomers have their part of the room however much those take that were there before.
#[tokio::test(start_paused = true)]
async fn newcomers_find_room_for_their_messages_and_those_before_keep_theirs() {
    let network = MemoryNetwork::new();
    let mut parts = setup("hub", PORT, &network);
    parts.config.transport.limits.max_payload = 76;
    (parts.config.outbox_bytes, parts.config.outbox_bytes_total) = (20_000, 20_000);
    let (hub, _) = start(parts).await;
    let send = async |to: &str| hub.send(Message::new(to, "x".repeat(76))).await.is_ok();
    let fill = async |to: &str| {
        let mut sent = 0;
        while send(to).await {
            sent += 1;
        }
        sent
    };
    hub.add_client(TestLink::new("hub", "greedy").invited()).await.unwrap();
    assert_eq!(fill("greedy").await, 200);
    for (name, own) in [("second", 50), ("third", 25), ("fourth", 25), ("fifth", 12)] {
        hub.add_client(TestLink::new("hub", name).invited()).await.unwrap();
        assert_eq!(fill(name).await, own, "{name}");
    }
    assert_eq!(status(&hub, "greedy").unwrap().outbox_messages, 200, "it was accepted");
    for name in ["greedy", "second", "third", "fourth"] {
        hub.remove(name, Waiting::Purge).await.unwrap();
    }
    assert_eq!(status(&hub, "fifth").unwrap().outbox_messages, 12);
    assert!(fill("fifth").await > 100, "what was taken is there again");
    sleep(SECOND).await;
    hub.remove("fifth", Waiting::Purge).await.unwrap();
    let (_, client, _) = joined("last", &hub, &network).await;
    connected(&client, "hub").await;
}

#[tokio::test(start_paused = true)]
async fn a_start_refuses_peers_that_an_addition_refuses() {
    let network = MemoryNetwork::new();
    let first = TestLink::new("hub", "first");
    let mut same_link = TestLink::new("hub", "other");
    same_link.id = first.id;
    let start = async |second: &TestLink| {
        let clients = vec![first.invited(), second.invited()];
        let (_, handler) = Inbox::new();
        Exchange::start(Setup { clients, ..setup("hub", PORT, &network) }, handler).await
    };
    let refused = start(&TestLink::new("hub", "first")).await.unwrap_err();
    assert!(matches!(refused, StartError::DuplicatePeer(_)), "{refused}");
    let refused = start(&same_link).await.unwrap_err();
    assert!(matches!(refused, StartError::DuplicateLink(_)), "{refused}");
    let refused = start(&first.for_client("other")).await.unwrap_err();
    assert!(matches!(refused, StartError::SharedKeys { .. }), "{refused}");
    let refused = start(&TestLink::new("x", "hub")).await.unwrap_err();
    assert!(matches!(refused, StartError::OwnName(_)), "{refused}");
    assert_eq!(start(&TestLink::new("hub", "other")).await.unwrap().peers().len(), 2);
}
