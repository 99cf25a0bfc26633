//! The answers that a workload was given by its store, compared with what the store has kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use paddington_exchange::store::{Backlog, Cursors, DeadLetters, LinkStore, Mailbox, Outbox};
use paddington_models::random::Random;
use paddington_store::SqliteStore;
use paddington_wire::{Instance, LinkId, MessageId, Payload};

/// Number of peers of a workload.
pub const PEERS: u8 = 3;
/// The peer that leaves again and again.
pub const LEAVER: u8 = 100;
/// Number of messages that wait for it then: more than one step of a purge removes.
pub const LEFT: u64 = 1_100;
/// The stream of a peer whose messages the workload handles.
pub const THEIR_STREAM: u8 = 255;

/// Requests and answers, by peer and stream.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The highest number that was accepted.
    accepted: BTreeMap<(u8, u8), u64>,
    /// The highest number up to which a trim was asked for.
    trim_called: BTreeMap<(u8, u8), u64>,
    /// The highest number up to which a trim was answered.
    trimmed: BTreeMap<(u8, u8), u64>,
    /// By peer: the highest cursor that was answered.
    completed: BTreeMap<u8, u64>,
    /// By peer and number: the attempts that were answered.
    attempts: BTreeMap<(u8, u64), u64>,
    /// The letters that were answered.
    letters: Vec<u64>,
    /// The last instances that have filled the mailbox of the leaver, have begun to purge it, and
    /// were answered that.
    left: u8,
    /// All instances that have filled it: of one that was cut off meanwhile, a part may be there.
    filled: BTreeSet<u8>,
    purging: u8,
    purged: u8,
}

/// Differences between what a store has kept and what it answered.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Messages that were accepted and are neither there nor given up.
    pub lost: u64,
    /// Messages that are not what was accepted.
    pub wrong: u64,
    /// Messages that are there although their removal was durable.
    pub undead: u64,
    /// Cursors, attempts and dead letters that are behind what was answered.
    pub behind: u64,
    /// The reason why the store does not open or does not trust its files.
    pub refused: Option<String>,
}

impl Findings {
    /// Returns whether there is no difference.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost + self.wrong + self.undead + self.behind == 0 && self.refused.is_none()
    }
}

impl Facts {
    /// Notes a line of a workload.
    pub fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let key = || (number(1) as u8, number(2) as u8);
        let raise = |of: &mut BTreeMap<(u8, u8), u64>| {
            let known = of.entry(key()).or_default();
            *known = number(3).max(*known);
        };
        match words[0] {
            "accepted" => raise(&mut self.accepted),
            "trim" => raise(&mut self.trim_called),
            "trimmed" => raise(&mut self.trimmed),
            "completed" => {
                let known = self.completed.entry(number(1) as u8).or_default();
                *known = number(2).max(*known);
            }
            "attempt" => {
                let known = self.attempts.entry((number(1) as u8, number(2))).or_default();
                *known = number(3).max(*known);
            }
            "letter" => self.letters.push(number(1)),
            "left" => {
                self.left = number(1) as u8;
                self.filled.insert(self.left);
            }
            "purge" => self.purging = number(1) as u8,
            "purged" => self.purged = number(1) as u8,
            other => panic!("{other} is not a fact"),
        }
    }

    /// Number of messages that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.values().sum()
    }

    /// Opens the store at `path`, compares, and closes it again.
    pub async fn check(&self, path: &Path) -> Findings {
        let store = match SqliteStore::open(path) {
            Ok(store) => store,
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                let refused = Some(format!("{error}: {}", source.unwrap_or_default()));
                return Findings { refused, ..Findings::default() };
            }
        };
        let mut findings = Findings::default();
        for number in 0..PEERS {
            if let Err(error) = self.check_peer(&store, number, &mut findings).await {
                findings.refused = Some(error.to_string());
                break;
            }
        }
        if findings.refused.is_none()
            && let Err(error) = self.check_leaver(&store, &mut findings).await
        {
            findings.refused = Some(error.to_string());
        }
        if findings.refused.is_none() {
            self.check_letters(&store, &mut findings).await;
        }
        // A damaged file may fail again; everything was compared already.
        let _ = store.close().await;
        findings
    }

    async fn check_peer(
        &self,
        store: &SqliteStore,
        number: u8,
        findings: &mut Findings,
    ) -> Result<(), paddington_exchange::store::StoreError> {
        let peer = peer(number);
        let mut there: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
        for stream in store.streams(&peer).await? {
            let byte = stream.instance.as_bytes()[0];
            let end = stream.base + stream.messages.len() as u64;
            there.insert(byte, (stream.base, end));
            let mut at = stream.base;
            while at < end {
                let first = MessageId { stream: stream.instance, number: at };
                let read = store.read(&peer, first, 256 * 1024).await?;
                if read.is_empty() {
                    findings.lost += end - at;
                    break;
                }
                for payload in read {
                    findings.wrong += u64::from(payload != self::payload(number, byte, at));
                    at += 1;
                }
            }
        }
        for ((_, stream), accepted) in self.accepted.range((number, 0)..=(number, 255)) {
            let key = &(number, *stream);
            let given_up = self.trim_called.get(key).copied().unwrap_or_default();
            let trimmed = self.trimmed.get(key).copied().unwrap_or_default();
            let (base, end) = there.get(stream).copied().unwrap_or((u64::MAX, 0));
            let first = given_up + 1;
            let kept =
                if base <= first { end.saturating_sub(first) } else { end.saturating_sub(base) };
            findings.lost += (accepted + 1).saturating_sub(first).saturating_sub(kept);
            findings.undead += (trimmed + 1).min(end).saturating_sub(base);
        }
        self.check_cursors(store, number, findings).await
    }

    async fn check_cursors(
        &self,
        store: &SqliteStore,
        number: u8,
        findings: &mut Findings,
    ) -> Result<(), paddington_exchange::store::StoreError> {
        let stored = store.cursors(&peer(number)).await?;
        let stored = stored.first().map_or(0, |cursor| cursor.completed);
        let answered = self.completed.get(&number).copied().unwrap_or_default();
        findings.behind += u64::from(stored < answered);
        for ((_, message), answered) in self.attempts.range((number, 0)..=(number, u64::MAX)) {
            if *message > stored {
                let id = MessageId { stream: stream(THEIR_STREAM), number: *message };
                let fence = paddington_exchange::store::Fence(0);
                let next = store.attempt(&peer(number), id, fence).await?;
                findings.behind += u64::from(u64::from(next) <= *answered);
            }
        }
        Ok(())
    }

    /// Of a purge that was not answered, an end of each stream may be left.
    async fn check_leaver(
        &self,
        store: &SqliteStore,
        findings: &mut Findings,
    ) -> Result<(), paddington_exchange::store::StoreError> {
        let mailbox = peer(LEAVER);
        let mut whole = false;
        for stored in store.streams(&mailbox).await? {
            let byte = stored.instance.as_bytes()[0];
            let (messages, mut at) = (stored.messages.len() as u64, stored.base);
            findings.undead += if byte <= self.purged { messages } else { 0 };
            let is_whole = messages == LEFT && at == 1;
            let is_cut = self.filled.contains(&byte) && at + messages != LEFT + 1;
            findings.lost += u64::from(is_cut);
            whole |= byte == self.left && is_whole;
            while at < stored.base + messages {
                let first = MessageId { stream: stored.instance, number: at };
                let read = store.read(&mailbox, first, 256 * 1024).await?;
                if read.is_empty() {
                    findings.lost += 1;
                    break;
                }
                for payload in read {
                    findings.wrong += u64::from(payload != self::payload(LEAVER, byte, at));
                    at += 1;
                }
            }
        }
        findings.lost += u64::from(self.left > self.purging && !whole) * LEFT;
        let cursors = store.cursors(&mailbox).await?;
        let dead = |byte: u8| byte <= self.purged;
        let undead = cursors.iter().filter(|cursor| dead(cursor.instance.as_bytes()[0]));
        findings.undead += undead.count() as u64;
        Ok(())
    }

    async fn check_letters(&self, store: &SqliteStore, findings: &mut Findings) {
        match store.letters().await {
            Ok(letters) => {
                for number in &self.letters {
                    let there = letters.iter().find(|(_, letter)| letter.id.number == *number);
                    findings.behind += u64::from(there.is_none());
                    let wrong =
                        |payload: &Payload| *payload != self::payload(0, THEIR_STREAM, *number);
                    let wrong = there.is_some_and(|(_, letter)| wrong(&letter.payload));
                    findings.wrong += u64::from(wrong);
                }
            }
            Err(error) => findings.refused = Some(error.to_string()),
        }
    }
}

/// Returns the mailbox of a peer.
#[must_use]
pub fn peer(number: u8) -> Mailbox {
    let link = [number; LinkId::LEN].into();
    Mailbox { peer: format!("peer-{number}").parse().unwrap(), link }
}

/// Returns the stream of a byte.
#[must_use]
pub fn stream(byte: u8) -> Instance {
    [byte; Instance::LEN].into()
}

/// Returns the payload of a message, which depends on its peer, stream and number: every second one
/// is said to be text.
#[must_use]
pub fn payload(peer: u8, stream: u8, number: u64) -> Payload {
    let mut random = Random::new(u64::from(peer) << 56 | u64::from(stream) << 48 | number);
    let len = match random.below(20) {
        0 => 4_000 + random.below(12_000),
        1..10 => random.below(200),
        _ => random.below(1_500),
    };
    let bytes: Vec<u8> =
        (0..len.div_ceil(8)).flat_map(|_| random.next_number().to_le_bytes()).collect();
    if number % 2 == 1 { Payload::text(bytes) } else { Payload::bytes(bytes) }
}
