//! What a store has of a peer that comes or goes.

use paddington_exchange::{Delivered, Setup, Storage, Waiting};
use paddington_test_support::{MemoryDisk, MemoryNetwork, TestLink, setup};
use paddington_wire::Message;
use tokio::time::sleep;

use crate::{PORT, SECOND, client_of, passes, start, status};

fn stored(network: &MemoryNetwork, disk: &MemoryDisk) -> Setup {
    Setup { store: Storage::Own(disk.open()), ..setup("hub", PORT, network) }
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_kept_wait_until_their_link_is_added_again() {
    let (network, disk) = (MemoryNetwork::new(), MemoryDisk::default());
    let (hub, inbox) = start(stored(&network, &disk)).await;
    let link = TestLink::new("hub", "client");
    hub.add_client(link.invited()).await.unwrap();
    let (client, client_inbox) = client_of(&link, &network).await;
    passes(&hub, "client", &client_inbox).await;
    passes(&client, "hub", &inbox).await;
    client.shutdown().await;
    let mut receipts = Vec::new();
    for number in 0..100 {
        receipts.push(hub.send(Message::new("client", number.to_string())).await.unwrap());
    }
    let removed = hub.remove("client", Waiting::Keep).await.unwrap();
    assert_eq!((removed.messages, removed.unhandled), (100, 0));
    for receipt in receipts {
        assert_eq!(receipt.await, Delivered::Removed);
    }
    sleep(SECOND).await;
    assert_eq!(disk.messages(), 100);
    hub.add_client(link.invited()).await.unwrap();
    assert_eq!(status(&hub, "client").unwrap().outbox_messages, 100);
    let (_client, client_inbox) = client_of(&link, &network).await;
    for number in 0..100 {
        assert_eq!(client_inbox.text().await, number.to_string());
    }
    passes(&hub, "client", &client_inbox).await;
    sleep(SECOND).await;
    assert_eq!(disk.messages(), 0);
    assert!(status(&hub, "client").unwrap().is_conserved());
}

#[tokio::test(start_paused = true)]
async fn a_send_that_waits_for_the_store_is_answered_although_its_recipient_is_removed() {
    let (network, disk) = (MemoryNetwork::new(), MemoryDisk::default());
    let (hub, _) = start(stored(&network, &disk)).await;
    hub.add_client(TestLink::new("hub", "client").invited()).await.unwrap();
    for _ in 0..100 {
        let sends = (0..10).map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.send(Message::new("client", "x")).await })
        });
        let sends: Vec<_> = sends.collect();
        tokio::task::yield_now().await;
        hub.remove("client", Waiting::Purge).await.unwrap();
        for send in sends {
            if let Ok(receipt) = send.await.unwrap() {
                assert_eq!(receipt.await, Delivered::Removed);
            }
        }
        hub.add_client(TestLink::new("hub", "client").invited()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_purges_leaves_nothing_in_the_store_and_one_that_keeps_leaves_an_orphan() {
    let (network, disk) = (MemoryNetwork::new(), MemoryDisk::default());
    let (hub, _) = start(stored(&network, &disk)).await;
    for (waiting, left) in [(Waiting::Keep, 1), (Waiting::Purge, 0)] {
        let link = TestLink::new("hub", "client");
        hub.add_client(link.invited()).await.unwrap();
        hub.add_client(TestLink::new("hub", "other").invited()).await.unwrap();
        for _ in 0..10 {
            hub.send(Message::new("client", "x")).await.unwrap();
            hub.send(Message::new("other", "x")).await.unwrap();
        }
        assert_eq!(hub.orphans().await.unwrap(), []);
        let removed = hub.remove("client", waiting).await.unwrap();
        assert_eq!((removed.messages, removed.not_purged), (10, None));
        let orphans = hub.orphans().await.unwrap();
        assert_eq!(orphans.len(), left);
        for orphan in orphans {
            assert_eq!((orphan.mailbox.link, orphan.messages), (link.id, 10));
            hub.purge(&orphan.mailbox).await.unwrap();
        }
        assert_eq!(disk.messages(), 10, "those of the other one");
        hub.remove("other", Waiting::Purge).await.unwrap();
        sleep(SECOND).await;
        assert_eq!(disk.messages(), 0);
    }
}
