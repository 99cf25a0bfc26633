//! What is asked of the store and not begun yet: one key per peer, in the order of the calls.

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
pub(crate) type QueueKey = Option<PeerName>;

/// Something to be made durable before it is answered.
#[derive(Debug)]
pub(crate) enum Write {
    Append(NewMessage, Waiter<()>),
    Attempt(MessageId, Waiter<u32>),
    AddLetter(DeadLetter, Waiter<()>),
    TakeLetter(LetterId, Waiter<Option<DeadLetter>>),
}

/// Something to be read.
#[derive(Debug)]
pub(crate) enum Query {
    Streams(PeerName, Waiter<Vec<StoredStream>>),
    Cursors(PeerName, Waiter<Vec<StoredCursor>>),
    Read(PeerName, MessageId, usize, Waiter<Vec<bytes::Bytes>>),
    Letters(Waiter<Vec<(LetterId, DeadLetter)>>),
}

/// One entry of a key.
#[derive(Debug)]
pub(crate) enum Operation {
    Write(Write),
    Lazy(Lazies),
    Query(Query),
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    queues: HashMap<QueueKey, VecDeque<Operation>>,
    /// The queues that are not empty, in the order of their turns.
    turns: VecDeque<QueueKey>,
    /// Reads that do not depend on anything in a key.
    express: Vec<Query>,
    /// How many operations are not lazy.
    urgent: usize,
    /// How many are.
    lazy: usize,
    /// When the lazy ones are due.
    due: Option<Instant>,
}

impl Queue {
    pub(crate) fn write(&mut self, key: QueueKey, write: Write) {
        self.urgent += 1;
        self.key(key).push_back(Operation::Write(write));
    }

    /// Adds to the lazies at the end of a peer's key.
    pub(crate) fn lazy(&mut self, peer: PeerName, now: Instant, add: impl FnOnce(&mut Lazies)) {
        let key = Some(peer);
        if let Some(Operation::Lazy(last)) = self.queues.get_mut(&key).and_then(VecDeque::back_mut)
        {
            return add(last);
        }
        let mut lazies = Lazies::new(now);
        add(&mut lazies);
        self.lazy += 1;
        self.due.get_or_insert(now + PATIENCE);
        self.key(key).push_back(Operation::Lazy(lazies));
    }

    /// Puts lazies back that could not be written yet, before everything that was asked for since.
    pub(crate) fn put_back(&mut self, peer: PeerName, mut lazies: Lazies) {
        self.due = Some(lazies.since + PATIENCE);
        self.lazy += 1;
        let operations = self.key(Some(peer));
        match operations.pop_front() {
            Some(Operation::Lazy(later)) => {
                lazies.then(later);
                operations.push_front(Operation::Lazy(lazies));
                self.lazy -= 1;
            }
            other => {
                if let Some(operation) = other {
                    operations.push_front(operation);
                }
                operations.push_front(Operation::Lazy(lazies));
            }
        }
    }

    pub(crate) fn query(&mut self, key: QueueKey, query: Query) {
        if !self.has_to_wait(&key, &query) {
            self.express.push(query);
            return;
        }
        self.urgent += 1;
        self.key(key).push_back(Operation::Query(query));
    }

    /// Whether the answer depends on what is in the key. A read of messages that are stored already
    /// does not: it must not wait until a long queue is written.
    pub(crate) fn has_to_wait(&self, key: &QueueKey, query: &Query) -> bool {
        let Some(operations) = self.queues.get(key) else { return false };
        let Query::Read(_, first, ..) = query else { return true };
        operations.iter().any(|operation| match operation {
            Operation::Write(Write::Append(message, _)) => {
                message.id.stream == first.stream && message.id.number <= first.number
            }
            Operation::Lazy(lazies) => lazies.trims(&first.stream, first.number),
            Operation::Write(_) | Operation::Query(_) => false,
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

    /// Takes what goes into the next transaction, each key in turn, and what can be read before it.
    pub(crate) fn take(&mut self) -> Batch {
        let mut batch = Batch::new(self.take_express());
        for _ in 0..self.turns.len() {
            if batch.is_full() {
                break;
            }
            let Some(key) = self.turns.pop_front() else { break };
            let Some(operations) = self.queues.get_mut(&key) else { continue };
            let mut share = Share::default();
            while let Some(operation) = operations.pop_front() {
                match batch.take(&key, operation, &mut share) {
                    Ok(true) => self.lazy -= 1,
                    Ok(false) => self.urgent -= 1,
                    Err(operation) => {
                        operations.push_front(operation);
                        break;
                    }
                }
            }
            if operations.is_empty() {
                self.queues.remove(&key);
            } else {
                self.turns.push_back(key);
            }
        }
        if self.lazy == 0 {
            self.due = None;
        }
        batch
    }

    /// Refuses everything but the lazies, and the reads that depend on nothing.
    pub(crate) fn refuse_urgent(&mut self, why: &StoreError) {
        for key in std::mem::take(&mut self.turns) {
            let Some(operations) = self.queues.remove(&key) else { continue };
            let mut kept: Option<Lazies> = None;
            for operation in operations {
                match operation {
                    Operation::Write(write) => write.refuse(why),
                    Operation::Query(query) => query.refuse(why),
                    Operation::Lazy(lazies) => match &mut kept {
                        Some(kept) => kept.then(lazies),
                        None => kept = Some(lazies),
                    },
                }
            }
            if let Some(kept) = kept {
                self.turns.push_back(key.clone());
                self.queues.insert(key, VecDeque::from([Operation::Lazy(kept)]));
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
        for operation in std::mem::take(self).queues.into_values().flatten() {
            if let Operation::Lazy(lazies) = operation {
                lazies.answer(&Err(why.clone()));
            }
        }
    }

    fn key(&mut self, key: QueueKey) -> &mut VecDeque<Operation> {
        let Self { queues, turns, .. } = self;
        queues.entry(key).or_insert_with_key(|key| {
            turns.push_back(key.clone());
            VecDeque::new()
        })
    }
}

impl Write {
    pub(crate) fn refuse(self, why: &StoreError) {
        // Nobody may wait any more; then nobody is told.
        match self {
            Self::Append(_, waiter) | Self::AddLetter(_, waiter) => {
                drop(waiter.send(Err(why.clone())))
            }
            Self::Attempt(_, waiter) => drop(waiter.send(Err(why.clone()))),
            Self::TakeLetter(_, waiter) => drop(waiter.send(Err(why.clone()))),
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
