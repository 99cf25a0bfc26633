//! The leases of consumers that poll, in paused time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::side::{Both, numbers, texts};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn what_a_poll_has_taken_comes_again_when_its_lease_ends() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..3)).await;
    let first = both.server.poll("?max=2").await;
    assert_eq!(texts(&first), ["0", "1"]);
    let began = Instant::now();
    assert_eq!(texts(&both.server.poll("?lease=1h").await), ["2"]);
    let again = both.server.poll("?wait=5m").await;
    assert_eq!(texts(&again), ["0", "1"]);
    let took = began.elapsed();
    assert!(took > 28 * SECOND && took < 32 * SECOND, "{took:?}");
    assert_eq!(both.server.acknowledge(&first).await.acknowledged, 0);
    assert_eq!(both.server.acknowledge(&again).await.acknowledged, 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_acknowledges_or_polls_keeps_what_it_has() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..5)).await;
    let had = both.server.poll("?consumer=one&lease=10s").await;
    assert_eq!(had.len(), 5);
    for message in &had[..3] {
        sleep(8 * SECOND).await;
        assert_eq!(both.server.acknowledge(std::slice::from_ref(message)).await.acknowledged, 1);
    }
    for _ in 0..3 {
        sleep(8 * SECOND).await;
        assert!(both.server.poll("?consumer=one&lease=10s&wait=0s").await.is_empty());
    }
    assert_eq!(both.server.acknowledge(&had[3..4]).await.acknowledged, 1);
    sleep(11 * SECOND).await;
    assert_eq!(texts(&both.server.poll("?consumer=two&wait=0s").await), ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_begins_anew_gets_what_it_had_at_once() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..2)).await;
    assert_eq!(both.server.poll("?consumer=one").await.len(), 2);
    assert!(both.server.poll("?consumer=one&wait=0s").await.is_empty());
    let again = both.server.poll("?consumer=one&again=true").await;
    assert_eq!(texts(&again), ["0", "1"]);
    assert_eq!(both.server.acknowledge(&again).await.acknowledged, 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_lease_ends_before_a_long_one_that_began_earlier() {
    let both = Both::start().await;
    both.client.send("server", numbers(0..2)).await;
    both.server.poll("?max=1&lease=1h").await;
    both.server.poll("?max=1&lease=1s").await;
    let began = Instant::now();
    assert_eq!(texts(&both.server.poll("").await), ["1"]);
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
}
