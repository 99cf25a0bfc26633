//! Everything in a database, sealed anew while no replica runs.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use paddington_exchange::store::{
    DeadLetter, DeadLetters, Directory, LinkEntry, LinkStore, Mailboxes, Relay, Relayed,
    SharedStore,
};
use paddington_store_postgres::{
    Conversion, Convert, ConvertError, Converted, FirstSeal, PostgresStore, Seal,
};
use paddington_wire::{LinkId, MessageId, Payload, PeerName, RejectCode};
use zeroize::Zeroizing;

use crate::support::{
    Place, accept, accepts_again, claim, fill, id, instance, mailbox, payload, place, texts,
};

const NEW: Seal = Seal::Key(0xfedc_ba98_7654_3210);

/// Puts a word before everything that does not have it, and refuses everything that has.
pub(crate) struct Prefix {
    word: &'static str,
    seen: Mutex<Vec<String>>,
}

impl Prefix {
    pub(crate) fn new(word: &'static str) -> Self {
        Self { word, seen: Mutex::default() }
    }

    fn before(&self, what: String, text: &str) -> Result<String, String> {
        self.seen.lock().unwrap().push(what);
        let is_there = !self.word.is_empty() && text.starts_with(self.word);
        if is_there {
            return Err("it is there already".to_owned());
        }
        Ok(self.word.to_owned() + text)
    }

    fn payload(&self, what: String, old: &Payload) -> Result<Payload, String> {
        let text = self.before(what, &String::from_utf8_lossy(old))?;
        Ok(if old.is_bytes() { Payload::bytes(text) } else { Payload::text(text) })
    }
}

impl Convert for Prefix {
    fn link(&self, peer: &PeerName, text: &str) -> Result<Zeroizing<String>, String> {
        self.before(format!("link {peer}"), text).map(Zeroizing::new)
    }

    fn message(&self, link: LinkId, payload: &Payload) -> Result<Payload, String> {
        self.payload(format!("message {link}"), payload)
    }

    fn letter(&self, link: LinkId, id: MessageId, payload: &Payload) -> Result<Payload, String> {
        self.payload(format!("letter {link} {id}"), payload)
    }
}

/// Opens the databases for a conversion, once the sessions of replicas have ended.
async fn begin(place: &Place) -> Conversion {
    Conversion::begin(&place.config()).await.unwrap()
}

/// Leaves messages, a link, a dead letter and a request, and ends.
async fn leave(place: &Place, messages: u64) {
    let (store, hub) = (place.open().await, mailbox("hub"));
    let owned = claim(&store, &hub).await;
    fill(&store, &hub, 1..=messages).await;
    let text = Some(Zeroizing::new("state".to_owned()));
    let entry = LinkEntry { link: hub.link, peer: hub.peer.clone(), version: 0, text };
    store.write(vec![entry]).await.unwrap();
    let letter = DeadLetter {
        mailbox: hub.clone(),
        id: id(7, 3),
        code: RejectCode::FAILED,
        at: SystemTime::UNIX_EPOCH,
        payload: Payload::text("letter"),
    };
    store.add_letter(letter, owned.fence).await.unwrap();
    let request = Relayed { payload: payload(1, "request"), depth: 0, left: None };
    store.ask(&hub, 1, request).await.unwrap();
    store.close().await.unwrap();
}

/// Why a replica is refused, which has no key yet if there is no seal.
async fn refused(place: &Place, seal: Option<Seal>) -> String {
    let config = place.config();
    let refused = match seal {
        Some(seal) => PostgresStore::open(&config.with_seal(seal)).await.unwrap_err(),
        None => FirstSeal::begin(&config).await.unwrap_err(),
    };
    refused.to_string()
}

fn seals(conversion: &Conversion) -> Vec<Seal> {
    conversion.seals().collect()
}

/// Returns the texts of all messages, which are bytes.
fn stored(place: &Place) -> Vec<String> {
    let sql = "SELECT convert_from(body, 'UTF8') FROM outbox ORDER BY peer, ord, seq";
    place.sql(sql).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn everything_is_converted_once_and_read_by_replicas_that_seal_like_that() {
    let place = place!();
    leave(&place, 3).await;
    let hub = mailbox("hub");
    let mut conversion = begin(&place).await;
    assert_eq!((seals(&conversion), conversion.interrupted()), (vec![Seal::Plain], None));
    assert_eq!(**conversion.any_link().await.unwrap().unwrap(), *"state");
    let new = Prefix::new("new ");
    conversion.look(&Prefix::new("")).await.unwrap();
    assert_eq!(stored(&place), ["1", "2", "3"], "it was only looked at");
    let converted = conversion.convert(NEW, false, &new).await.unwrap();
    assert_eq!(converted, Converted { links: 1, payloads: 4 });
    let link = hub.link;
    let letter = format!("letter {link} {}", id(7, 3));
    let seen = new.seen.lock().unwrap().clone();
    let message = format!("message {link}");
    assert_eq!(seen, [&*format!("link {}", hub.peer), &letter, &message, &message, &message]);
    assert!(refused(&place, Some(NEW)).await.contains("is being sealed anew"));
    conversion.finish(NEW).await.unwrap();
    assert!(refused(&place, Some(NEW)).await.contains("is being sealed anew"), "it is held");
    conversion.close().await;

    // Neither without a key, nor with another one, nor with one that is still to be made.
    for (seal, expected) in [
        (Some(Seal::Plain), "this replica has no key"),
        (Some(Seal::Key(1)), "this replica has the key 0000000000000001: copy the keyring"),
        (None, "this replica has no keyring yet"),
    ] {
        let text = refused(&place, seal).await;
        assert!(text.contains("sealed under the key fedcba9876543210"), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let config = place.config().with_seal(NEW);
    let store = PostgresStore::open(&config).await.unwrap();
    // Requests belong to replicas that have ended.
    assert_eq!(place.sql("SELECT count(*) FROM request"), "0");
    let entries = store.entries(0).await.unwrap();
    assert_eq!(**entries[0].text.as_ref().unwrap(), *"new state");
    let letters = store.letters().await.unwrap();
    assert_eq!(letters[0].1.payload, "new letter");
    let owned = claim(&store, &hub).await;
    let first = owned.streams[0].instance;
    assert_eq!(texts(&store, &hub, first, 1).await, ["new 1", "new 2", "new 3"]);
    // What waits is counted as it is now.
    let status = &store.mailboxes(vec![]).await.unwrap()[0];
    assert_eq!((status.messages, status.bytes), (3, 15));
    store.close().await.unwrap();

    // Not sealed any more.
    let mut conversion = begin(&place).await;
    assert_eq!(seals(&conversion), [NEW]);
    conversion.convert(Seal::Plain, false, &Prefix::new("old ")).await.unwrap();
    conversion.finish(Seal::Plain).await.unwrap();
    conversion.close().await;
    assert!(refused(&place, Some(NEW)).await.contains("not sealed, and this replica has the key"));
    let store = place.open().await;
    assert_eq!(texts(&store, &hub, first, 1).await, ["old new 1", "old new 2", "old new 3"]);
    store.close().await.unwrap();
}

/// As many messages as need several transactions.
const MANY: u64 = 2_500;

#[tokio::test]
async fn a_conversion_that_fails_in_the_middle_goes_on_where_it_was() {
    let place = place!();
    leave(&place, MANY).await;
    place.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as if'; END $$; \
         CREATE TRIGGER fail BEFORE UPDATE ON outbox FOR EACH ROW WHEN (NEW.seq > 2000) EXECUTE FUNCTION fail()",
    );
    let mut conversion = begin(&place).await;
    let failed = conversion.convert(NEW, true, &Prefix::new("new ")).await.unwrap_err();
    assert!(failed.to_string().contains("as if"), "{failed}");
    drop(conversion);
    let converted = || stored(&place).iter().filter(|text| text.starts_with("new ")).count();
    assert_eq!(converted(), 1_024, "the first transaction was committed, and nothing else");
    // Nobody starts, with whichever key, though nobody converts.
    begin(&place).await.close().await;
    for seal in [Some(Seal::Plain), Some(NEW), None] {
        assert!(refused(&place, seal).await.contains("or that was interrupted"));
    }
    let mut again = begin(&place).await;
    assert_eq!(again.interrupted(), Some((NEW, true)));

    place.sql("DROP TRIGGER fail ON outbox");
    let done = again.convert(NEW, true, &Prefix::new("new ")).await.unwrap();
    assert_eq!(done, Converted { links: 0, payloads: MANY - 1_024 }, "nothing is done twice");
    again.finish(NEW).await.unwrap();
    again.close().await;
    let expected: Vec<_> = (1..=MANY).map(|number| format!("new {number}")).collect();
    assert_eq!(stored(&place), expected);
    let sums = "SELECT l.bytes = sum(octet_length(o.body)) FROM link l JOIN outbox o USING (peer) GROUP BY l.peer";
    assert_eq!(place.sql(sums), "t");
}

#[tokio::test]
async fn something_that_cannot_be_converted_is_named() {
    let place = place!();
    leave(&place, 2).await;
    place.sql("UPDATE outbox SET crc = crc + 1 WHERE seq = 2");
    let conversion = begin(&place).await;
    let failed = conversion.look(&Prefix::new("")).await.unwrap_err().to_string();
    assert!(failed.contains("a message of the link with hub in the database at"), "{failed}");
    assert!(failed.contains("checksum"), "{failed}");
    place.sql("UPDATE outbox SET crc = crc - 1 WHERE seq = 2");
    let failed = conversion.look(&Prefix::new("2")).await.unwrap_err().to_string();
    assert!(failed.contains("the message 2 for hub in the database at"), "{failed}");
    assert!(failed.ends_with("it is there already"), "{failed}");
    conversion.close().await;
    place.open().await.close().await.unwrap();
}

#[tokio::test]
async fn a_replica_that_runs_is_named_and_left_alone() {
    let place = place!();
    let store = place.open().await;
    let refused = Conversion::begin(&place.config()).await.unwrap_err();
    let ConvertError::InUse { replicas, sessions, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(*replicas, [store.replica().0]);
    assert!(!sessions.is_empty());
    let words = format!("by the replicas {} (sessions ", store.replica());
    assert!(refused.to_string().contains(&words), "{refused}");
    accept(&store, &mailbox("hub"), "still here").await;
    store.close().await.unwrap();
    begin(&place).await.close().await;
}

#[tokio::test]
async fn a_database_that_is_missing_in_the_list_is_noticed() {
    let place = place!();
    place.open().await.close().await.unwrap();
    let twice = vec![place.server.url(), place.server.url()];
    let refused = Conversion::begin(&place.config().with_databases(twice)).await.unwrap_err();
    assert!(refused.to_string().contains("keep the list as it was"), "{refused}");
    // A schema without tables holds nothing.
    let empty = place!();
    let mut conversion = begin(&empty).await;
    assert_eq!(conversion.any_link().await.unwrap(), None);
    let nothing = conversion.convert(NEW, false, &Prefix::new("x")).await.unwrap();
    assert_eq!(nothing, Converted::default());
    conversion.finish(NEW).await.unwrap();
    conversion.close().await;
}

/// A replica that was cut off, and comes back after everything was sealed under another key, would write what
/// nobody can open.
#[tokio::test]
async fn a_replica_that_was_cut_off_meanwhile_writes_nothing_any_more() {
    let place = place!();
    let (store, hub) = (place.open_with(Duration::from_secs(60)).await, mailbox("hub"));
    accept(&store, &hub, "before").await;
    // As if its session lock was lost, and not yet its other connections. It does not beat soon.
    place.sql("DELETE FROM replica");
    let key = format!("hashtextextended('paddington:{}:use', 0)", place.schema);
    let holds = format!(
        "locktype = 'advisory' AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = {key}"
    );
    let cut = async {
        let waits = format!("SELECT count(*) FROM pg_locks WHERE {holds} AND NOT granted");
        while place.sql(&waits) == "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // It cannot come back before whoever waits has ended.
        place.terminate(&format!("pid IN (SELECT pid FROM pg_locks WHERE {holds} AND granted)"));
    };
    let config = place.config();
    let (conversion, ()) = tokio::join!(Conversion::begin(&config), cut);
    let mut conversion = conversion.unwrap();
    conversion.convert(NEW, false, &Prefix::new("new ")).await.unwrap();
    conversion.finish(NEW).await.unwrap();
    conversion.close().await;

    let told = async || {
        let failure = store.health().failure.map(|failure| failure.to_string());
        failure.is_some_and(|text| text.contains("was sealed anew since this replica was started"))
    };
    paddington_test_support::eventually(told).await;
    store.accept(&hub, crate::support::submission(1, "after")).await.unwrap_err();
    let entry = LinkEntry { link: hub.link, peer: hub.peer.clone(), version: 0, text: None };
    store.write(vec![entry]).await.unwrap_err();
    let request = Relayed { payload: payload(1, "request"), depth: 0, left: None };
    store.ask(&hub, 1, request).await.unwrap_err();
    assert_eq!(stored(&place), ["new before"]);
    assert_eq!(place.sql("SELECT count(*) FROM directory"), "0");
    // Others go on.
    let other = PostgresStore::open(&place.config().with_seal(NEW)).await.unwrap();
    let stream = claim(&other, &hub).await.streams[0].instance;
    assert_ne!(stream, instance(0));
    assert_eq!(texts(&other, &hub, stream, 1).await, ["new before"]);
    accepts_again(&other).await;
    other.close().await.unwrap();
}
