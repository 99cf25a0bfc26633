//! Whoever looks at a replica is told which other one owns a link, and waits for no store that hangs.

use std::collections::BTreeMap;

use paddington_exchange::store::Purged;
use paddington_exchange::{PurgeError, Waiting};
use paddington_test_support::{Random, capture_logs_of_thread};
use tokio::time::{Instant, timeout};

use super::*;

/// The owners of links that a replica does not own, as it tells of them.
async fn owners(replica: &Replica) -> BTreeMap<String, Option<u32>> {
    let owners = replica.exchange.owners(None).await.unwrap();
    owners.into_iter().map(|(peer, owner)| (peer.to_string(), owner)).collect()
}

fn are<const N: usize>(owners: [(&str, Option<u32>); N]) -> BTreeMap<String, Option<u32>> {
    owners.map(|(peer, owner)| (peer.to_owned(), owner)).into()
}

#[tokio::test(start_paused = true)]
async fn a_replica_names_the_owner_of_a_link_that_it_does_not_own() {
    let service = Service::new(&["sensor", "quiet"]);
    let [(one, _), (two, _)] = service.two().await;
    assert_eq!(owners(&two).await, are([("quiet", None), ("sensor", None)]));
    let (_client, _inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    let of_one = are([("quiet", None), ("sensor", Some(one.id.0))]);
    assert_eq!(owners(&two).await, of_one);
    assert_eq!(owners(&one).await, are([("quiet", None)]), "it owns the other one");
    let only = two.exchange.owners(Some("sensor")).await.unwrap();
    assert_eq!(only.into_values().collect::<Vec<_>>(), [Some(one.id.0)]);
    assert!(two.exchange.owners(Some("nobody")).await.unwrap().is_empty());
    let both = two.exchange.owners_of(&["sensor", "nobody", "quiet"], SECOND).await.unwrap();
    assert_eq!(both, two.exchange.owners(None).await.unwrap());
    let own = one.exchange.owners_of(&["sensor"], SECOND).await.unwrap();
    assert!(own.is_empty(), "it owns that one: {own:?}");

    service.move_to(&two).await;
    assert_eq!(owners(&one).await, are([("quiet", None), ("sensor", Some(two.id.0))]));
    let terms = |replica: &Replica| {
        let status = replica.exchange.replica().unwrap();
        [status.claimed, status.yielded, status.deposed]
    };
    assert_eq!((terms(&one), terms(&two)), ([1, 1, 0], [1, 0, 0]));
    service.kill(&two);
    assert_eq!(owners(&one).await, are([("quiet", None), ("sensor", None)]), "it is dead");
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_store_does_not_answer_in_time_does_not_know_its_orphans() {
    let service = Service::new(&["sensor"]);
    let (one, _) = service.replica(1).await;
    assert_eq!(one.exchange.orphans().await.unwrap(), []);
    service.disk.delay(Random::new(1), 1_000 * LEASE);
    let asked = Instant::now();
    one.exchange.orphans().await.unwrap_err();
    let took = asked.elapsed();
    assert!(took >= 10 * SECOND && took < 11 * SECOND, "{took:?}");
    service.disk.cut_off(one.id, true);
    sleep(LEASE + SECOND).await;
    let asked = Instant::now();
    one.exchange.orphans().await.unwrap_err();
    assert!(asked.elapsed() < SECOND, "it does not ask");
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_store_does_not_answer_in_time_does_not_know_the_owner() {
    let service = Service::new(&["sensor"]);
    let [(_one, _), (two, _)] = service.two().await;
    service.disk.delay(Random::new(1), 1_000 * LEASE);
    let asked = Instant::now();
    two.exchange.owners(None).await.unwrap_err();
    let took = asked.elapsed();
    assert!(took >= 10 * SECOND && took < 11 * SECOND, "{took:?}");
    let asked = Instant::now();
    two.exchange.owners_of(&["sensor"], SECOND).await.unwrap_err();
    let took = asked.elapsed();
    assert!(took >= SECOND && took < 2 * SECOND, "{took:?}");
    service.disk.cut_off(two.id, true);
    sleep(LEASE + SECOND).await;
    let asked = Instant::now();
    two.exchange.owners(None).await.unwrap_err();
    assert!(asked.elapsed() < SECOND, "it does not ask");
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_the_store_answers_too_late_goes_on_and_holds_nothing_up() {
    let service = Service::new(&["sensor"]);
    let (one, _) = service.replica(1).await;
    send(&one.exchange, "sensor", 0..2).await;
    one.exchange.remove("sensor", Waiting::Keep).await.unwrap();
    let orphan = one.exchange.orphans().await.unwrap().remove(0);
    assert_eq!(orphan.messages, 2);
    let mailbox = orphan.mailbox;
    let late = Err(PurgeError::Late(mailbox.clone()));

    service.disk.hold(true);
    let asked = Instant::now();
    assert_eq!(one.exchange.purge(&mailbox).await, late);
    let took = asked.elapsed();
    assert!(took >= 10 * SECOND && took < 11 * SECOND, "{took:?}");
    assert_eq!(one.exchange.purge(&mailbox).await, late);
    let other = service.links[0].for_client("other");
    timeout(SECOND, one.exchange.add_client(other.invited())).await.unwrap().unwrap();
    timeout(15 * SECOND, one.exchange.remove("other", Waiting::Refuse)).await.unwrap().unwrap_err();
    let removed = timeout(15 * SECOND, one.exchange.remove("other", Waiting::Purge)).await.unwrap();
    let failure = removed.unwrap().not_purged.unwrap();
    assert_eq!(failure.to_string(), "the store failed: it has not answered in time");

    service.disk.hold(false);
    assert_eq!(one.exchange.purge(&mailbox).await, Ok(Purged::default()), "nothing is left");
    one.exchange.add_client(service.links[0].invited()).await.unwrap();
    assert_eq!(one.exchange.purge(&mailbox).await, Err(PurgeError::Known(mailbox)));
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_lease_has_lapsed_does_not_begin_to_purge() {
    let service = Service::new(&["sensor"]);
    let (one, _) = service.replica(1).await;
    send(&one.exchange, "sensor", 0..2).await;
    one.exchange.remove("sensor", Waiting::Keep).await.unwrap();
    let mailbox = one.exchange.orphans().await.unwrap().remove(0).mailbox;
    service.disk.cut_off(one.id, true);
    sleep(LEASE + SECOND).await;
    let asked = Instant::now();
    let refused = one.exchange.purge(&mailbox).await.unwrap_err();
    assert!(asked.elapsed() < SECOND, "it does not ask");
    let text =
        "the mailbox could not be purged: the store failed: the lease of this replica has lapsed";
    assert_eq!(refused.to_string(), text);
    assert_eq!(service.disk.messages(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_replica_starts_although_its_store_does_not_say_in_time_what_is_orphaned() {
    let (logs, _guard) = capture_logs_of_thread();
    let service = Service::new(&["sensor"]);
    service.disk.hold(true);
    let asked = Instant::now();
    let (one, _) = service.replica(1).await;
    let took = asked.elapsed();
    assert!(took >= 10 * SECOND && took < 11 * SECOND, "{took:?}");
    let text =
        "it is not known whether the store has orphaned mailboxes: it has not answered in time";
    let told = logs.lines().into_iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    assert!(told.len() == 1 && told[0].starts_with("WARN"), "{told:?}");

    service.disk.hold(false);
    let (_client, inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    send(&one.exchange, "sensor", 0..1).await;
    take(&inbox, 0..1).await;
}
