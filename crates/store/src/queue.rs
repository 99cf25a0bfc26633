//! What is asked of the store and not begun yet: one lane per peer, in the order of the calls.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use paddington_exchange::store::{
    DeadLetter, LetterId, NewMessage, StoreError, StoredCursor, StoredStream,
};
use paddington_wire::{MessageId, PeerName};

use crate::answers::Waiter;
use crate::batch::{Batch, Share};
use crate::lazies::Lazies;

/// How long trims and cursors wait for a commit that has to be paid for anyway.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// Whose turn it is: a peer, or those who ask about all of them.
pub(crate) type Lane = Option<PeerName>;

/// Something to be made durable before it is answered.
#[derive(Debug)]
pub(crate) enum Write {
    Append(NewMessage, Waiter<()>),
    Attempt(MessageId, Waiter<u32>),
    Bury(DeadLetter, Waiter<()>),
    Exhume(LetterId, Waiter<Option<DeadLetter>>),
}

/// Something to be read.
#[derive(Debug)]
pub(crate) enum Query {
    Streams(PeerName, Waiter<Vec<StoredStream>>),
    Cursors(PeerName, Waiter<Vec<StoredCursor>>),
    Read(PeerName, MessageId, usize, Waiter<Vec<bytes::Bytes>>),
    Letters(Waiter<Vec<(LetterId, DeadLetter)>>),
}

/// One entry of a lane.
#[derive(Debug)]
pub(crate) enum Job {
    Write(Write),
    Lazy(Lazies),
    Query(Query),
}

/// All lanes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lanes: HashMap<Lane, VecDeque<Job>>,
    /// The lanes that are not empty, in the order of their turns.
    turns: VecDeque<Lane>,
    /// Reads that do not depend on anything in a lane.
    express: Vec<Query>,
    /// How many jobs are not lazy.
    urgent: usize,
    /// How many are.
    lazy: usize,
    /// When the lazy ones are due.
    due: Option<Instant>,
}

impl Queue {
    pub(crate) fn write(&mut self, lane: Lane, write: Write) {
        self.urgent += 1;
        self.lane(lane).push_back(Job::Write(write));
    }

    /// Adds to the lazies at the end of a peer's lane.
    pub(crate) fn lazy(&mut self, peer: PeerName, now: Instant, add: impl FnOnce(&mut Lazies)) {
        let lane = Some(peer);
        if let Some(Job::Lazy(last)) = self.lanes.get_mut(&lane).and_then(VecDeque::back_mut) {
            return add(last);
        }
        let mut lazies = Lazies::new(now);
        add(&mut lazies);
        self.lazy += 1;
        self.due.get_or_insert(now + PATIENCE);
        self.lane(lane).push_back(Job::Lazy(lazies));
    }

    /// Puts lazies back that could not be written yet, before everything that was asked for since.
    pub(crate) fn put_back(&mut self, peer: PeerName, mut lazies: Lazies) {
        self.due = Some(lazies.since + PATIENCE);
        self.lazy += 1;
        let jobs = self.lane(Some(peer));
        match jobs.pop_front() {
            Some(Job::Lazy(later)) => {
                lazies.then(later);
                jobs.push_front(Job::Lazy(lazies));
                self.lazy -= 1;
            }
            other => {
                if let Some(job) = other {
                    jobs.push_front(job);
                }
                jobs.push_front(Job::Lazy(lazies));
            }
        }
    }

    pub(crate) fn query(&mut self, lane: Lane, query: Query) {
        if !self.has_to_wait(&lane, &query) {
            self.express.push(query);
            return;
        }
        self.urgent += 1;
        self.lane(lane).push_back(Job::Query(query));
    }

    /// Whether the answer depends on what is in the lane. A read of messages that are stored already
    /// does not: it must not wait until a long queue is written.
    pub(crate) fn has_to_wait(&self, lane: &Lane, query: &Query) -> bool {
        let Some(jobs) = self.lanes.get(lane) else { return false };
        let Query::Read(_, first, ..) = query else { return true };
        jobs.iter().any(|job| match job {
            Job::Write(Write::Append(message, _)) => {
                message.id.stream == first.stream && message.id.number <= first.number
            }
            Job::Lazy(lazies) => lazies.trims(&first.stream, first.number),
            Job::Write(_) | Job::Query(_) => false,
        })
    }

    /// When the lazies are due, if there are any.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether something waits that is not lazy.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent > 0 || !self.express.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.express.is_empty()
    }

    pub(crate) fn take_express(&mut self) -> Vec<Query> {
        std::mem::take(&mut self.express)
    }

    /// Takes what goes into the next transaction, each lane in turn, and what can be read before it.
    pub(crate) fn take(&mut self) -> Batch {
        let mut batch = Batch::new(self.take_express());
        for _ in 0..self.turns.len() {
            if batch.is_full() {
                break;
            }
            let Some(lane) = self.turns.pop_front() else { break };
            let Some(jobs) = self.lanes.get_mut(&lane) else { continue };
            let mut share = Share::default();
            while let Some(job) = jobs.pop_front() {
                match batch.take(&lane, job, &mut share) {
                    Ok(true) => self.lazy -= 1,
                    Ok(false) => self.urgent -= 1,
                    Err(job) => {
                        jobs.push_front(job);
                        break;
                    }
                }
            }
            if jobs.is_empty() {
                self.lanes.remove(&lane);
            } else {
                self.turns.push_back(lane);
            }
        }
        if self.lazy == 0 {
            self.due = None;
        }
        batch
    }

    /// Refuses everything but the lazies, and the reads that depend on nothing.
    pub(crate) fn refuse_urgent(&mut self, why: &StoreError) {
        for lane in std::mem::take(&mut self.turns) {
            let Some(jobs) = self.lanes.remove(&lane) else { continue };
            let mut kept: Option<Lazies> = None;
            for job in jobs {
                match job {
                    Job::Write(write) => write.refuse(why),
                    Job::Query(query) => query.refuse(why),
                    Job::Lazy(lazies) => match &mut kept {
                        Some(kept) => kept.then(lazies),
                        None => kept = Some(lazies),
                    },
                }
            }
            if let Some(kept) = kept {
                self.turns.push_back(lane.clone());
                self.lanes.insert(lane, VecDeque::from([Job::Lazy(kept)]));
            }
        }
        self.urgent = 0;
        self.lazy = self.turns.len();
        self.due = self.due.filter(|_| self.lazy > 0);
    }

    /// Refuses everything.
    pub(crate) fn refuse_all(&mut self, why: &StoreError) {
        self.refuse_urgent(why);
        for query in self.take_express() {
            query.refuse(why);
        }
        for job in std::mem::take(self).lanes.into_values().flatten() {
            if let Job::Lazy(lazies) = job {
                lazies.answer(&Err(why.clone()));
            }
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Job> {
        let Self { lanes, turns, .. } = self;
        lanes.entry(lane).or_insert_with_key(|lane| {
            turns.push_back(lane.clone());
            VecDeque::new()
        })
    }
}

impl Write {
    pub(crate) fn refuse(self, why: &StoreError) {
        // Nobody may wait any more; then nobody is told.
        match self {
            Self::Append(_, waiter) | Self::Bury(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Attempt(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Exhume(_, waiter) => drop(waiter.send(Err(why.clone()))),
        }
    }
}

impl Query {
    pub(crate) fn refuse(self, why: &StoreError) {
        match self {
            Self::Streams(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Cursors(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Read(.., waiter) => drop(waiter.send(Err(why.clone()))),
            Self::Letters(waiter) => drop(waiter.send(Err(why.clone()))),
        }
    }
}
