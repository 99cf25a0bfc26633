//! A store whose payloads are written anew holds the same, in other words.

use std::fs;
use std::time::{Duration, SystemTime};

use paddington_exchange::store::{Backlog, DeadLetter, DeadLetters, Mailboxes, NewMessage, Outbox};
use paddington_store::{
    KeptAt, LockedStore, OpenStoreError, RewriteError, SqliteStore, rewrite, salvage, sealed_under,
};
use paddington_wire::{Payload, RejectCode};

use crate::support::{
    FENCE, Place, close, commit, cursor, fill, id, mailbox, message, payload, stored,
};

const WORD: &str = "a word that is not to be found";

/// Seals in its own way: longer, and without a word of the text.
fn hide(_: Option<u64>, at: KeptAt, payload: &Payload) -> Result<Payload, &'static str> {
    let mut hidden = vec![u8::from(payload.is_bytes()), u8::from(at.is_letter)];
    hidden.extend([0x55; 38]);
    hidden.extend(payload.iter().map(|byte| byte ^ 0xa5));
    Ok(Payload::bytes(hidden))
}

fn show(_: Option<u64>, at: KeptAt, payload: &Payload) -> Result<Payload, &'static str> {
    assert_eq!(payload[1], u8::from(at.is_letter));
    let bytes: Vec<u8> = payload[40..].iter().map(|byte| byte ^ 0xa5).collect();
    Ok(if payload[0] == 1 { Payload::bytes(bytes) } else { Payload::text(bytes) })
}

/// A store with messages of many lengths in two mailboxes, a letter and a cursor.
async fn filled(place: &Place) -> Vec<Payload> {
    let (store, hub) = (place.open(), mailbox("hub"));
    let mut kept = Vec::new();
    for number in 1..=60 {
        let len = usize::try_from(number).unwrap().pow(2) * 9;
        let text = WORD.repeat(len / WORD.len() + 1);
        let mut new = message(1, number, text);
        new.ttl = (number == 3).then_some(Duration::from_secs(3600));
        kept.push(new.payload.clone());
        store.append(&hub, new).await.unwrap();
    }
    fill(&store, &hub, 2, 1..=20).await;
    fill(&store, &mailbox("other"), 7, 5..=9).await;
    commit(&store, &hub, cursor(4, 17)).await;
    let letter = DeadLetter {
        mailbox: hub.clone(),
        id: id(4, 17),
        code: RejectCode(3),
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
        payload: payload(17, WORD),
    };
    store.add_letter(letter, FENCE).await.unwrap();
    close(store).await;
    kept
}

async fn check(store: &SqliteStore, kept: &[Payload]) {
    let hub = mailbox("hub");
    let streams = store.streams(&hub).await.unwrap();
    assert_eq!(streams[0].messages.len(), 60);
    for (at, message) in streams[0].messages.iter().enumerate() {
        assert_eq!(message.ttl.is_some(), at == 2);
        assert_eq!(message.len as usize, kept[at].len());
    }
    for (at, payload) in kept.iter().enumerate() {
        let read = store.read(&hub, id(1, at as u64 + 1), 1).await.unwrap();
        assert_eq!(read, std::slice::from_ref(payload));
    }
    assert_eq!(
        stored(store, &mailbox("other")).await,
        (5..=9).map(|at| (7, at)).collect::<Vec<_>>()
    );
    let letters = store.letters().await.unwrap();
    assert_eq!((letters.len(), &*letters[0].1.payload), (1, WORD.as_bytes()));
    let waiting = store.mailboxes(Vec::new()).await.unwrap();
    assert_eq!(waiting.iter().map(|it| it.messages).collect::<Vec<_>>(), [80, 5]);
}

fn locked(place: &Place) -> LockedStore {
    LockedStore::open(place.path()).unwrap()
}

fn holds_the_word(place: &Place) -> bool {
    let files = fs::read_dir(place.path().parent().unwrap()).unwrap();
    let mut files = files.map(|file| fs::read(file.unwrap().path()).unwrap());
    files.any(|file| file.windows(WORD.len()).any(|it| it == WORD.as_bytes()))
}

#[tokio::test]
async fn nothing_of_the_old_words_is_left_and_everything_comes_back() {
    let place = Place::new();
    let kept = filled(&place).await;
    assert!(holds_the_word(&place));
    assert_eq!(rewrite(locked(&place), Some(7), hide).unwrap(), 60 + 20 + 5 + 1);
    assert!(!holds_the_word(&place));
    assert_eq!(sealed_under(place.path()).unwrap(), Some(7));
    let no_change =
        |_, _, _: &Payload| -> Result<Payload, &'static str> { panic!("nothing is to change") };
    assert_eq!(rewrite(locked(&place), Some(7), no_change).unwrap(), 0);

    // Who has the key goes on with what is there.
    let store = SqliteStore::open_sealed(place.path(), &[9, 7]).unwrap();
    assert_eq!(store.key(), Some(7));
    assert_eq!(store.streams(&mailbox("hub")).await.unwrap()[0].messages.len(), 60);
    let hub = mailbox("hub");
    let later = NewMessage {
        payload: hide(
            None,
            KeptAt { link: hub.link, id: id(2, 21), is_letter: false },
            &"x".into(),
        )
        .unwrap(),
        ..message(2, 21, "")
    };
    store.append(&hub, later).await.unwrap();
    assert_eq!(store.read(&hub, id(2, 21), 1).await.unwrap()[0].len(), 41);
    store.trim(&hub, id(2, 21), crate::support::FENCE).await.unwrap();
    close(store).await;

    assert_eq!(rewrite(locked(&place), None, show).unwrap(), 60 + 5 + 1);
    let store = place.open();
    let streams = store.streams(&hub).await.unwrap();
    assert_eq!(streams.len(), 1, "{streams:?}");
    fill(&store, &hub, 3, 1..=20).await;
    check(&store, &kept).await;
}

#[tokio::test]
async fn without_its_key_it_is_refused_and_left_as_it_is() {
    let place = Place::new();
    filled(&place).await;
    let plain = SqliteStore::open_sealed(place.path(), &[7]).unwrap_err();
    assert!(matches!(plain, OpenStoreError::NotSealed(_)), "{plain}");
    rewrite(locked(&place), Some(7), hide).unwrap();
    let before = fs::read(place.path()).unwrap();
    let no_key = SqliteStore::open(place.path()).unwrap_err();
    assert!(matches!(no_key, OpenStoreError::Sealed { key: 7, .. }), "{no_key}");
    let other = SqliteStore::open_sealed(place.path(), &[8]).unwrap_err();
    assert!(matches!(other, OpenStoreError::OtherKey { key: 7, .. }), "{other}");
    assert!(fs::read(place.path()).unwrap() == before);
    // A new one is for the newest key.
    let new = Place::new();
    drop(SqliteStore::open_sealed(new.path(), &[7, u64::MAX]).unwrap());
    let found = crate::support::open_again(&new, &[u64::MAX]).await;
    assert_eq!(found.key(), Some(u64::MAX));
}

#[tokio::test]
async fn a_change_that_fails_changes_nothing() {
    let place = Place::new();
    let kept = filled(&place).await;
    let mut count = 0;
    let fails = |key, at, payload: &Payload| {
        count += 1;
        if count == 70 { Err("it is not to be") } else { hide(key, at, payload) }
    };
    let failed = rewrite(locked(&place), Some(7), fails).unwrap_err();
    assert!(matches!(failed, RewriteError::Failed { .. }), "{failed}");
    assert!(failed.to_string().contains("it is not to be"), "{failed}");
    check(&place.open(), &kept).await;
}

#[tokio::test]
async fn one_that_is_in_use_is_left_alone() {
    let place = Place::new();
    let store = place.open();
    fill(&store, &mailbox("hub"), 1, 1..=3).await;
    let refused = LockedStore::open(place.path()).unwrap_err();
    assert!(matches!(refused, OpenStoreError::InUse(_)), "{refused}");
    assert_eq!(sealed_under(place.path()).unwrap(), None, "that can be read");
}

#[tokio::test]
async fn what_is_salvaged_is_still_sealed() {
    let place = Place::new();
    filled(&place).await;
    rewrite(locked(&place), Some(7), hide).unwrap();
    let report = salvage(place.path()).unwrap();
    assert_eq!((report.kept(), report.letters), (85, 1));
    assert!(SqliteStore::open(place.path()).is_err());
    let store = SqliteStore::open_sealed(place.path(), &[7]).unwrap();
    assert_eq!(store.streams(&mailbox("hub")).await.unwrap().len(), 2);
}
