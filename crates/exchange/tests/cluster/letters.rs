//! Dead letters of a service with several replicas: who may keep one, and who handles one again.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::SystemTime;

use paddington_exchange::store::{
    Claimed, DeadLetter, Fence, LetterId, Mailbox, SharedStore, StoreError,
};
use paddington_exchange::{Event, RetryError};
use paddington_test_support::Random;
use paddington_wire::{MessageId, RejectCode};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::*;

/// The calls of a handler, each of which waits until it is told to end.
#[derive(Default)]
struct Calls {
    count: AtomicU32,
    begun: Notify,
    end: Notify,
    fail: AtomicBool,
}

impl Calls {
    fn handler(self: &Arc<Self>) -> impl Handler {
        let calls = Arc::clone(self);
        move |message: Message| {
            let calls = Arc::clone(&calls);
            async move {
                if message.is_control() {
                    return Ok(());
                }
                calls.count.fetch_add(1, Ordering::Relaxed);
                calls.begun.notify_one();
                calls.end.notified().await;
                if calls.fail.load(Ordering::Relaxed) { Err("no good") } else { Ok(()) }
            }
        }
    }

    fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Two replicas and the calls of their handlers.
async fn two(service: &Service) -> [(Replica, Arc<Calls>); 2] {
    let [first, second] = [Arc::new(Calls::default()), Arc::new(Calls::default())];
    let one = service.replica_with(1, first.handler()).await;
    [(one, first), (service.replica_with(2, second.handler()).await, second)]
}

/// Makes a replica that is nothing but its store the owner of the first link.
async fn own(service: &Service, store: &dyn SharedStore) -> (Mailbox, Fence) {
    let link = &service.links[0];
    let mailbox = Mailbox { peer: link.client.clone(), link: link.id };
    match store.claim(&mailbox, Fence::default()).await.unwrap() {
        Claimed::Owned(claim) => (mailbox, claim.fence),
        Claimed::Held(owner) => unreachable!("replica {owner} owns it"),
    }
}

/// Leaves a dead letter, as a replica does that has ended since.
async fn leave_letter(service: &Service) -> LetterId {
    let (replica, store) = service.disk.open();
    let (mailbox, fence) = own(service, &*store).await;
    let letter = DeadLetter {
        mailbox,
        id: MessageId { stream: [1; 16].into(), number: 1 },
        code: RejectCode::FAILED,
        at: SystemTime::UNIX_EPOCH,
        payload: "bad".into(),
    };
    store.add_letter(letter, fence).await.unwrap();
    let letters = store.letters().await.unwrap();
    service.disk.kill(replica);
    letters[0].0
}

async fn letters(replica: &Replica) -> usize {
    replica.exchange.store().unwrap().letters().await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_the_store_refuses_ends_the_term_at_once() {
    let (service, calls) = (Service::new(&["sensor"]), Arc::new(Calls::default()));
    let one = service.replica_with(1, calls.handler()).await;
    let (client, _) = service.client().await;
    send(&client, "hub", 0..1).await;
    calls.begun.notified().await;
    let mut events = one.exchange.events();
    // Another one takes over, and this one does not know.
    service.disk.end_session(one.id);
    let (_, other) = service.disk.open();
    own(&service, &*other).await;
    calls.fail.store(true, Ordering::Relaxed);
    calls.end.notify_one();
    let failed = Instant::now();
    let deposed = Event::Deposed { peer: service.links[0].client.clone() };
    while events.recv().await.unwrap() != deposed {}
    assert_eq!(failed.elapsed(), Duration::ZERO, "no later write was needed for that");
    assert_eq!(other.letters().await.unwrap(), [], "the other one handles the message");
    assert_eq!(status(&one.exchange, "sensor").unwrap().counters.dead_letters, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_handled_again_at_one_replica_at_a_time() {
    let service = Service::new(&["sensor"]);
    let id = leave_letter(&service).await;
    let [(one, first), (two, second)] = two(&service).await;
    let meanwhile = async {
        first.begun.notified().await;
        let retried = timeout(SECOND, two.exchange.retry_letter(id)).await.unwrap();
        let elsewhere = RetryError::Elsewhere { letter: id, replica: one.id };
        let text = format!("dead letter {} is being handled at replica {}", id.0, one.id);
        assert_eq!((elsewhere.to_string(), retried), (text, Err(elsewhere)));
        assert_eq!((letters(&one).await, letters(&two).await), (1, 1), "it is there until then");
        first.end.notify_one();
    };
    let (retried, ()) = tokio::join!(one.exchange.retry_letter(id), meanwhile);
    assert_eq!(retried, Ok(()));
    assert_eq!(letters(&two).await, 0);
    assert_eq!(two.exchange.retry_letter(id).await, Err(RetryError::Unknown(id)));
    assert_eq!((first.count(), second.count()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_fails_again_can_be_handled_at_another_replica() {
    let service = Service::new(&["sensor"]);
    let id = leave_letter(&service).await;
    let [(one, first), (two, second)] = two(&service).await;
    first.fail.store(true, Ordering::Relaxed);
    first.end.notify_one();
    let failed = RetryError::Failed("no good".to_owned());
    assert_eq!(one.exchange.retry_letter(id).await, Err(failed));
    assert_eq!(letters(&one).await, 1);
    second.end.notify_one();
    assert_eq!(two.exchange.retry_letter(id).await, Ok(()));
    assert_eq!(letters(&one).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_outlives_the_replica_that_handles_it() {
    let service = Service::new(&["sensor"]);
    let id = leave_letter(&service).await;
    let [(one, first), (two, second)] = two(&service).await;
    let unanswered = timeout(SECOND, one.exchange.retry_letter(id)).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    assert_eq!(first.count(), 1);
    service.kill(&one);
    second.end.notify_one();
    assert_eq!(two.exchange.retry_letter(id).await, Ok(()));
    assert_eq!((letters(&two).await, second.count()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_not_handled_after_the_lease_has_lapsed() {
    let service = Service::new(&["sensor"]);
    let id = leave_letter(&service).await;
    let [(one, first), (two, second)] = two(&service).await;
    // With this seed, each of the next answers takes longer than the lease.
    service.disk.delay(Random::new(49), 60 * SECOND);
    let cut_off = async {
        sleep(SECOND).await; // until it has borrowed the letter
        service.disk.cut_off(one.id, true);
    };
    let (retried, ()) = tokio::join!(one.exchange.retry_letter(id), cut_off);
    let lapsed = StoreError::new("the lease of this replica has lapsed");
    assert_eq!(retried, Err(RetryError::Store(lapsed)));
    second.end.notify_one();
    assert_eq!(two.exchange.retry_letter(id).await, Ok(()));
    assert_eq!((first.count(), second.count()), (0, 1));
}
