//! Handshakes that are under way when their peer is removed or changed.

use std::time::Duration;

use paddington_exchange::{Event, Waiting};
use paddington_test_support::{Intruder, MemoryNetwork, TestLink, empty_ready};
use paddington_wire::sealed::Greeting;
use paddington_wire::{CloseCode, Frame, Instance};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::{SECOND, SERVER, hub, status};

fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_under_way_does_not_outlive_a_removal() {
    for comes_again in [false, true] {
        let network = MemoryNetwork::new();
        let (hub, inbox) = hub(&network).await;
        let link = TestLink::new("hub", "client");
        hub.add_client(link.invited()).await.unwrap();
        let entered = Intruder::enter(&network, SERVER, &link.sealed(), instance(1)).await.unwrap();
        let (mut intruder, Greeting::Ready(mut session, _)) = entered else { panic!("closed") };
        let prepared = Intruder::prepare(&network, SERVER, &link.sealed(), instance(2)).await;
        hub.remove("client", Waiting::Refuse).await.unwrap();
        if comes_again {
            hub.add_client(TestLink::new("hub", "client").invited()).await.unwrap();
        }
        intruder.say(&mut session, &Frame::Ready(empty_ready(instance(1)))).await;
        let told = intruder.hear(&mut session).await;
        assert_eq!(told, Some(Frame::Close(CloseCode::Removed)));
        let (hello, waiting, bytes) = prepared;
        assert!(hello.handshake(waiting, &bytes).await.is_none(), "it is a stranger");
        sleep(60 * SECOND).await;
        assert_eq!(inbox.drain().await, [""; 0]);
        assert!(!hub.peers().iter().any(paddington_exchange::PeerStatus::is_connected));
        assert!(hub.peers().iter().all(|peer| peer.counters.sessions == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn neither_a_probe_nor_a_takeover_outlives_a_removal() {
    for after in [0, 1_000, 3_500, 5_000].map(Duration::from_millis) {
        let network = MemoryNetwork::new();
        let (hub, _) = hub(&network).await;
        let mut events = hub.events();
        let link = TestLink::new("hub", "client");
        hub.add_client(link.invited()).await.unwrap();
        let first = Intruder::establish(&network, SERVER, &link.sealed(), instance(1)).await;
        let second = {
            let (network, secrets) = (network.clone(), link.sealed());
            tokio::spawn(async move {
                let entered = Intruder::enter(&network, SERVER, &secrets, instance(2)).await;
                let Some((mut intruder, Greeting::Ready(mut session, _))) = entered else {
                    return None;
                };
                intruder.say(&mut session, &Frame::Ready(empty_ready(instance(2)))).await;
                intruder.hear(&mut session).await
            })
        };
        yield_now().await;
        sleep(after).await;
        hub.remove("client", Waiting::Purge).await.unwrap();
        let told = second.await.unwrap();
        let closed = [None, Some(Frame::Close(CloseCode::Removed))];
        assert!(closed.contains(&told), "{after:?} {told:?}");
        sleep(60 * SECOND).await;
        drop(first);
        assert_eq!(hub.peers().len(), 0);
        let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        let is_duplicate = |event: &Event| matches!(event, Event::Duplicate { .. });
        assert!(!told.iter().any(is_duplicate), "{after:?} {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_with_the_old_keys_or_from_an_old_address_ends_with_the_change() {
    for changes_keys in [false, true] {
        let network = MemoryNetwork::new();
        let (hub, inbox) = hub(&network).await;
        let link = TestLink::new("hub", "client");
        hub.add_client(link.invited()).await.unwrap();
        let entered = Intruder::enter(&network, SERVER, &link.sealed(), instance(1)).await.unwrap();
        let (mut intruder, Greeting::Ready(mut session, _)) = entered else { panic!("closed") };
        if changes_keys {
            hub.set_credentials("client", link.with_fresh_keys().credentials()).await.unwrap();
        } else {
            hub.set_range("client", "10.0.0.0/8".parse().unwrap()).await.unwrap();
        }
        intruder.say(&mut session, &Frame::Ready(empty_ready(instance(1)))).await;
        assert_eq!(intruder.hear(&mut session).await, None);
        sleep(SECOND).await;
        assert_eq!(status(&hub, "client").unwrap().counters.sessions, 0);
        assert_eq!(inbox.drain().await, [""; 0]);
    }
}
