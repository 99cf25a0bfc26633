//! Flips one bit anywhere in the files of a store.

use std::fmt;

use paddington_exchange::store::LinkStore;
use paddington_models::random::Random;
use paddington_store::SqliteStore;

use crate::disk::{Image, read_image, write_image};
use crate::facts::{Facts, PEERS, payload, peer, stream};
use crate::power_cuts::memory_folder;

/// The result of some flips.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Number of bits that were flipped, one at a time.
    pub flips: u64,
    /// Flips after which nothing was noticed and nothing was missing.
    pub harmless: u64,
    /// Flips after which the store refused to start.
    pub refused: u64,
    /// Flips after which it started with a wrong payload.
    pub wrong: u64,
    /// Flips after which it started and something was missing: where, and how much.
    pub lost: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flips, harmless, refused, wrong, lost } = self;
        write!(
            f,
            "{flips} flips: {wrong} wrong payloads, {refused} refused starts, {harmless} harmless, \
             {} silent losses",
            lost.len()
        )?;
        lost.iter().try_for_each(|lost| write!(f, "\n  {lost}"))
    }
}

/// Flips bits in copies of two stores: one that was closed, and one whose process was killed, so
/// that half of it is in the log.
#[must_use]
pub fn run(seed: u64, flips: u64) -> Report {
    let mut random = Random::new(seed);
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stores = runtime.block_on(async { [filled(true).await, filled(false).await] });
    for at in 0..flips {
        let (image, facts) = &stores[(at % 2) as usize];
        runtime.block_on(flip(image, facts, &mut random, &mut report));
    }
    report
}

async fn flip(image: &Image, facts: &Facts, random: &mut Random, report: &mut Report) {
    let mut image = image.clone();
    let len: usize = image.values().map(Vec::len).sum();
    let mut at = random.below(len);
    let mut place = String::new();
    for (name, bytes) in &mut image {
        if at < bytes.len() {
            bytes[at] ^= 1 << random.below(8);
            place = format!("byte {at} of {} of {name}", bytes.len());
            break;
        }
        at -= bytes.len();
    }
    let folder = memory_folder();
    write_image(&image, folder.path());
    let findings = facts.check(&folder.path().join("store")).await;
    report.flips += 1;
    report.wrong += u64::from(findings.wrong > 0);
    if findings.refused.is_some() {
        report.refused += 1;
    } else if findings.is_good() {
        report.harmless += 1;
    } else {
        report.lost.push(format!("{place}: {findings:?}"));
    }
}

/// Number of messages of each peer.
const MESSAGES: u64 = 700;

/// The files of a store with messages and cursors, and what it has answered.
async fn filled(close: bool) -> (Image, Facts) {
    let folder = memory_folder();
    let path = folder.path().join("store");
    let mut facts = Facts::default();
    let store = SqliteStore::open(&path).unwrap();
    for instance in 1..=2 {
        for number in 0..PEERS {
            fill(&store, number, instance, &mut facts).await;
        }
    }
    if close {
        store.close().await.unwrap();
        return (read_image(folder.path()), facts);
    }
    let image = read_image(folder.path());
    store.close().await.unwrap();
    (image, facts)
}

async fn fill(store: &SqliteStore, number: u8, instance: u8, facts: &mut Facts) {
    use paddington_exchange::store::{Cursors, Fence, NewMessage, Outbox, StoredCursor};
    use paddington_wire::MessageId;

    let append = |at| {
        let id = MessageId { stream: stream(instance), number: at };
        let message =
            NewMessage { id, payload: payload(number, instance, at), ttl: None, mark: None };
        store.append(&peer(number), message)
    };
    for answer in (1..=MESSAGES).map(append).collect::<Vec<_>>() {
        answer.await.unwrap();
    }
    facts.note(&format!("accepted {number} {instance} {MESSAGES}"));
    let completed = u64::from(instance) * 1_000;
    let cursor = StoredCursor { instance: stream(255), completed, finished: vec![] };
    Cursors::commit(store, &peer(number), cursor, Fence(0)).await.unwrap();
    facts.note(&format!("completed {number} {completed}"));
}
