//! The database: the row of the link, its streams and its cursors.

use paddington_wire::link::{StoredCursor, StoredLink, StoredMessage, StoredStream};
use paddington_wire::{Instance, MessageId};

use super::act::Rule;
use crate::connection::SERVER;
use crate::side::instance;

/// A replica from one start to its end, which no other one has the number of.
pub(super) type Process = u8;

/// The replica that a process is.
pub(super) const fn replica_of(process: Process) -> usize {
    process as usize % 2
}

/// What is stored of the link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Database {
    pub(super) fence: u64,
    pub(super) owner: Option<Process>,
    pub(super) lane: u64,
    pub(super) lane_owner: Option<Process>,
    /// The history in which the newest stream was begun.
    epoch: u64,
    pub(super) streams: Vec<Stream>,
    pub(super) cursors: Vec<StoredCursor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub(super) instance: Instance,
    base: u64,
    mark: u64,
    /// The messages, by their labels.
    pub(super) labels: Vec<u8>,
}

/// What outlives a failover: the history, and names that are given once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    pub(super) epoch: u64,
    names: u8,
}

/// A lazy write of an owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Write {
    Trim(MessageId),
    Mark(MessageId),
    Cursor(StoredCursor),
    Forget(Instance),
}

/// What a claim returns.
pub(super) struct Claim {
    pub(super) fence: u64,
    pub(super) stream: Instance,
    pub(super) stored: StoredLink,
    pub(super) has_lane: bool,
}

/// A write was refused, because the link has another owner.
pub(super) struct Stale;

impl Database {
    /// Makes a process the owner; `lives` says which others do. `None` if another one owns the link.
    pub(super) fn claim(
        &mut self,
        by: Process,
        lives: impl Fn(Process) -> bool,
        history: &mut History,
        without: Option<Rule>,
    ) -> Option<Claim> {
        if self.owner.is_some_and(|owner| owner != by && lives(owner)) {
            return None;
        }
        let is_kept = self.owner != Some(by);
        let in_lane = self.lane_owner.is_some_and(|it| lives(it) && (it != by || is_kept));
        self.fence = (self.fence + 1).max(history.epoch << 40);
        (self.owner, self.epoch) = (Some(by), history.epoch);
        if !in_lane {
            self.enter(by);
        }
        let newest = self.streams.last().map(|stream| stream.instance);
        let again = newest.filter(|_| without == Some(Rule::Stream));
        self.streams.retain(|it| !it.labels.is_empty() || Some(it.instance) == again);
        let earlier = self.streams.iter().filter(|it| Some(it.instance) != again);
        let streams = earlier.map(Stream::stored).collect();
        let stream = again.unwrap_or_else(|| self.begin_stream(history));
        let stored = StoredLink { streams, cursors: self.cursors.clone() };
        Some(Claim { fence: self.fence, stream, stored, has_lane: !in_lane })
    }

    /// Gives the link up. A call that runs keeps the lane.
    pub(super) fn release(&mut self, fence: u64, keeps_lane: bool) {
        if self.fence == fence {
            self.owner = None;
        }
        if !keeps_lane {
            self.free_lane(fence);
        }
    }

    pub(super) fn free_lane(&mut self, fence: u64) {
        if self.lane == fence {
            self.lane_owner = None;
        }
    }

    /// Enters the lane, unless somebody else is in it.
    pub(super) fn take_lane(
        &mut self,
        fence: u64,
        by: Process,
        lives: impl Fn(Process) -> bool,
    ) -> Result<bool, Stale> {
        if self.fence != fence || self.owner != Some(by) {
            return Err(Stale);
        }
        if self.lane != fence && self.lane_owner.is_some_and(lives) {
            return Ok(false);
        }
        self.enter(by);
        Ok(true)
    }

    fn enter(&mut self, owner: Process) {
        (self.lane, self.lane_owner) = (self.fence, Some(owner));
    }

    /// Stores a message. Returns its id.
    pub(super) fn accept(
        &mut self,
        label: u8,
        history: &mut History,
        without: Option<Rule>,
    ) -> Option<MessageId> {
        self.notice_loss(history, without);
        if self.streams.is_empty() {
            self.begin_stream(history);
        }
        let stream = self.streams.last_mut()?;
        stream.labels.push(label);
        Some(MessageId { stream: stream.instance, number: stream.last() })
    }

    /// Begins a stream if the newest one is of another history (S9).
    pub(super) fn notice_loss(&mut self, history: &mut History, without: Option<Rule>) {
        if self.epoch != history.epoch && without != Some(Rule::Epoch) {
            self.epoch = history.epoch;
            self.begin_stream(history);
        }
    }

    /// Takes a write of an owner (S2).
    pub(super) fn write(
        &mut self,
        fence: u64,
        write: &Write,
        without: Option<Rule>,
    ) -> Result<(), Stale> {
        let of_lane = matches!(write, Write::Cursor(_) | Write::Forget(_));
        let current = if of_lane { self.lane } else { self.fence };
        if current != fence && without != Some(Rule::Fence) {
            return Err(Stale);
        }
        match write {
            Write::Trim(upto) => self.trim(*upto),
            Write::Mark(upto) => {
                let stream = self.streams.iter_mut().find(|it| it.instance == upto.stream);
                stream.into_iter().for_each(|it| it.mark = it.mark.max(upto.number));
            }
            Write::Cursor(cursor) => {
                self.cursors.retain(|known| known.instance != cursor.instance);
                self.cursors.push(cursor.clone());
            }
            Write::Forget(instance) => self.cursors.retain(|known| known.instance != *instance),
        }
        Ok(())
    }

    fn trim(&mut self, upto: MessageId) {
        let newest = self.streams.last().map(|stream| stream.instance);
        if let Some(stream) = self.streams.iter_mut().find(|it| it.instance == upto.stream) {
            while stream.base <= upto.number && !stream.labels.is_empty() {
                stream.labels.remove(0);
                stream.base += 1;
            }
        }
        self.streams.retain(|it| !it.labels.is_empty() || Some(it.instance) == newest);
    }

    /// Returns the message with an id, if it waits.
    pub(super) fn read(&self, id: MessageId) -> Option<u8> {
        let stream = self.streams.iter().find(|it| it.instance == id.stream)?;
        stream.labels.get(usize::try_from(id.number.checked_sub(stream.base)?).ok()?).copied()
    }

    /// Returns the stream to which messages go, and the number of its last message.
    pub(super) fn newest(&self) -> Option<MessageId> {
        let stream = self.streams.last()?;
        Some(MessageId { stream: stream.instance, number: stream.last() })
    }

    /// Returns the messages that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = u8> {
        self.streams.iter().flat_map(|stream| &stream.labels).copied()
    }

    /// Returns whether the peer's message with this number is durably handled.
    pub(super) fn has_handled(&self, number: u64) -> bool {
        self.cursors.iter().any(|it| it.completed >= number || it.finished.contains(&number))
    }

    fn begin_stream(&mut self, history: &mut History) -> Instance {
        history.names += 1;
        let instance = instance(SERVER, history.names);
        self.streams.push(Stream { instance, base: 1, mark: 0, labels: Vec::new() });
        instance
    }
}

impl Stream {
    fn last(&self) -> u64 {
        self.base + self.labels.len() as u64 - 1
    }

    fn stored(&self) -> StoredStream {
        let messages = self.labels.iter().map(|_| StoredMessage { len: 1, ttl: None }).collect();
        let Self { instance, base, mark, .. } = *self;
        StoredStream { instance, base, mark, messages }
    }
}
