//! A link goes from one living replica to another: nothing is handled twice, and no two calls of the
//! handler run at a time.

use std::sync::Mutex;

use paddington_exchange::Delivered;
use paddington_test_support::Random;
use paddington_wire::Control;
use tokio::sync::Semaphore;

use super::*;

/// Calls of the handlers of all replicas.
#[derive(Default)]
struct Calls {
    handled: Mutex<Vec<(u16, String)>>,
    running: Mutex<u32>,
    overlaps: Mutex<u32>,
}

impl Calls {
    /// Returns a handler that takes some time, of the replica with this number.
    fn handler(self: &Arc<Self>, number: u16, time: Duration) -> impl Handler {
        let calls = Arc::clone(self);
        move |message: Message| {
            let calls = Arc::clone(&calls);
            async move {
                if message.is_control() {
                    return Ok::<(), std::io::Error>(());
                }
                *calls.running.lock().unwrap() += 1;
                *calls.overlaps.lock().unwrap() += u32::from(*calls.running.lock().unwrap() > 1);
                sleep(time).await;
                *calls.running.lock().unwrap() -= 1;
                calls.handled.lock().unwrap().push((number, message.payload().to_owned()));
                Ok(())
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        self.handled.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    async fn are(&self, count: usize) {
        while self.handled.lock().unwrap().len() < count {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_keeps_no_handler_waiting() {
    let service = Service::new(&["sensor"]);
    service.disk.lose_claims(1);
    let (one, inbox) = service.replica(1).await;
    let (client, _) = service.client().await;
    send(&client, "hub", 0..3).await;
    take(&inbox, 0..3).await;
    assert_eq!(service.disk.owner(service.links[0].id), Some(one.id));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_runs_keeps_the_lane_until_it_has_ended() {
    let (service, calls) = (Service::new(&["sensor"]), Arc::new(Calls::default()));
    let one = service.replica_with(1, calls.handler(1, 5 * SECOND)).await;
    let two = service.replica_with(2, calls.handler(2, Duration::ZERO)).await;
    let (client, inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&client, "hub", 0..3).await;
    sleep(SECOND).await;
    service.move_to(&two).await;
    // The new owner transmits at once.
    send(&one.exchange, "sensor", 0..1).await;
    take(&inbox, 0..1).await;
    assert!(calls.texts().is_empty());
    calls.are(3).await;
    assert_eq!(calls.texts(), numbers(0..3));
    assert_eq!(calls.handled.lock().unwrap()[0].0, 1, "the first call went on");
    assert_eq!(calls.handled.lock().unwrap()[1].0, 2);
    sleep(10 * SECOND).await;
    assert_eq!(calls.handled.lock().unwrap().len(), 3, "nothing is handled again");
    assert_eq!(*calls.overlaps.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_while_its_link_is_given_up_is_not_made_again() {
    // What was done before is written first, so that calls end before the release, and after it.
    for after in 0..40 {
        let (service, calls) = (Service::new(&["sensor"]), Arc::new(Calls::default()));
        let one = service.replica_with(1, calls.handler(1, Duration::from_millis(5))).await;
        let two = service.replica_with(2, calls.handler(2, Duration::ZERO)).await;
        let (client, _inbox) = service.client().await;
        connected(&one.exchange, "sensor").await;
        service.disk.delay(Random::new(after), Duration::from_millis(20));
        send(&client, "hub", 0..200).await;
        sleep(Duration::from_millis(after)).await;
        service.move_to(&two).await;
        calls.are(200).await;
        sleep(10 * SECOND).await;
        assert_eq!(calls.texts(), numbers(0..200), "moved after {after} ms");
        assert_eq!(*calls.overlaps.lock().unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_back_waits_for_the_call_that_runs_here() {
    let (service, told) = (Service::new(&["sensor"]), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&told);
    let one = service
        .replica_with(1, move |message: Message| {
            let kept = Arc::clone(&kept);
            async move {
                let control = matches!(message.control(), Some(Control::Disconnected { .. }));
                kept.lock().unwrap().push(match message.is_control() {
                    true if control => "gone".to_owned(),
                    true => "here".to_owned(),
                    false => message.payload().to_owned(),
                });
                if !message.is_control() {
                    sleep(5 * SECOND).await;
                }
                Ok::<(), std::io::Error>(())
            }
        })
        .await;
    let (two, _) = service.replica(2).await;
    let (client, _inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&client, "hub", 0..2).await;
    sleep(SECOND).await;
    service.move_to(&two).await;
    service.move_to(&one).await;
    sleep(SECOND).await;
    assert_eq!(*told.lock().unwrap(), ["here", "0"], "the first call has the lane");
    sleep(30 * SECOND).await;
    assert_eq!(*told.lock().unwrap(), ["here", "0", "gone", "here", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_all_links_does_not_take_the_lane_from_a_call() {
    let (service, calls) = (Service::new(&["sensor"]), Arc::new(Calls::default()));
    let one = service.replica_with(1, calls.handler(1, 5 * SECOND)).await;
    let two = service.replica_with(2, calls.handler(2, Duration::ZERO)).await;
    let (client, _inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&client, "hub", 0..3).await;
    sleep(SECOND).await;
    let (disk, id) = (service.disk.clone(), one.id);
    let looks = tokio::spawn(async move {
        for _ in 0..2_000 {
            disk.cut_off(id, false); // tells it that signals may have been lost
            sleep(Duration::from_millis(1)).await;
        }
    });
    service.move_to(&two).await;
    looks.await.unwrap();
    calls.are(3).await;
    sleep(10 * SECOND).await;
    assert_eq!(calls.texts(), numbers(0..3));
    assert_eq!(*calls.overlaps.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn moves_at_any_time_repeat_nothing() {
    let (service, calls) = (Service::new(&["sensor"]), Arc::new(Calls::default()));
    let one = service.replica_with(1, calls.handler(1, Duration::from_millis(70))).await;
    let two = service.replica_with(2, calls.handler(2, Duration::from_millis(110))).await;
    let (client, _inbox) = service.client().await;
    for round in 0..30 {
        send(&client, "hub", round * 5..round * 5 + 5).await;
        service.lead_to(if round % 2 == 0 { &two } else { &one });
        sleep(Duration::from_millis(u64::from(round) * 17 % 90)).await;
        service.network.cut();
    }
    calls.are(150).await;
    sleep(10 * SECOND).await;
    assert_eq!(calls.texts(), numbers(0..150));
    assert_eq!(*calls.overlaps.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_process_with_the_invitation_is_refused_at_another_replica() {
    let service = Service::new(&["sensor"]);
    let [(one, inbox), (two, _)] = service.two().await;
    let (client, _) = service.client().await;
    connected(&one.exchange, "sensor").await;
    service.lead_to(&two);
    let (second, _) = service.client().await;
    sleep(60 * SECOND).await;
    assert!(status(&second, "hub").unwrap().connected_for.is_none());
    assert_eq!(service.disk.owner(service.links[0].id), Some(one.id));
    send(&client, "hub", 0..3).await;
    take(&inbox, 0..3).await;
    assert!(status(&one.exchange, "sensor").unwrap().counters.refused_duplicate > 0);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_shuts_down_hands_its_peers_over() {
    let (service, calls) = (Service::new(&["sensor"]), Arc::new(Calls::default()));
    let one = service.replica_with(1, calls.handler(1, Duration::from_millis(30))).await;
    let two = service.replica_with(2, calls.handler(2, Duration::from_millis(30))).await;
    let (client, inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&client, "hub", 0..20).await;
    send(&two.exchange, "sensor", 0..20).await;
    service.lead_to(&two);
    let report = one.exchange.shutdown().await;
    assert!(report.unfinished.is_empty() && report.store.is_none(), "{report:?}");
    take(&inbox, 0..20).await;
    calls.are(20).await;
    sleep(5 * SECOND).await;
    assert_eq!(calls.texts(), numbers(0..20));
    let receipt = client.send(Message::new("hub", "20")).await.unwrap();
    assert_eq!(receipt.await, Delivered::Handled);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_does_not_keep_the_peer_away() {
    let (service, hangs) = (Service::new(&["sensor"]), Arc::new(Semaphore::new(0)));
    let held = Arc::clone(&hangs);
    let one = service
        .replica_with(1, move |message: Message| {
            let held = Arc::clone(&held);
            async move {
                if !message.is_control() {
                    held.acquire().await.unwrap().forget();
                }
                Ok::<(), std::io::Error>(())
            }
        })
        .await;
    let (two, inbox) = service.replica(2).await;
    let (client, _) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&client, "hub", 0..2).await;
    sleep(SECOND).await;
    service.move_to(&two).await;
    sleep(30 * SECOND).await;
    assert!(inbox.drain_texts().await.is_empty(), "the call at the first replica has the lane");
    hangs.add_permits(1);
    take(&inbox, 1..2).await;
    sleep(30 * SECOND).await;
    assert!(inbox.drain_texts().await.is_empty(), "what has ended there is not handled again");
}

#[tokio::test(start_paused = true)]
async fn handlers_see_a_fence_that_grows_with_each_owner() {
    let service = Service::new(&["sensor"]);
    let fences = Arc::new(Mutex::new(Vec::new()));
    let handler = || {
        let fences = Arc::clone(&fences);
        move |message: Message| {
            if !message.is_control() {
                fences.lock().unwrap().push(message.fence());
            }
            std::future::ready(Ok::<(), std::io::Error>(()))
        }
    };
    let [one, two] =
        [service.replica_with(1, handler()).await, service.replica_with(2, handler()).await];
    let (client, _) = service.client().await;
    for (count, replica) in [(2, &one), (4, &two), (6, &one)] {
        service.move_to(replica).await;
        send(&client, "hub", 0..2).await;
        while fences.lock().unwrap().len() < count {
            sleep(Duration::from_millis(10)).await;
        }
    }
    let fences: Vec<u64> = fences.lock().unwrap().iter().map(|fence| fence.unwrap()).collect();
    let [a, b, c, d, e, f] = fences[..] else { panic!("{fences:?}") };
    assert!(a == b && b < c && c == d && d < e && e == f, "{fences:?}");
}
