//! Requests while the peer moves, replicas end, and the store is out of reach: each of them ends, and none is
//! made twice.

use paddington_exchange::RequestError;
use paddington_test_support::Random;

use super::requesting::{Across, LONG, ask, asking, settled};
use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_before_the_peer_has_moved_is_asked_where_it_is() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    // The first replica owns the link, and the peer is away.
    service.lead_nowhere();
    service.network.cut();
    while status(&one.exchange, "sensor").unwrap().is_connected() {
        sleep(Duration::from_millis(10)).await;
    }
    let waiting = [asking(&one.exchange, "1"), asking(&two.exchange, "2")];
    sleep(SECOND).await;
    assert_eq!(status(&one.exchange, "sensor").unwrap().calls.waiting, 2);
    service.lead_to(&two);
    for (waiting, reply) in waiting.into_iter().zip(["re: 1", "re: 2"]) {
        assert_eq!(waiting.await.unwrap().unwrap(), reply);
    }
    assert_eq!(service.disk.owner(service.links[0].id), Some(two.id));
    assert_eq!(peer.asked().len(), 2);
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_peer_has_moved_is_told_and_not_asked_again() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let (three, _) = service.replica(3).await;
    let (peer, _client) = service.answering().await;
    connected(&one.exchange, "sensor").await;
    let waiting = [asking(&one.exchange, "wait"), asking(&two.exchange, "wait")];
    for _ in &waiting {
        peer.begun.notified().await;
    }
    service.move_to(&three).await;
    for waiting in waiting {
        let moved = waiting.await.unwrap().unwrap_err();
        assert!(matches!(moved, RequestError::Moved(_)), "{moved}");
    }
    sleep(LONG).await;
    assert_eq!(peer.asked(), ["wait", "wait"]);
    settled(&service, &[&one, &two, &three]).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_peer_moves_every_request_ends_and_none_is_asked_twice() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let (three, _) = service.replica(3).await;
    let replicas = [&one, &two, &three];
    let (peer, _client) = service.answering().await;
    connected(&one.exchange, "sensor").await;
    service.disk.delay(Random::new(7), Duration::from_millis(40));
    let mut asked = Vec::new();
    for round in 0..60 {
        for (index, replica) in replicas.iter().enumerate() {
            for number in 0..5 {
                let speed = if number < 2 { "slow" } else { "fast" };
                let (from, text) =
                    (replica.exchange.clone(), format!("{speed} {round}-{index}-{number}"));
                let reply = async move { (ask(&from, &text).await, text) };
                asked.push(tokio::spawn(reply));
            }
        }
        service.disk.deafen(round % 8 == 7);
        sleep(Duration::from_millis(round as u64 * 37 % 200)).await;
        service.disk.deafen(false); // or no owner would hear that it has to yield
        service.move_to(replicas[round % 3]).await;
    }
    let mut answered = 0;
    for reply in asked {
        let (reply, text) = reply.await.unwrap();
        match reply {
            Ok(reply) => {
                assert_eq!(reply, format!("re: {text}"));
                answered += 1;
            }
            Err(error) => assert!(matches!(error, RequestError::Moved(_)), "{text}: {error}"),
        }
    }
    assert!(answered > 400 && answered < 900, "{answered} of 900");
    let mut texts = peer.asked();
    let all = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), all, "a request was made twice");
    settled(&service, &replicas).await;
}

#[tokio::test(start_paused = true)]
async fn requests_at_an_owner_that_is_killed_end_and_the_next_ones_are_answered() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    let waiting = peer.keeps_waiting(&two.exchange).await;
    service.kill(&one);
    let next = asking(&two.exchange, "next");
    let before = tokio::time::Instant::now();
    let moved = waiting.await.unwrap().unwrap_err();
    assert!(matches!(moved, RequestError::Moved(_)), "{moved}");
    assert!(before.elapsed() < 2 * SECOND, "{:?}", before.elapsed());
    service.lead_to(&two);
    service.network.cut();
    assert_eq!(next.await.unwrap().unwrap(), "re: next");
    assert_eq!(peer.asked(), ["wait", "next"]);
    settled(&service, &[&two]).await;
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_replica_that_is_killed_are_cancelled_at_the_peer() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    let _waiting = peer.keeps_waiting(&two.exchange).await;
    service.disk.kill(two.id);
    let before = tokio::time::Instant::now();
    peer.cancelled.notified().await;
    assert!(before.elapsed() < 6 * SECOND, "{:?}", before.elapsed());
    settled(&service, &[&one]).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_the_store_has_lost_end() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    let waiting = peer.keeps_waiting(&two.exchange).await;
    service.disk.lose(0);
    let lost = waiting.await.unwrap().unwrap_err();
    assert!(matches!(lost, RequestError::Lost(_)), "{lost}");
    peer.cancelled.notified().await;
    assert_eq!(ask(&two.exchange, "1").await.unwrap(), "re: 1");
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_request_fails_at_once() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    let waiting = peer.keeps_waiting(&two.exchange).await;
    service.disk.cut_off(two.id, true);
    let refused = ask(&two.exchange, "1").await.unwrap_err();
    assert!(matches!(refused, RequestError::Send(_)), "{refused}");
    assert_eq!(ask(&one.exchange, "2").await.unwrap(), "re: 2", "it needs no store");
    peer.go_on.notify_one();
    sleep(SECOND).await;
    service.disk.cut_off(two.id, false);
    assert_eq!(waiting.await.unwrap().unwrap(), "re: wait", "the answer was kept");
    assert_eq!(peer.asked(), ["wait", "2"]);
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_replica_that_counted_as_dead_are_lost_and_cancelled() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    let waiting = peer.keeps_waiting(&two.exchange).await;
    service.disk.cut_off(two.id, true);
    peer.cancelled.notified().await;
    service.disk.cut_off(two.id, false);
    let lost = waiting.await.unwrap().unwrap_err();
    assert!(matches!(lost, RequestError::Lost(_)), "{lost}");
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_cut_off_moves_its_requests_and_answers_none_of_them_later() {
    let Across { service, one, two, peer, _client } = Across::begin().await;
    let waiting = peer.keeps_waiting(&two.exchange).await;
    // It has taken another one that it cannot send: the peer is away.
    service.lead_nowhere();
    service.network.cut();
    let unsent = asking(&two.exchange, "unsent");
    sleep(SECOND).await;
    service.disk.cut_off(one.id, true);
    for waiting in [waiting, unsent] {
        let moved = waiting.await.unwrap().unwrap_err();
        assert!(matches!(moved, RequestError::Moved(_)), "{moved}");
    }
    let next = asking(&two.exchange, "next");
    service.lead_to(&two);
    assert_eq!(next.await.unwrap().unwrap(), "re: next");
    service.disk.cut_off(one.id, false);
    sleep(LONG).await;
    assert_eq!(peer.asked(), ["wait", "next"]);
    settled(&service, &[&one, &two]).await;
}

#[tokio::test(start_paused = true)]
async fn replicas_that_end_let_go_of_requests_on_both_sides() {
    let service = Service::new(&["sensor"]);
    let [(one, _), (two, _)] = service.two().await;
    let (three, _) = service.replica(3).await;
    let (peer, _client) = service.answering().await;
    connected(&one.exchange, "sensor").await;
    // The asker ends.
    let waiting = peer.keeps_waiting(&two.exchange).await;
    two.exchange.shutdown().await;
    assert_eq!(waiting.await.unwrap(), Err(RequestError::Cancelled));
    peer.cancelled.notified().await;
    settled(&service, &[&one, &three]).await;
    // The owner ends.
    let sent = peer.keeps_waiting(&three.exchange).await;
    service.lead_to(&three);
    one.exchange.shutdown().await;
    let moved = sent.await.unwrap().unwrap_err();
    assert!(matches!(moved, RequestError::Moved(_)), "{moved}");
    assert_eq!(ask(&three.exchange, "1").await.unwrap(), "re: 1");
    assert_eq!(peer.asked(), ["wait", "wait", "1"]);
    settled(&service, &[&three]).await;
}
