//! What any replica accepts reaches the peer wherever it is, once and in order.

use paddington_exchange::{AddError, Config, FullOutbox, SendError, StartError};
use paddington_test_support::{MemoryNetwork, SharedDisk, TestLink, setup};
use paddington_wire::Encoding;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_message_from_any_replica_reaches_the_peer_where_it_is() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let (client, inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    for round in 0..20 {
        send(&one.exchange, "sensor", 2 * round..2 * round + 1).await;
        send(&two.exchange, "sensor", 2 * round + 1..2 * round + 2).await;
    }
    take(&inbox, 0..40).await;
    assert!(status(&two.exchange, "sensor").unwrap().connected_for.is_none());
    assert!(client.shutdown().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn messages_wait_until_the_peer_comes_to_any_replica() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    send(&one.exchange, "sensor", 0..10).await;
    send(&two.exchange, "sensor", 10..20).await;
    service.lead_to(&two);
    let (_client, inbox) = service.client().await;
    take(&inbox, 0..20).await;
    send(&one.exchange, "sensor", 20..30).await;
    take(&inbox, 20..30).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_doubled_or_reordered_while_the_peer_moves() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let (_client, inbox) = service.client().await;
    let mut next = 0;
    for round in 0..20 {
        let replica = if round % 2 == 0 { &one } else { &two };
        service.move_to(replica).await;
        for from in [&one, &two, &one] {
            send(&from.exchange, "sensor", next..next + 7).await;
            next += 7;
        }
    }
    take(&inbox, 0..next).await;
    sleep(SECOND).await;
    assert!(inbox.drain_texts().await.is_empty());
    assert_eq!(service.disk.messages(), 0, "everything is acknowledged");
}

#[tokio::test(start_paused = true)]
async fn messages_expire_at_the_replica_that_has_the_peer() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let options = paddington_exchange::SendOptions { ttl: Some(SECOND) };
    let receipt = two.exchange.send_with(Message::new("sensor", "old"), options).await.unwrap();
    send(&two.exchange, "sensor", 0..1).await;
    sleep(2 * SECOND).await;
    service.lead_to(&one);
    let (_client, inbox) = service.client().await;
    take(&inbox, 0..1).await;
    assert_eq!(receipt.await, paddington_exchange::Delivered::Expired);
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_an_outbox_holds_for_all_replicas_together() {
    let service = Service::new(&["sensor"]);
    let mut replicas = Vec::new();
    for number in 1..=2 {
        let (setup, _) = service.setup(number);
        let config = Config { stored_messages: 10, ..Config::default() };
        replicas.push(Exchange::start(Setup { config, ..setup }, ignore).await.unwrap());
    }
    for number in 0..10 {
        send(&replicas[number % 2], "sensor", 0..1).await;
    }
    for replica in &replicas {
        let refused = replica.send(Message::new("sensor", "one more")).await.unwrap_err();
        let SendError::Full { outbox: FullOutbox::Peer, messages: 10, .. } = refused else {
            panic!("{refused}")
        };
    }
    let waiting = replicas[0].send_when_ready(Message::new("sensor", "one more"));
    let (_client, inbox) = service.client().await;
    waiting.await.unwrap();
    while inbox.text().await != "one more" {}
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_all_outboxes_together_leaves_every_peer_its_own_room_at_every_replica() {
    const LEN: usize = 100_000;
    const TOTAL: u64 = 4_000_000;
    let service = Service::new(&["sensor", "quiet"]);
    let mut replicas = Vec::new();
    for number in 1..=2 {
        let (setup, _) = service.setup(number);
        let config = Config { stored_bytes_total: TOTAL, ..Config::default() };
        replicas.push(Exchange::start(Setup { config, ..setup }, ignore).await.unwrap());
    }
    let fill = async |peer: &str| {
        for number in 0.. {
            let long = Message::new(peer, "x".repeat(LEN));
            match replicas[number % 2].send(long).await {
                Ok(_) => {}
                Err(SendError::Full { outbox: FullOutbox::All { setting }, .. }) => {
                    assert_eq!(setting, "stored_bytes_total");
                    return (number * LEN) as u64;
                }
                Err(error) => panic!("{error}"),
            }
        }
        unreachable!()
    };
    let (loud, quiet) = (fill("sensor").await, fill("quiet").await);
    assert!(loud > TOTAL / 2 && quiet >= TOTAL / 8, "{loud}, {quiet}");
    assert!(loud + quiet <= TOTAL, "{loud}, {quiet}");
    let waiting = replicas[0].send_when_ready(Message::new("sensor", "one more"));
    let (_client, inbox) = service.client().await;
    waiting.await.unwrap();
    while inbox.text().await != "one more" {}
}

#[tokio::test(start_paused = true)]
async fn hex_links_cannot_be_shared() {
    let (network, disk) = (MemoryNetwork::new(), SharedDisk::new(LEASE));
    let link = TestLink::with_encoding("hub", "old", Encoding::Hex);
    let with_it = Setup {
        clients: vec![link.invited()],
        store: Storage::Shared(disk.open().1),
        ..setup("hub", PORT, &network)
    };
    let error = Exchange::start(with_it, ignore).await.unwrap_err();
    assert!(matches!(error, StartError::HexInCluster(_)), "{error}");
    let store = Storage::Shared(disk.open().1);
    let hub = Setup { store, ..setup("hub", PORT + 1, &network) };
    let hub = Exchange::start(hub, ignore).await.unwrap();
    let error = hub.add_client(link.invited()).await.unwrap_err();
    assert!(matches!(error, AddError::HexInCluster(_)), "{error}");
}

async fn ignore(_: Message) -> Result<(), std::io::Error> {
    Ok(())
}
