//! What there is, and purging it.

use std::time::{Duration, SystemTime};

use paddington_exchange::store::{
    Backlog, Cursors, DeadLetter, DeadLetters, MailboxStatus, Mailboxes, Purged,
};
use paddington_wire::{Payload, RejectCode};

use crate::support::{accept, at, claim, cursor, fill, id, is_stale, mailbox, place};

#[tokio::test]
async fn mailboxes_are_listed_by_name_unless_they_are_empty_or_excepted() {
    let place = place!();
    let store = place.open().await;
    let [a, b, c, empty] = ["a", "b", "c", "empty"].map(mailbox);
    fill(&store, &c, 10..=12).await;
    claim(&store, &empty).await;
    let fence = claim(&store, &a).await.fence;
    drop(store.commit(&a, cursor(1, 1), fence));
    let claimed = claim(&store, &b).await;
    let letter = DeadLetter {
        mailbox: b.clone(),
        id: id(1, 1),
        code: RejectCode::FAILED,
        at: SystemTime::now(),
        payload: Payload::text("x"),
    };
    store.add_letter(letter, claimed.fence).await.unwrap();
    let listed = place.open().await.mailboxes(vec![]).await.unwrap();
    let mut expected = [a, b, c.clone()].map(MailboxStatus::new);
    expected[1].letters = 1;
    (expected[2].messages, expected[2].bytes) = (3, 6);
    let since = listed[2].since.unwrap();
    assert!(since.elapsed().unwrap() < Duration::from_secs(60), "{since:?}");
    expected[2].since = Some(since);
    assert_eq!(listed, expected);
    assert_eq!(store.mailboxes(vec![c.link]).await.unwrap(), expected[..2]);
}

#[tokio::test]
async fn a_purge_removes_all_of_a_mailbox_and_nothing_of_others() {
    let place = place!();
    let store = place.open().await;
    let (old, other) = (mailbox("sensor"), mailbox("other"));
    for mailbox in [&old, &other] {
        fill(&store, mailbox, 1..=2_500).await;
        let claimed = claim(&store, mailbox).await;
        accept(&store, mailbox, "x").await;
        for number in 1..=30 {
            drop(store.attempt(mailbox, id(9, number), claimed.fence));
        }
        drop(store.commit(mailbox, cursor(1, 1), claimed.fence));
        let letter = DeadLetter {
            mailbox: mailbox.clone(),
            id: id(1, 9),
            code: RejectCode::FAILED,
            at: SystemTime::now(),
            payload: Payload::text("x"),
        };
        store.add_letter(letter, claimed.fence).await.unwrap();
    }
    let bytes = (1..=2_500).map(|number: u64| number.to_string().len() as u64).sum::<u64>() + 1;
    let purged = store.purge(&old).await.unwrap();
    assert_eq!(purged, Purged { messages: 2_501, bytes, letters: 1 });
    assert_eq!(store.purge(&old).await.unwrap(), Purged::default());
    let listed = store.mailboxes(vec![]).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].messages, listed[0].bytes, listed[0].letters), (2_501, bytes, 1));
    let left = "SELECT (SELECT count(DISTINCT peer) FROM outbox), (SELECT count(DISTINCT peer) FROM attempt), \
                (SELECT count(*) FROM stream), (SELECT count(*) FROM cursor)";
    assert_eq!(place.sql(left), "1|1|2|1");
    // What is asked for later is stored as in a new mailbox, and earlier owners are none.
    let claimed = claim(&store, &old).await;
    assert!(claimed.streams.is_empty() && claimed.cursors.is_empty());
    store.purge(&old).await.unwrap();
    let stream = accept(&store, &old, "y").await.stream;
    assert!(is_stale(store.trim(&old, at(stream, 1), claimed.fence).await));
}
