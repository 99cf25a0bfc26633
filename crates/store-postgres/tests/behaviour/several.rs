//! Links spread over several databases.

use std::collections::BTreeSet;
use std::time::SystemTime;

use paddington_exchange::store::{
    DeadLetter, DeadLetters, Ending, LaneLeft, LinkStore, Mailbox, Mailboxes, Relay, Relayed,
    SharedStore, Signal, TakeOf,
};
use paddington_store_postgres::PostgresStore;
use paddington_wire::{LinkId, Payload, RejectCode};

use crate::support::{Place, accept, at, claim, claim_later, heard, id, place, submission};

/// A link whose database is number `bytes[7] % databases`.
fn of(byte: u8) -> Mailbox {
    let mut link = [0; LinkId::LEN];
    link[7] = byte;
    Mailbox { peer: format!("peer-{byte}").parse().unwrap(), link: link.into() }
}

/// Asks for all links, which the first store owns.
async fn requests_go_through_the_database_of_their_link(
    place: &Place,
    one: &PostgresStore,
    other: &PostgresStore,
) {
    let request = Relayed { payload: "?".into(), depth: 0, left: None };
    for byte in 0..6 {
        other.ask(&of(byte), u64::from(byte), request.clone()).await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*) FROM request"), "3");
    let some = one.take(TakeOf::Links(vec![of(0).link, of(1).link])).await.unwrap();
    assert_eq!(some.len(), 2);
    let rest = one.take(TakeOf::All).await.unwrap();
    assert_eq!(rest.len(), 4);
    for (id, _) in some.into_iter().chain(rest) {
        one.end(id, Ending::Full { requests: usize::from(id.link.as_bytes()[7]) }).await.unwrap();
    }
    let endings = other.endings((0..6).map(|byte| of(byte).link).collect()).await.unwrap();
    let mut of_links: Vec<_> = endings.into_iter().collect();
    of_links.sort_by_key(|(number, _)| *number);
    let expected = (0..6).map(|at| (at, Ending::Full { requests: at as usize }));
    assert_eq!(of_links, expected.collect::<Vec<_>>());
    let awaited = (0..7).map(|byte| (of(byte).link, u64::from(byte)));
    assert_eq!(other.look_after(awaited.collect()).await.unwrap().len(), 7);
    for byte in 0..6 {
        other.withdraw(of(byte).link, u64::from(byte)).await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*) FROM request"), "0");
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
    requests_go_through_the_database_of_their_link(&place, &one, &other).await;
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
