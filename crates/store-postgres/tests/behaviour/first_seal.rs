//! Under what everything in new databases is sealed: whoever is the first decides.

use futures_util::future::join_all;
use paddington_exchange::store::LinkStore;
use paddington_store_postgres::{FirstSeal, PostgresConfig, PostgresStore, Seal, migrate};
use paddington_test_support::eventually;

use crate::support::{Place, accept, mailbox, place, two_databases};

const ONE: Seal = Seal::Key(1);
const OTHER: Seal = Seal::Key(2);

/// What the first database says of its seal.
fn said(place: &Place) -> String {
    place.sql(SAID)
}

/// What the second one says.
fn said_in_second(place: &Place) -> String {
    let sql = format!("SET search_path = {}; {SAID}", place.schema);
    place.server.sql_in(&place.schema, &sql)
}

const SAID: &str = "SELECT value FROM meta WHERE key = 'sealed'";

async fn refused(config: &PostgresConfig) -> String {
    PostgresStore::open(config).await.unwrap_err().to_string()
}

/// Why a replica that has no key yet makes none.
async fn makes_none(config: &PostgresConfig) -> String {
    FirstSeal::begin(config).await.unwrap_err().to_string()
}

#[tokio::test]
async fn the_first_store_over_a_new_database_says_how_everything_is_sealed() {
    for (first, others) in [(ONE, [OTHER, Seal::Plain]), (Seal::Plain, [ONE, OTHER])] {
        let place = place!();
        let config = |seal| place.config().with_seal(seal);
        let store = PostgresStore::open(&config(first)).await.unwrap();
        for other in others {
            let text = refused(&config(other)).await;
            assert!(text.contains(&format!("is {first}, and this replica has")), "{text}");
        }
        let text = makes_none(&place.config()).await;
        assert!(text.contains(&format!("is {first}, and this replica has no keyring")), "{text}");
        accept(&store, &mailbox("hub"), "it goes on").await;
        PostgresStore::open(&config(first)).await.unwrap();
    }
}

#[tokio::test]
async fn of_replicas_that_begin_at_once_and_seal_otherwise_one_is_the_first_in_each_database() {
    let place = place!();
    let config = place.config().with_databases(two_databases(&place));
    let seals = [Seal::Plain, ONE, OTHER];
    let configs = seals.map(|seal| config.clone().with_seal(seal));
    let opened = join_all(configs.iter().map(PostgresStore::open)).await;
    let firsts: Vec<_> = seals.iter().zip(&opened).filter(|(_, opened)| opened.is_ok()).collect();
    let [(first, _)] = &firsts[..] else { panic!("{opened:?}") };
    for refused in opened.iter().filter_map(|opened| opened.as_ref().err()) {
        let text = refused.to_string();
        assert!(text.contains(&format!("is {first}, and this replica has")), "{text}");
    }
    let number = match first {
        Seal::Plain => "0".to_owned(),
        Seal::Key(key) => key.to_string(),
    };
    assert_eq!([said(&place), said_in_second(&place)], [number.clone(), number]);
}

#[tokio::test]
async fn whoever_makes_the_first_key_is_not_overtaken() {
    let place = place!();
    let config = place.config().with_databases(two_databases(&place));
    let first = FirstSeal::begin(&config).await.unwrap().unwrap();
    let waiting = format!(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND NOT granted \
         AND (classid::bigint << 32 | objid::bigint) = hashtextextended('paddington:{}', 0)",
        place.schema
    );
    let others = [Seal::Plain, OTHER].map(|seal| config.clone().with_seal(seal));
    let overtake = async {
        tokio::join!(join_all(others.iter().map(PostgresStore::open)), FirstSeal::begin(&config))
    };
    let claim = async {
        eventually(|| async { place.sql(&waiting) == "3" }).await;
        assert_eq!([said(&place), said_in_second(&place)], ["", ""]);
        first.claim(1).await.unwrap();
    };
    let ((opened, begun), ()) = tokio::join!(overtake, claim);
    let errors = opened.into_iter().map(Result::unwrap_err).chain([begun.unwrap_err()]);
    for error in errors {
        let text = error.to_string();
        assert!(text.contains(&format!("is {ONE}, and this replica has")), "{text}");
    }
    assert_eq!([said(&place), said_in_second(&place)], ["1", "1"]);
    PostgresStore::open(&config.with_seal(ONE)).await.unwrap();
}

#[tokio::test]
async fn who_ends_before_the_first_key_is_made_has_said_nothing() {
    let place = place!();
    drop(FirstSeal::begin(&place.config()).await.unwrap().unwrap());
    let again = FirstSeal::begin(&place.config()).await.unwrap().unwrap();
    again.claim(2).await.unwrap();
    assert_eq!(said(&place), "2");
}

#[tokio::test]
async fn a_database_that_holds_something_and_does_not_say_how_it_is_sealed_stays_so() {
    let place = place!();
    let store = place.open().await;
    accept(&store, &mailbox("hub"), "before").await;
    store.close().await.unwrap();
    place.sql("DELETE FROM meta WHERE key = 'sealed'");
    assert!(FirstSeal::begin(&place.config()).await.unwrap().is_none());
    PostgresStore::open(&place.config().with_seal(ONE)).await.unwrap();
    assert_eq!(said(&place), "");
}

#[tokio::test]
async fn every_database_is_asked_before_anything_is_said_in_one() {
    let place = place!();
    let urls = two_databases(&place);
    let second = place.config().with_databases(vec![urls[1].clone()]).with_seal(OTHER);
    PostgresStore::open(&second).await.unwrap().close().await.unwrap();
    let config = place.config().with_databases(urls);
    for text in [refused(&config.clone().with_seal(ONE)).await, makes_none(&config).await] {
        assert!(text.contains(&format!("is {OTHER}, and this replica has")), "{text}");
    }
    assert_eq!([said(&place), said_in_second(&place)], ["", "2"]);
}

#[tokio::test]
async fn a_first_start_that_was_interrupted_between_two_databases_is_ended_by_the_same_key_alone() {
    let place = place!();
    let config = place.config().with_databases(two_databases(&place));
    migrate(&config).await.unwrap();
    PostgresStore::open(&place.config().with_seal(ONE)).await.unwrap().close().await.unwrap();
    for text in [refused(&config.clone().with_seal(OTHER)).await, makes_none(&config).await] {
        assert!(text.contains(&format!("is {ONE}, and this replica has")), "{text}");
    }
    assert_eq!(said_in_second(&place), "");
    PostgresStore::open(&config.with_seal(ONE)).await.unwrap();
    assert_eq!([said(&place), said_in_second(&place)], ["1", "1"]);
}
