//! The rows of a database that replicas share, and what a transaction does with them.

use std::collections::BTreeMap;
use std::time::Duration;

use paddington::store::{
    Accepted, Borrowed, BorrowedLetter, Claim, Claimed, DeadLetter, DirectoryNews, Fate, Fence,
    LetterId, Mailbox, ReplicaId, Signal, StoreError, StoredCursor, StoredMessage, StoredStream,
    Submission,
};
use paddington::{Instance, LinkId, MessageId, Payload};
use paddington_wire::RejectText;
use paddington_wire::link::Outcome;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Broken;
use super::directory::Links;
use super::relay::Requests;
use crate::Random;
use crate::store::finish;

#[derive(Default)]
pub(super) struct Shared {
    pub(super) rows: BTreeMap<LinkId, Row>,
    pub(super) replicas: BTreeMap<ReplicaId, Replica>,
    pub(super) links: Links,
    pub(super) letters: BTreeMap<u64, DeadLetter>,
    pub(super) last_letter: u64,
    /// Who has borrowed a letter, and how often it was borrowed.
    pub(super) borrowed: BTreeMap<u64, (Option<ReplicaId>, u32)>,
    pub(super) requests: Requests,
    pub(super) epoch: u64,
    pub(super) broken: Broken,
    /// Number of writes of replaced owners that were refused.
    pub(super) refused: u64,
    /// Whether all signals are lost.
    pub(super) deaf: bool,
    /// The number of claims whose answers are lost yet.
    pub(super) lost_claims: usize,
    /// The longest time that an answer takes, if it takes any.
    pub(super) delays: Option<(Random, Duration)>,
    /// Whether answers are kept back.
    pub(super) held: watch::Sender<bool>,
}

pub(super) struct Replica {
    pub(super) shards: Vec<Contact>,
    /// Whether its process has ended.
    pub(super) gone: bool,
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) links: watch::Sender<DirectoryNews>,
}

/// How a replica is in touch with a shard.
#[derive(Clone)]
pub(super) struct Contact {
    /// When it counts as dead.
    pub(super) until: Instant,
    /// Whether it does not reach the shard.
    pub(super) cut_off: bool,
    /// Whether its session has ended, which it does not know yet.
    pub(super) session_ended: bool,
}

pub(super) struct Row {
    pub(super) mailbox: Mailbox,
    pub(super) fence: u64,
    pub(super) owner: Option<ReplicaId>,
    pub(super) lane: u64,
    pub(super) lane_owner: Option<ReplicaId>,
    /// When replicas were told that they must not call the handler.
    pub(super) told_off: BTreeMap<ReplicaId, Instant>,
    pub(super) epoch: u64,
    pub(super) streams: Vec<Stream>,
    pub(super) cursors: BTreeMap<Instance, StoredCursor>,
    pub(super) attempts: BTreeMap<MessageId, u32>,
    pub(super) fates: BTreeMap<MessageId, (Outcome, RejectText)>,
}

pub(super) struct Stream {
    pub(super) instance: Instance,
    pub(super) base: u64,
    pub(super) mark: u64,
    pub(super) messages: Vec<Message>,
}

pub(super) struct Message {
    pub(super) payload: Payload,
    pub(super) expires: Option<Instant>,
    pub(super) by: ReplicaId,
}

pub(super) enum Write {
    Trim(MessageId),
    Mark(MessageId),
    Settle(Vec<Fate>),
    Commit(StoredCursor),
    Forget(Instance),
}

/// Returns the shard of a link, of so many (S15).
pub(super) fn shard_of(link: LinkId, shards: usize) -> usize {
    usize::from(link.as_bytes()[7]) % shards
}

impl Replica {
    /// Returns whether it may reach each shard later and does not now.
    pub(super) fn is_cut_off(&self) -> Vec<bool> {
        self.shards.iter().map(|shard| shard.cut_off && !self.gone).collect()
    }

    /// Returns how it is in touch with the shard of a link.
    fn contact(&self, link: LinkId) -> &Contact {
        &self.shards[shard_of(link, self.shards.len())]
    }
}

impl Shared {
    pub(super) fn row(&mut self, mailbox: &Mailbox) -> &mut Row {
        let epoch = self.epoch;
        self.rows.entry(mailbox.link).or_insert_with(|| Row {
            mailbox: mailbox.clone(),
            fence: 0,
            owner: None,
            lane: 0,
            lane_owner: None,
            told_off: BTreeMap::new(),
            epoch,
            streams: Vec::new(),
            cursors: BTreeMap::new(),
            attempts: BTreeMap::new(),
            fates: BTreeMap::new(),
        })
    }

    /// Returns whether a replica lives in the shard of a link.
    pub(super) fn lives(&self, replica: ReplicaId, link: LinkId) -> bool {
        let lives = |it: &Replica| !it.gone && it.contact(link).until > Instant::now();
        self.replicas.get(&replica).is_some_and(lives)
    }

    pub(super) fn tell(&self, to: ReplicaId, signal: Signal) {
        let reaches = |it: &Replica| signal.link().is_none_or(|link| !it.contact(link).cut_off);
        let replica = self.replicas.get(&to).filter(|it| !it.gone && reaches(it));
        if let Some(replica) = replica.filter(|_| !self.deaf) {
            let _ = replica.signals.try_send(signal);
        }
    }

    /// Checks that the fence is that of the owner, or of whoever is in the lane.
    pub(super) fn check(
        &mut self,
        mailbox: &Mailbox,
        fence: Fence,
        lane: bool,
        by: ReplicaId,
    ) -> Result<(), StoreError> {
        let broken = self.broken.fence;
        let row = self.row(mailbox);
        let holds = if lane {
            row.lane == fence.0 && row.lane_owner == Some(by)
        } else {
            row.fence == fence.0
        };
        if holds || broken {
            return Ok(());
        }
        // What belongs to an earlier term of a replica that has claimed again says nothing to it.
        if row.owner != Some(by) {
            row.tell_off(by);
        }
        self.refused += 1;
        Err(StoreError::stale())
    }

    pub(super) fn write(
        &mut self,
        mailbox: &Mailbox,
        fence: Fence,
        write: Write,
        by: ReplicaId,
    ) -> Result<(), StoreError> {
        let lane = matches!(write, Write::Commit(_) | Write::Forget(_));
        self.check(mailbox, fence, lane, by)?;
        let row = self.row(mailbox);
        let mut told = Vec::new();
        match write {
            Write::Trim(upto) => {
                for stream in row.streams.iter_mut().filter(|it| it.instance == upto.stream) {
                    while stream.base <= upto.number && !stream.messages.is_empty() {
                        told.push(stream.messages.remove(0).by);
                        stream.base += 1;
                    }
                }
                let newest = row.streams.last().map(|stream| stream.instance);
                row.streams.retain(|it| !it.messages.is_empty() || Some(it.instance) == newest);
            }
            Write::Mark(upto) => {
                for stream in row.streams.iter_mut().filter(|it| it.instance == upto.stream) {
                    stream.mark = stream.mark.max(upto.number);
                }
            }
            Write::Settle(fates) => {
                row.fates.extend(fates.into_iter().map(|it| (it.id, (it.outcome, it.text))));
            }
            Write::Commit(cursor) => {
                row.cursors.insert(cursor.instance, cursor);
            }
            Write::Forget(instance) => {
                row.cursors.remove(&instance);
                row.attempts.retain(|id, _| id.stream != instance);
            }
        }
        told.sort_unstable();
        told.dedup();
        let link = mailbox.link;
        told.into_iter().for_each(|by| self.tell(by, Signal::Settled { link }));
        Ok(())
    }

    pub(super) fn cursors(&self, row: &Row) -> Vec<StoredCursor> {
        let mut cursors: Vec<_> = row.cursors.values().cloned().collect();
        for letter in self.letters.values().filter(|it| it.mailbox == row.mailbox) {
            let of_letter = |cursor: &&mut StoredCursor| cursor.instance == letter.id.stream;
            cursors.iter_mut().find(of_letter).into_iter().for_each(|it| finish(it, letter.id));
        }
        cursors
    }

    pub(super) fn borrow_letter(
        &mut self,
        id: LetterId,
        by: ReplicaId,
    ) -> Result<Borrowed, StoreError> {
        let Some(letter) = self.letters.get(&id.0).cloned() else { return Ok(Borrowed::Unknown) };
        let link = letter.mailbox.link;
        if !self.lives(by, link) {
            return Err(StoreError::new("this replica is taken for dead"));
        }
        let (borrower, turn) = self.borrowed.get(&id.0).copied().unwrap_or_default();
        if let Some(holder) = borrower.filter(|it| *it != by && self.lives(*it, link)) {
            return Ok(Borrowed::Held(holder));
        }
        let turn = turn + 1;
        self.borrowed.insert(id.0, (Some(by), turn));
        Ok(Borrowed::Here(BorrowedLetter { letter, turn }))
    }

    pub(super) fn claim(&mut self, mailbox: &Mailbox, by: ReplicaId, last: Fence) -> Claimed {
        let (epoch, broken, link) = (self.epoch, self.broken, mailbox.link);
        let row = self.row(mailbox);
        let (owner, lane_owner) = (row.owner, row.lane_owner);
        // A claim whose answer was lost: nobody is in the lane that came with it.
        let is_lost = row.lane == row.fence && row.fence > last.0 && owner == Some(by);
        if let Some(owner) = owner.filter(|it| *it != by && self.lives(*it, link)) {
            return Claimed::Held(owner);
        }
        let in_lane = lane_owner.is_some_and(|it| self.lives(it, link) && !(it == by && is_lost));
        let letters = self.letters.values().filter(|it| it.mailbox == *mailbox);
        let letters = letters.map(|letter| (letter.id, letter.code)).collect();
        let row = self.row(mailbox);
        row.fence = (row.fence + 1).max(epoch << 40);
        row.owner = Some(by);
        row.epoch = epoch;
        if in_lane {
            row.tell_off(by);
        } else {
            row.enter(by);
        }
        let fence = Fence(row.fence);
        let now = Instant::now();
        let message = |message: &Message| StoredMessage {
            len: message.payload.len() as u32,
            ttl: message.expires.map(|expires| expires.saturating_duration_since(now)),
        };
        let stored = |stream: &Stream| StoredStream {
            instance: stream.instance,
            base: stream.base,
            mark: stream.mark,
            messages: stream.messages.iter().map(message).collect(),
        };
        let again = broken.stream.then(|| row.streams.last().map(|it| it.instance)).flatten();
        row.streams.retain(|it| !it.messages.is_empty() || Some(it.instance) == again);
        let earlier = row.streams.iter().filter(|stream| Some(stream.instance) != again);
        let streams = earlier.map(stored).collect();
        let stream = again.unwrap_or_else(|| row.begin_stream());
        let cursors = self.cursors(&self.rows[&mailbox.link]);
        let has_lane = !in_lane;
        Claimed::Owned(Box::new(Claim { fence, stream, streams, cursors, letters, has_lane }))
    }

    /// Returns how many bytes wait beyond `floor` in each mailbox.
    pub(super) fn waiting_beyond(&self, floor: u64) -> u64 {
        self.rows.values().map(|row| row.waiting().1.saturating_sub(floor)).sum()
    }

    pub(super) fn accept(
        &mut self,
        mailbox: &Mailbox,
        message: Submission,
        by: ReplicaId,
    ) -> Accepted {
        let (epoch, broken) = (self.epoch, self.broken);
        let row = self.row(mailbox);
        let (messages, bytes) = row.waiting();
        let len = message.payload.len() as u64;
        if messages >= message.bounds.messages || bytes + len > message.bounds.bytes {
            return Accepted::Full { messages, bytes };
        }
        if row.streams.is_empty() || (row.epoch != epoch && !broken.epoch) {
            row.epoch = epoch;
            row.begin_stream();
        }
        let owner = row.owner;
        let stream = row.streams.last_mut().unwrap();
        let expires = message.ttl.map(|ttl| Instant::now() + ttl);
        stream.messages.push(Message { payload: message.payload, expires, by });
        let number = stream.base + stream.messages.len() as u64 - 1;
        let (link, stream) = (mailbox.link, stream.instance);
        if let Some(owner) = owner {
            self.tell(owner, Signal::Appended { link, stream, number });
        }
        Accepted::Stored(MessageId { stream, number })
    }
}

impl Row {
    /// The number of messages that wait, and of the bytes of their payload.
    fn waiting(&self) -> (u64, u64) {
        let lens = self.streams.iter().flat_map(|stream| &stream.messages);
        lens.fold((0, 0), |(count, bytes), message| {
            (count + 1, bytes + message.payload.len() as u64)
        })
    }

    /// Gives the lane to the owner.
    pub(super) fn enter(&mut self, owner: ReplicaId) {
        (self.lane, self.lane_owner) = (self.fence, Some(owner));
        self.told_off.remove(&owner);
    }

    /// Notes that a replica is told that the link is not its own.
    pub(super) fn tell_off(&mut self, replica: ReplicaId) {
        self.told_off.entry(replica).or_insert_with(Instant::now);
    }

    pub(super) fn begin_stream(&mut self) -> Instance {
        let instance = Instance::random().unwrap();
        self.streams.push(Stream { instance, base: 1, mark: 0, messages: Vec::new() });
        instance
    }

    pub(super) fn after(
        &self,
        first: MessageId,
        max_bytes: usize,
    ) -> impl Iterator<Item = &Message> {
        let stream = self.streams.iter().find(|stream| stream.instance == first.stream);
        let skipped = stream.map_or(0, |it| first.number.saturating_sub(it.base)) as usize;
        let mut bytes = 0;
        let messages = stream.into_iter().flat_map(|stream| &stream.messages).skip(skipped);
        messages.take_while(move |message| {
            bytes += message.payload.len();
            bytes <= max_bytes.max(message.payload.len())
        })
    }
}
