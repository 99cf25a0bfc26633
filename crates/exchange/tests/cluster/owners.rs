//! Whoever looks at a replica is told which other one owns a link, and waits for no store that hangs.

use std::collections::BTreeMap;

use paddington_test_support::Random;
use tokio::time::Instant;

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
    service.disk.cut_off(two.id, true);
    sleep(LEASE + SECOND).await;
    let asked = Instant::now();
    two.exchange.owners(None).await.unwrap_err();
    assert!(asked.elapsed() < SECOND, "it does not ask");
}
