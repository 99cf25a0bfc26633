//! Whoever has sent a message is told what has become of it, wherever the peer is.

use paddington_exchange::Delivered;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_receipt_tells_the_outcome_wherever_the_peer_is() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let handler = async |message: Message| match message.payload() {
        "bad" => Err(std::io::Error::other("it is bad")),
        _ => Ok(()),
    };
    let config = Config { reveal_errors: true, ..Config::default() };
    let _client = service.client_with(config, handler).await;
    connected(&one.exchange, "sensor").await;
    for from in [&one, &two] {
        let good = from.exchange.send(Message::new("sensor", "good")).await.unwrap();
        let bad = from.exchange.send(Message::new("sensor", "bad")).await.unwrap();
        assert_ne!(good.id(), bad.id());
        assert_eq!(good.await, Delivered::Handled);
        let Delivered::Rejected(_) = bad.clone().await else { panic!("it was rejected") };
        assert!(bad.error_text().unwrap().contains("it is bad"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_receipt_outlives_the_owner_of_the_link() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let waiting = two.exchange.send(Message::new("sensor", "early")).await.unwrap();
    let (_client, inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    assert_eq!(inbox.text().await, "early");
    service.kill(&one);
    service.lead_to(&two);
    assert_eq!(waiting.await, Delivered::Handled);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_ends_tells_what_it_leaves_to_the_others() {
    let service = Service::new(&["sensor"]);
    let (one, _) = service.replica(1).await;
    let receipt = one.exchange.send(Message::new("sensor", "late")).await.unwrap();
    let receipt = tokio::spawn(receipt.into_future());
    sleep(SECOND).await;
    one.exchange.shutdown().await;
    assert_eq!(receipt.await.unwrap(), Delivered::LeftInStore);
    let (two, _) = service.replica(2).await;
    service.lead_to(&two);
    let (_client, inbox) = service.client().await;
    assert_eq!(inbox.text().await, "late");
}
