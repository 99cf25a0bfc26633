//! A replica that others count as dead does nothing for the links that it owned.

use paddington_exchange::{Event, SendError};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::*;

#[tokio::test(start_paused = true)]
async fn peers_of_a_killed_replica_go_on_at_another_one() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, inbox)] = service.two().await;
    let (client, got) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&two.exchange, "sensor", 0..5).await;
    take(&got, 0..5).await;
    service.kill(&one);
    send(&two.exchange, "sensor", 5..10).await;
    send(&client, "hub", 0..5).await;
    service.move_to(&two).await;
    take(&got, 5..10).await;
    take(&inbox, 0..5).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_without_its_store_goes_on_transmitting_but_handles_nothing() {
    let service = Service::new(&["sensor"]);
    let [(one, inbox), _] = service.two().await;
    let (client, _) = service.client().await;
    connected(&one.exchange, "sensor").await;
    let mut events = one.exchange.events();
    service.disk.cut_off(one.id, true);
    let refused = one.exchange.send(Message::new("sensor", "x")).await.unwrap_err();
    assert!(matches!(refused, SendError::Storage(_)), "{refused}");
    sleep(LEASE + SECOND).await;
    send(&client, "hub", 0..3).await;
    sleep(5 * SECOND).await;
    assert!(inbox.drain_texts().await.is_empty(), "others may have the link");
    assert!(status(&one.exchange, "sensor").unwrap().is_connected());
    service.disk.cut_off(one.id, false);
    take(&inbox, 0..3).await;
    let mut lapsed = false;
    while let Ok(event) = events.try_recv() {
        lapsed |= event == Event::LeaseLapsed { database: None };
    }
    assert!(lapsed);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_back_after_its_lease_has_lost_its_links() {
    let service = Service::new(&["sensor"]);
    let [(one, first), (two, second)] = service.two().await;
    let (client, _) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&client, "hub", 0..3).await;
    take(&first, 0..3).await;
    // It acknowledges what it handles, and cannot make that durable.
    service.disk.cut_off(one.id, true);
    send(&client, "hub", 3..6).await;
    sleep(LEASE + SECOND).await;
    service.move_to(&two).await;
    service.disk.cut_off(one.id, false);
    send(&client, "hub", 6..9).await;
    sleep(10 * SECOND).await;
    assert_eq!(service.disk.owner(service.links[0].id), Some(two.id));
    assert!(status(&one.exchange, "sensor").unwrap().connected_for.is_none());
    let handled = second.drain_texts().await;
    assert_eq!(handled.last().unwrap(), "8");
    assert_eq!(handled[handled.len() - 3..], ["6", "7", "8"], "in order, and none is missing");
}

#[tokio::test(start_paused = true)]
async fn after_a_long_outage_peers_go_elsewhere() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let (_client, _) = service.client().await;
    connected(&one.exchange, "sensor").await;
    service.disk.cut_off(one.id, true);
    service.lead_to(&two);
    sleep(5 * LEASE).await;
    connected(&two.exchange, "sensor").await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_to_a_replica_without_its_store_is_sent_elsewhere_before_it_is_answered() {
    let service = Service::new(&["sensor"]);
    let [(one, _), _] = service.two().await;
    let closes = async || {
        let mut stream = service.network.dial(([127, 0, 0, 1], PORT + 1).into()).await.unwrap();
        timeout(SECOND, stream.read_u8()).await.is_ok_and(|read| read.is_err())
    };
    service.disk.cut_off(one.id, true);
    sleep(3 * LEASE).await;
    assert!(!closes().await, "it waits for a request");
    sleep(2 * LEASE).await;
    assert!(closes().await);
    service.disk.cut_off(one.id, false);
    sleep(LEASE).await;
    assert!(!closes().await);
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_after_messages_were_lost_is_delivered() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let (_client, inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&two.exchange, "sensor", 0..5).await;
    take(&inbox, 0..5).await;
    service.network.freeze();
    send(&two.exchange, "sensor", 100..110).await;
    service.disk.lose(7);
    send(&two.exchange, "sensor", 200..210).await;
    service.network.cut();
    let mut got = Vec::new();
    while got.last().is_none_or(|last| last != "209") {
        got.push(inbox.text().await);
    }
    let after: Vec<_> = got.iter().filter(|it| it.starts_with('2')).cloned().collect();
    let expected: Vec<_> = (200..210).map(|number: u32| number.to_string()).collect();
    assert_eq!(after, expected, "of {got:?}");
}
