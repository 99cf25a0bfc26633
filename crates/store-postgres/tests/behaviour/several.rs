//! Links spread over several databases.

use std::collections::BTreeSet;
use std::time::SystemTime;

use paddington_exchange::store::{
    DeadLetter, DeadLetters, LaneLeft, LinkStore, Mailbox, Mailboxes, SharedStore, Signal,
};
use paddington_store_postgres::PostgresStore;
use paddington_wire::{LinkId, Payload, RejectCode};

use crate::support::{accept, at, claim, claim_later, heard, id, place, submission};

/// A link whose database is number `bytes[7] % databases`.
fn of(byte: u8) -> Mailbox {
    let mut link = [0; LinkId::LEN];
    link[7] = byte;
    Mailbox { peer: format!("peer-{byte}").parse().unwrap(), link: link.into() }
}

#[tokio::test]
async fn each_link_has_its_database_and_a_replica_one_number() {
    let place = place!();
    place.server.sql(&format!("CREATE DATABASE {}", place.schema));
    let second = place.server.url().replace("/postgres?", &format!("/{}?", place.schema));
    let urls = vec![place.server.url(), second];
    let config = place.config().with_databases(urls.clone());
    let one = PostgresStore::open(&config).await.unwrap();
    let other = PostgresStore::open(&config).await.unwrap();
    let mut signals = one.signals();
    let mut held = Vec::new();
    for byte in 0..6 {
        let claimed = claim(&one, &of(byte)).await;
        assert_eq!(accept(&other, &of(byte), "x").await, at(claimed.stream, 1));
        let wanted = Signal::Appended { link: of(byte).link, stream: claimed.stream, number: 1 };
        heard(&mut signals, |signal| *signal == wanted).await;
        let letter = DeadLetter {
            mailbox: of(byte),
            id: id(1, 1),
            code: RejectCode::FAILED,
            at: SystemTime::now(),
            payload: Payload::text("x"),
        };
        one.add_letter(letter).await.unwrap();
        held.push((of(byte), claimed.fence, LaneLeft::Free));
    }
    assert_eq!(place.sql("SELECT count(*) FROM link"), "3");
    assert_eq!(other.mailboxes(vec![of(0).link]).await.unwrap().len(), 5);
    let letters = other.letters().await.unwrap();
    let ids: BTreeSet<_> = letters.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 6);
    for (id, letter) in letters {
        assert_eq!(other.take_letter(id).await.unwrap(), Some(letter));
    }
    assert_eq!(one.owned().await.unwrap().len(), 6);
    assert!(!one.lease().is_zero());
    one.release(held).await.unwrap();
    assert_eq!(one.owned().await.unwrap(), []);
    other.tell(one.replica(), Signal::LaneFree { link: of(1).link });
    heard(&mut signals, |signal| *signal == Signal::LaneFree { link: of(1).link }).await;
    one.close().await.unwrap();
    one.accept(&of(1), submission(1, "x")).await.unwrap_err();
    claim_later(&other, &of(1)).await;

    let turned = config.with_databases(urls.into_iter().rev().collect());
    let error = PostgresStore::open(&turned).await.unwrap_err().to_string();
    assert!(error.contains("keep the list as it was"), "{error}");
}
