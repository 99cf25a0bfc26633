//! Operations that were asked for and are not begun yet: one queue per mailbox, in the order of the
//! calls.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use paddington_exchange::store::{Mailbox, StoreError};

use crate::lazies::Lazies;
use crate::operation::{Operation, Query, QueueKey, Write};
use crate::round::{Round, Share};

/// How long trims and cursors wait for a commit that is made for other operations anyway.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    queues: HashMap<QueueKey, VecDeque<Operation>>,
    /// The queues that are not empty, in the order of their turns.
    turns: VecDeque<QueueKey>,
    /// Queries that depend on nothing in a queue.
    independent: Vec<Query>,
    /// The queues from which the round that is being written has taken a purge, which may go on.
    purging: Vec<QueueKey>,
    /// Number of operations that are not lazy.
    urgent: usize,
    /// Number of lazy operations.
    lazy: usize,
    /// Time at which the lazy ones are due.
    due: Option<Instant>,
}

impl Queue {
    pub(crate) fn write(&mut self, key: QueueKey, write: Write) {
        self.urgent += 1;
        self.queue(key).push_back(Operation::Write(write));
    }

    /// Adds to the lazies at the end of a mailbox's queue.
    pub(crate) fn lazy(&mut self, mailbox: Mailbox, now: Instant, add: impl FnOnce(&mut Lazies)) {
        let key = Some(mailbox);
        if let Some(Operation::Lazy(last)) = self.queues.get_mut(&key).and_then(VecDeque::back_mut)
        {
            return add(last);
        }
        let mut lazies = Lazies::new(now);
        add(&mut lazies);
        self.lazy += 1;
        self.due.get_or_insert(now + PATIENCE);
        self.queue(key).push_back(Operation::Lazy(lazies));
    }

    /// Puts back lazies that could not be written yet, before everything that was asked for since.
    pub(crate) fn put_back(&mut self, mailbox: Mailbox, mut lazies: Lazies) {
        self.due = Some(lazies.since + PATIENCE);
        self.lazy += 1;
        let operations = self.queue(Some(mailbox));
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

    /// Puts back a write that is not done yet, before everything that was asked for since.
    pub(crate) fn go_on(&mut self, key: QueueKey, write: Write) {
        self.urgent += 1;
        self.queue(key).push_front(Operation::Write(write));
    }

    /// Puts back a query that is not answered yet.
    pub(crate) fn ask_on(&mut self, query: Query) {
        self.independent.push(query);
    }

    pub(crate) fn query(&mut self, key: QueueKey, query: Query) {
        if !self.has_to_wait(&key, &query) {
            self.independent.push(query);
            return;
        }
        self.urgent += 1;
        self.queue(key).push_back(Operation::Query(query));
    }

    /// Returns whether the answer depends on the operations in the queue. A read of messages that
    /// are stored already does not: it must not wait until a long queue is written.
    pub(crate) fn has_to_wait(&self, key: &QueueKey, query: &Query) -> bool {
        if self.purging.contains(key) {
            return true;
        }
        let Some(operations) = self.queues.get(key) else { return false };
        let Query::Read(_, first, ..) = query else { return true };
        operations.iter().any(|operation| match operation {
            Operation::Write(Write::Append(message, _)) => {
                message.id.stream == first.stream && message.id.number <= first.number
            }
            Operation::Write(Write::Purge(..)) => true,
            Operation::Lazy(lazies) => lazies.trims(&first.stream, first.number),
            Operation::Write(_) | Operation::Query(_) => false,
        })
    }

    /// Time at which the lazies are due, if there are any.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns whether anything waits that is not lazy.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent > 0 || !self.independent.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.independent.is_empty()
    }

    pub(crate) fn take_independent(&mut self) -> Vec<Query> {
        std::mem::take(&mut self.independent)
    }

    /// Takes the operations of the next transaction from each queue in turn, and the queries that
    /// can be answered before it.
    pub(crate) fn take(&mut self) -> Round {
        let mut round = Round::new(self.take_independent());
        self.purging.clear();
        for _ in 0..self.turns.len() {
            if round.is_full() {
                break;
            }
            let Some(key) = self.turns.pop_front() else { break };
            let Some(operations) = self.queues.get_mut(&key) else { continue };
            let mut share = Share::default();
            while let Some(operation) = operations.pop_front() {
                let purges = matches!(operation, Operation::Write(Write::Purge(..)));
                match round.take(&key, operation, &mut share) {
                    Ok(true) => self.lazy -= 1,
                    Ok(false) => {
                        self.urgent -= 1;
                        self.purging.extend(purges.then(|| key.clone()));
                    }
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
        round
    }

    /// Refuses everything except lazies and independent queries.
    pub(crate) fn refuse_urgent(&mut self, why: &StoreError) {
        self.purging.clear();
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
        for query in self.take_independent() {
            query.refuse(why);
        }
        for operation in std::mem::take(self).queues.into_values().flatten() {
            if let Operation::Lazy(lazies) = operation {
                lazies.answer(&Err(why.clone()));
            }
        }
    }

    fn queue(&mut self, key: QueueKey) -> &mut VecDeque<Operation> {
        let Self { queues, turns, .. } = self;
        queues.entry(key).or_insert_with_key(|key| {
            turns.push_back(key.clone());
            VecDeque::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use paddington_exchange::store::Purged;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_query_waits_for_all_steps_of_a_purge() {
        let hub = Mailbox { peer: "hub".parse().unwrap(), link: [1; 16].into() };
        let (key, mut queue) = (Some(hub.clone()), Queue::default());
        let purge = || Write::Purge(Purged::default(), oneshot::channel().0);
        let streams = || Query::Streams(hub.clone(), oneshot::channel().0);
        queue.write(key.clone(), purge());
        let round = queue.take();
        assert_eq!((round.queries.len(), round.operations.len()), (0, 1));
        // It is asked for while the first step is being written, which is not the last one.
        queue.query(key.clone(), streams());
        queue.go_on(key.clone(), purge());
        let round = queue.take();
        assert_eq!((round.queries.len(), round.operations.len()), (0, 1), "the second step");
        let round = queue.take();
        assert_eq!((round.queries.len(), round.operations.len()), (1, 0));
        queue.query(key, streams());
        assert_eq!(queue.take_independent().len(), 1, "there is nothing to wait for");
        assert!(queue.is_empty() && !queue.is_urgent());
    }
}
