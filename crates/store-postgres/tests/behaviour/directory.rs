//! The directory of links.

use std::time::Duration;

use paddington_exchange::store::{Directory, LinkEntry, LinkStore, Written};
use paddington_store_postgres::PostgresStore;
use paddington_wire::LinkId;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::support::place;

fn entry(link: u8, peer: &str, version: u64, text: Option<&str>) -> LinkEntry {
    let text = text.map(|text| Zeroizing::new(text.to_owned()));
    LinkEntry { link: LinkId::from([link; 16]), peer: peer.parse().unwrap(), version, text }
}

async fn write(store: &PostgresStore, entry: LinkEntry) -> Written {
    store.write(vec![entry]).await.unwrap()[0]
}

fn version(written: Written) -> u64 {
    match written {
        Written::Done(version) => version,
        Written::Conflict => panic!("nobody else has written it"),
    }
}

#[tokio::test]
async fn states_are_written_over_the_version_that_was_read_and_told_to_all() {
    let place = place!();
    let (one, two) = (place.open().await, place.open().await);
    let mut news = two.news();
    let before = *news.borrow_and_update();
    let first = version(write(&one, entry(1, "sensor", 0, Some("a"))).await);
    timeout(Duration::from_secs(10), news.wait_for(|it| it.version == first))
        .await
        .unwrap()
        .unwrap();
    assert!(first > before.version);
    assert_eq!(two.entries(0).await.unwrap(), [entry(1, "sensor", first, Some("a"))]);
    assert_eq!(two.entries(first).await.unwrap(), []);

    // Whoever has not seen that state does not replace it, and a name belongs to one link.
    assert_eq!(write(&two, entry(1, "sensor", 0, Some("b"))).await, Written::Conflict);
    assert_eq!(write(&two, entry(2, "sensor", 0, Some("b"))).await, Written::Conflict);
    let second = version(write(&two, entry(1, "sensor", first, Some("b"))).await);
    assert_eq!(write(&one, entry(1, "sensor", first, None)).await, Written::Conflict);
    let third = version(write(&one, entry(1, "sensor", second, None)).await);
    assert!(first < second && second < third);
    assert_eq!(two.entries(first).await.unwrap(), [entry(1, "sensor", third, None)]);

    // What was removed does not come back, and its name is free.
    assert_eq!(write(&two, entry(1, "sensor", third, Some("c"))).await, Written::Conflict);
    let written = two.write(vec![
        entry(3, "sensor", 0, Some("d")),
        entry(4, "sensor", 0, Some("e")),
        entry(5, "other", 0, Some("é \u{1f511}")),
    ]);
    let written = written.await.unwrap();
    assert_eq!(written[1], Written::Conflict);
    let versions = [version(written[0]), version(written[2])];
    let mut all = one.versions().await.unwrap();
    all.sort_unstable();
    let link = |link: u8| LinkId::from([link; 16]);
    assert_eq!(all, [(link(1), third), (link(3), versions[0]), (link(5), versions[1])]);
    let last = one.entries(versions[0]).await.unwrap();
    assert_eq!(last, [entry(5, "other", versions[1], Some("é \u{1f511}"))]);
    assert!(!format!("{last:?}").contains('é'), "it holds keys");
    one.close().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test]
async fn many_new_links_are_written_in_their_order_and_those_that_are_not_new_are_told() {
    let place = place!();
    let store = place.open().await;
    let new = |number: u16, peer: &str| {
        let mut link = [7; 16];
        link[..2].copy_from_slice(&number.to_be_bytes());
        LinkEntry { link: LinkId::from(link), ..entry(0, peer, 0, Some("x")) }
    };
    write(&store, new(3_500, "taken")).await;
    let mut entries: Vec<_> = (0..4_500).map(|at| new(at, &format!("peer-{at}"))).collect();
    entries[4_000] = new(4_000, "taken");
    entries[4_001] = new(0, "another");
    let written = store.write(entries.clone()).await.unwrap();
    let conflicts: Vec<_> = (0..4_500).filter(|at| written[*at] == Written::Conflict).collect();
    assert_eq!(conflicts, [3_500, 4_000, 4_001]);
    let versions: Vec<_> =
        written.iter().filter(|it| **it != Written::Conflict).copied().map(version).collect();
    assert!(versions.is_sorted_by(|one, next| one < next));
    let mut read = Vec::new();
    loop {
        let last = read.last().map_or(0, |it: &LinkEntry| it.version);
        let more = store.entries(last).await.unwrap();
        if more.is_empty() {
            break;
        }
        read.extend(more);
    }
    assert_eq!(read.len(), 4_498);
    assert_eq!(read[1..].iter().map(|it| it.version).collect::<Vec<_>>(), versions);
    // What is written then is newer, one at a time as well.
    let last = *versions.last().unwrap();
    assert!(version(write(&store, new(5_000, "late")).await) > last);
    assert!(
        version(write(&store, LinkEntry { version: versions[0], ..new(0, "peer-0") }).await) > last
    );
}

#[tokio::test]
async fn what_was_not_told_is_heard_with_a_beat_and_contact_that_was_lost_is_told() {
    let place = place!();
    let store = place.open().await;
    let mut news = store.news();
    let before = *news.borrow_and_update();
    place.sql("UPDATE meta SET value = (1::bigint << 50) WHERE key = 'directory'");
    let heard = timeout(Duration::from_secs(30), news.wait_for(|it| it.version == 1 << 50));
    let heard = heard.await.unwrap().unwrap();
    assert_eq!(heard.contacts, before.contacts);
    drop(heard);
    place.terminate_lock(&store);
    let again = timeout(Duration::from_secs(30), news.wait_for(|it| it.contacts > before.contacts));
    again.await.unwrap().unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_what_is_newer_misses_nothing_that_others_write_meanwhile() {
    const WRITERS: u8 = 4;
    const LINKS: u8 = 50;
    let place = place!();
    let reader = place.open().await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = place.open().await;
        writers.push(tokio::spawn(async move {
            for link in 0..LINKS {
                let number = writer * LINKS + link + 1;
                version(
                    write(&store, entry(number, &format!("peer-{number}"), 0, Some("x"))).await,
                );
            }
            store.close().await.unwrap();
        }));
    }
    let (mut after, mut read) = (0, 0);
    let all = async {
        while read < usize::from(WRITERS) * usize::from(LINKS) {
            for entry in reader.entries(after).await.unwrap() {
                assert!(entry.version > after);
                (after, read) = (entry.version, read + 1);
            }
        }
    };
    timeout(Duration::from_secs(60), all).await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    reader.close().await.unwrap();
}
