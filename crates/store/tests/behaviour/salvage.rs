//! A damaged store: what can be trusted is kept, nothing else, and a service goes on with it.

use std::fs;
use std::time::{Duration, SystemTime};

use paddington_exchange::store::{Backlog, Cursors, DeadLetter, DeadLetters, Outbox, StoredCursor};
use paddington_store::{OpenStoreError, SalvageError, SalvageReport, SqliteStore, salvage};
use paddington_wire::{Payload, RejectCode};

use crate::support::{self, FENCE, Place, close, commit, cursor, id, mailbox, message};

const PAGE: usize = 4_096;
const PEERS: [&str; 2] = ["hub", "other"];
/// Messages 1 to this one were acknowledged.
const TRIMMED: u64 = 15;
const LAST: u64 = 40;

/// The payload of a message, of any length.
fn payload(peer: &str, stream: u8, number: u64) -> Payload {
    let len = [3, 700, 200, 1_500, 9_000, 40, 480, 17_000][(number % 8) as usize];
    let text = format!("{peer} {stream} {number} ");
    support::payload(number, text.into_bytes().into_iter().cycle().take(len).collect::<Vec<u8>>())
}

fn letter(number: u64) -> DeadLetter {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let payload = payload("letter", 7, number);
    DeadLetter { mailbox: mailbox("hub"), id: id(7, number), code: RejectCode::FAILED, at, payload }
}

/// Fills a store with everything that one can hold.
async fn filled(place: &Place) -> SqliteStore {
    let store = place.open();
    for name in PEERS {
        let to = mailbox(name);
        for stream in [1, 2] {
            let append = |number| {
                store.append(
                    &to,
                    message(stream, number, payload(name, stream, number).into_bytes()),
                )
            };
            for answer in (1..=LAST).map(append).collect::<Vec<_>>() {
                answer.await.unwrap();
            }
        }
        store.trim(&to, id(1, TRIMMED), FENCE).await.unwrap();
        commit(&store, &to, cursor(9, 12)).await;
        store.attempt(&to, id(9, 14), FENCE).await.unwrap();
    }
    for number in 1..=5 {
        store.add_letter(letter(number), FENCE).await.unwrap();
    }
    store
}

/// Salvages and checks that what is kept is what was written, in order. Returns the report and the
/// number of lost messages, wherever they were.
async fn salvaged(place: &Place, what: &str) -> (SalvageReport, u64) {
    let report = salvage(place.path()).unwrap();
    assert!(report.damaged.exists(), "{what}");
    let store = SqliteStore::open(place.path()).unwrap();
    let mut kept = 0;
    for name in PEERS {
        let to = mailbox(name);
        let streams = store.streams(&to).await.unwrap();
        let (mut of_peer, mut between) = (0, 0);
        let mut order = Vec::new();
        for found in &streams {
            let stream = found.instance.as_bytes()[0];
            assert!(found.mark >= LAST, "{what}: any of it may have been transmitted");
            order.push(stream);
            let base = if stream == 1 { TRIMMED + 1 } else { 1 };
            assert!(found.base >= base, "{what}: {stream}/{} was removed", found.base);
            let mut numbers = found.base..;
            for described in &found.messages {
                let number = numbers.next().unwrap();
                assert!(number <= LAST, "{what}: {stream}/{number} was never written");
                let read = store.read(&to, id(stream, number), 1).await.unwrap().swap_remove(0);
                if described.ttl == Some(Duration::ZERO) {
                    between += 1;
                    assert_eq!(read, "", "{what}");
                } else {
                    of_peer += 1;
                    assert_eq!(described.ttl, None, "{what}");
                    assert_eq!(read, payload(name, stream, number), "{what}");
                }
            }
        }
        assert!(order.is_sorted() && order.len() <= 2, "{what}: {order:?}");
        let reported = report.mailboxes.get(&to).copied().unwrap_or_default();
        assert_eq!((reported.kept, reported.lost_between), (of_peer, between), "{what}");
        kept += of_peer;
        let cursors = store.cursors(&to).await.unwrap();
        // With its letters, a message is handled.
        let finished = StoredCursor { finished: vec![1, 2, 3, 4, 5], ..cursor(7, 0) };
        let known = |it: &StoredCursor| [cursor(9, 12), finished.clone()].contains(it);
        assert!(cursors.iter().all(known), "{what}: {cursors:?}");
    }
    let letters = store.letters().await.unwrap();
    assert_eq!(letters.len() as u64, report.letters, "{what}");
    for (id, found) in letters {
        assert_eq!(found, letter(id.0), "{what}");
    }
    // A new instance goes on.
    for name in PEERS {
        store.append(&mailbox(name), message(50, 1, "new")).await.unwrap();
    }
    close(store).await;
    let written = 2 * (2 * LAST - TRIMMED);
    (report, written - kept)
}

#[tokio::test]
async fn whichever_page_is_damaged_the_others_are_kept() {
    let place = Place::new();
    close(filled(&place).await).await;
    let whole = fs::read(place.path()).unwrap();
    let pages = whole.len() / PAGE;
    assert!(pages > 50, "{pages}");
    let messages = 2 * (2 * LAST - TRIMMED);
    let mut most_lost = 0;
    for page in 0..pages {
        let half = [&whole[page * PAGE..][..PAGE / 2], &noise(7)[PAGE / 2..]].concat();
        let mut random = noise(page as u64);
        if page % 4 == 2 {
            // It looks like a page of a tree.
            random[0] = [2, 5, 10, 13][page / 4 % 4];
        }
        let other = if page % 2 == 0 { ("random", random) } else { ("half", half) };
        for (how, damage) in [("zeroed", vec![0; PAGE]), other] {
            let place = Place::in_memory();
            let mut bytes = whole.clone();
            bytes[page * PAGE..][..PAGE].copy_from_slice(&damage);
            fs::write(place.path(), &bytes).unwrap();
            let what = format!("page {} of {pages}, {how}", page + 1);
            let (report, lost) = salvaged(&place, &what).await;
            assert_eq!(fs::read(&report.damaged).unwrap(), bytes, "{what}");
            // A page holds a few dozen messages at most.
            assert!(lost <= messages / 4, "{what}: {lost} messages are lost, {report:?}");
            most_lost = lost.max(most_lost);
        }
    }
    println!("{pages} pages, at most {most_lost} of {messages} messages lost");
    assert!(most_lost > 0);
}

#[tokio::test]
async fn a_store_that_is_whole_is_kept_as_a_whole() {
    let place = Place::new();
    let store = filled(&place).await;
    assert!(matches!(salvage(place.path()), Err(SalvageError::Refused(OpenStoreError::InUse(_)))));
    // As after a kill: most of it is in the log.
    let copy = Place::new();
    for end in ["", "-wal"] {
        let name = |place: &Place| format!("{}{end}", place.path().display());
        fs::copy(name(&place), name(&copy)).unwrap();
    }
    close(store).await;
    for place in [place, copy] {
        let (report, lost) = salvaged(&place, "whole").await;
        assert_eq!((lost, report.cursors, report.letters), (0, 3, 5));
        assert_eq!((report.unreadable_pages, report.damaged_rows), (0, 0));
    }
}

#[tokio::test]
async fn a_log_that_is_damaged_is_kept_up_to_there() {
    let place = Place::new();
    let store = place.open();
    let hub = mailbox("hub");
    for number in 1..=40 {
        store
            .append(&hub, message(2, number, payload("hub", 2, number).into_bytes()))
            .await
            .unwrap();
    }
    let copy = Place::new();
    let name = |place: &Place, end| format!("{}{end}", place.path().display());
    fs::copy(name(&place, ""), name(&copy, "")).unwrap();
    let mut log = fs::read(name(&place, "-wal")).unwrap();
    let half = log.len() / 2;
    log[half] ^= 1;
    fs::write(name(&copy, "-wal"), &log).unwrap();
    close(store).await;
    let (report, _) = salvaged(&copy, "log").await;
    assert!((10..40).contains(&report.kept()), "{report:?}");
    assert!(fs::read(format!("{}-wal", report.damaged.display())).unwrap() == log);
}

#[tokio::test]
async fn what_is_no_store_or_lost_is_left_as_it_is() {
    let place = Place::new();
    assert!(matches!(salvage(place.path()), Err(SalvageError::NoFile(_))));
    fs::write(place.path(), noise(1)).unwrap();
    assert!(matches!(salvage(place.path()), Err(SalvageError::Nothing(_))));
    assert_eq!(fs::read(place.path()).unwrap(), noise(1));
    fs::remove_file(place.path()).unwrap();
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("CREATE TABLE mine(x)").unwrap();
    drop(other);
    assert!(matches!(
        salvage(place.path()),
        Err(SalvageError::Refused(OpenStoreError::NotAStore(_)))
    ));
    assert_eq!(fs::read_dir(place.path().parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_store_of_another_format_is_left_as_it_is() {
    let place = Place::new();
    close(filled(&place).await).await;
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("UPDATE meta SET value = 1 WHERE key = 'format'").unwrap();
    drop(other);
    let refused = salvage(place.path());
    let format = OpenStoreError::Format { path: place.path().to_owned(), found: 1, known: 4 };
    assert_eq!(refused.unwrap_err().to_string(), format.to_string());
    assert_eq!(fs::read_dir(place.path().parent().unwrap()).unwrap().count(), 2, "and its reserve");
}

#[tokio::test]
async fn another_file_with_the_name_of_the_new_one_is_left_alone() {
    let place = Place::new();
    close(filled(&place).await).await;
    let new = format!("{}-salvaged", place.path().display());
    fs::write(&new, "my notes").unwrap();
    let refused = salvage(place.path()).unwrap_err();
    assert!(matches!(refused, SalvageError::Unwritable { .. }), "{refused}");
    assert_eq!(fs::read(&new).unwrap(), b"my notes");
}

#[tokio::test]
async fn another_file_with_the_name_of_the_log_is_left_alone() {
    let place = Place::new();
    close(filled(&place).await).await;
    let log = format!("{}-wal", place.path().display());
    fs::write(&log, "my notes").unwrap();
    let refused = salvage(place.path()).unwrap_err();
    assert!(matches!(refused, SalvageError::Refused(OpenStoreError::NotALog(_))), "{refused}");
    assert_eq!(fs::read(&log).unwrap(), b"my notes");
    assert_eq!(fs::read_dir(place.path().parent().unwrap()).unwrap().count(), 3);
}

#[tokio::test]
async fn an_error_says_that_all_names_for_the_damaged_file_are_taken() {
    let place = Place::in_memory();
    close(filled(&place).await).await;
    let taken = format!("{}-damaged", place.path().display());
    fs::write(&taken, "").unwrap();
    for number in 2..=1_000 {
        fs::write(format!("{taken}-{number}"), "").unwrap();
    }
    let error = salvage(place.path()).unwrap_err();
    assert!(matches!(&error, SalvageError::NoName(name) if name.display().to_string() == taken));
    assert!(error.to_string().contains("-damaged-1000 are taken"), "{error}");
    fs::remove_file(format!("{taken}-1000")).unwrap();
    assert!(salvage(place.path()).unwrap().damaged.ends_with("store-damaged-1000"));
}

#[tokio::test]
async fn a_log_that_claims_too_many_pages_is_read_all_the_same() {
    let place = Place::new();
    close(filled(&place).await).await;
    let mut bytes = fs::read(place.path()).unwrap();
    bytes[..PAGE].fill(0);
    fs::write(place.path(), &bytes).unwrap();
    fs::write(format!("{}-wal", place.path().display()), log_of(3, &bytes[2 * PAGE..][..PAGE]))
        .unwrap();
    let (_, lost) = salvaged(&place, "claim").await;
    assert_eq!(lost, 0);
}

/// A log of one page that says that there are as many as can be.
fn log_of(page: u32, content: &[u8]) -> Vec<u8> {
    let sum = |mut at: (u32, u32), bytes: &[u8]| {
        for pair in bytes.chunks(8) {
            let word = |at: usize| u32::from_be_bytes(pair[at..at + 4].try_into().unwrap());
            at.0 = at.0.wrapping_add(word(0)).wrapping_add(at.1);
            at.1 = at.1.wrapping_add(word(4)).wrapping_add(at.0);
        }
        at
    };
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let mut log = words(&[0x377f_0683, 3_007_000, PAGE as u32, 0, 1, 2]);
    let after_header = sum((0, 0), &log);
    log.extend(words(&[after_header.0, after_header.1]));
    let head = words(&[page, u32::MAX]);
    let after = sum(sum(after_header, &head), content);
    [log, head, words(&[1, 2, after.0, after.1]), content.to_vec()].concat()
}

#[tokio::test]
async fn an_error_about_damage_names_the_way_out() {
    let place = Place::new();
    close(filled(&place).await).await;
    let mut bytes = fs::read(place.path()).unwrap();
    bytes[PAGE..2 * PAGE].fill(0);
    fs::write(place.path(), bytes).unwrap();
    let store = place.open();
    let failure = store.streams(&mailbox("hub")).await.unwrap_err().to_string();
    assert!(failure.contains("ptrmap") && failure.contains("salvage"), "{failure}");
    close(store).await;
    let (report, lost) = salvaged(&place, "ptrmap").await;
    assert_eq!((lost, report.unreadable_pages), (0, 0), "{report:?}");
}

/// Bytes that look like nothing.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..PAGE).map(|_| next()).collect()
}
