//! Changes that need not be durable at once. Only the newest of their kind count.

use std::collections::BTreeMap;

use paddington_exchange::store::{Fate, StoreError, StoredCursor};
use paddington_wire::{Instance, MessageId};

use crate::database::Waiter;

/// Lazy changes of one link by one owner, merged.
#[derive(Debug, Default)]
pub(crate) struct Lazies {
    /// Number up to which each stream is trimmed.
    pub(crate) trims: BTreeMap<Instance, u64>,
    /// The transmission mark of each stream.
    pub(crate) marks: BTreeMap<Instance, u64>,
    /// Fates of messages, in the order in which they were told.
    pub(crate) fates: Vec<Fate>,
    /// Changes of cursors.
    pub(crate) cursors: BTreeMap<Instance, CursorChange>,
    /// Whoever waits for trims, marks and fates, which need the fence of the owner.
    pub(crate) of_owner: Waiters,
    /// Whoever waits for cursors, which need that of the lane.
    pub(crate) of_lane: Waiters,
}

/// A change of a cursor.
#[derive(Debug)]
pub(crate) enum CursorChange {
    /// The cursor is replaced.
    Replace(StoredCursor),
    /// The cursor is forgotten, with its attempts.
    Forget,
    /// The cursor is forgotten, with its attempts, and begins again.
    Renew(StoredCursor),
}

impl CursorChange {
    fn then(self, later: Self) -> Self {
        match (self, later) {
            (Self::Forget | Self::Renew(_), Self::Replace(cursor)) => Self::Renew(cursor),
            (_, later) => later,
        }
    }

    pub(crate) fn cursor(&self) -> Option<&StoredCursor> {
        match self {
            Self::Replace(cursor) | Self::Renew(cursor) => Some(cursor),
            Self::Forget => None,
        }
    }

    pub(crate) fn forgets(&self) -> bool {
        !matches!(self, Self::Replace(_))
    }
}

/// Number of fates of one link that wait to be written, as many as are kept.
const MAX_FATES: usize = 4_096;

impl Lazies {
    /// Approximate number of rows that are touched.
    pub(crate) fn len(&self) -> usize {
        self.trims.len() + self.marks.len() + self.fates.len() + self.cursors.len()
    }

    pub(crate) fn has_owners(&self) -> bool {
        !self.trims.is_empty() || !self.marks.is_empty() || !self.fates.is_empty()
    }

    pub(crate) fn trim(&mut self, upto: MessageId, waiter: Waiter<()>) {
        raise(&mut self.trims, upto.stream, upto.number);
        self.of_owner.add(waiter);
    }

    pub(crate) fn mark(&mut self, upto: MessageId, waiter: Waiter<()>) {
        raise(&mut self.marks, upto.stream, upto.number);
        self.of_owner.add(waiter);
    }

    pub(crate) fn settle(&mut self, fates: Vec<Fate>, waiter: Waiter<()>) {
        self.add_fates(fates);
        self.of_owner.add(waiter);
    }

    pub(crate) fn change(&mut self, cursor: Instance, change: CursorChange, waiter: Waiter<()>) {
        self.add_change(cursor, change);
        self.of_lane.add(waiter);
    }

    /// Adds changes that were asked for later.
    pub(crate) fn then(&mut self, later: Self) {
        later.trims.into_iter().for_each(|(stream, upto)| raise(&mut self.trims, stream, upto));
        later.marks.into_iter().for_each(|(stream, upto)| raise(&mut self.marks, stream, upto));
        self.add_fates(later.fates);
        for (cursor, change) in later.cursors {
            self.add_change(cursor, change);
        }
        self.of_owner.list.extend(later.of_owner.list);
        self.of_lane.list.extend(later.of_lane.list);
    }

    fn add_fates(&mut self, fates: Vec<Fate>) {
        self.fates.extend(fates);
        let surplus = self.fates.len().saturating_sub(MAX_FATES);
        self.fates.drain(..surplus);
    }

    fn add_change(&mut self, cursor: Instance, change: CursorChange) {
        let change = match self.cursors.remove(&cursor) {
            Some(earlier) => earlier.then(change),
            None => change,
        };
        self.cursors.insert(cursor, change);
    }
}

/// Those who wait for an answer.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    list: Vec<Waiter<()>>,
    /// Number of waiters at which those with a dropped future are removed.
    tidy_at: usize,
}

/// The fewest waiters at which looking for dropped futures is worth it.
const FEW: usize = 64;

impl Waiters {
    /// Adds a waiter. Most callers drop the future at once, and the waiters that are left must not
    /// pile up while the database is away.
    fn add(&mut self, waiter: Waiter<()>) {
        if self.list.len() >= self.tidy_at.max(FEW) {
            self.list.retain(|waiter| !waiter.is_closed());
            self.tidy_at = 2 * self.list.len();
        }
        self.list.push(waiter);
    }

    pub(crate) fn answer(self, result: &Result<(), StoreError>) {
        for waiter in self.list {
            let _ = waiter.send(result.clone());
        }
    }
}

fn raise(numbers: &mut BTreeMap<Instance, u64>, stream: Instance, number: u64) {
    let raised = numbers.entry(stream).or_default();
    *raised = number.max(*raised);
}

#[cfg(test)]
mod tests {
    use paddington_wire::RejectText;
    use paddington_wire::link::Outcome;
    use tokio::sync::oneshot;

    use super::*;

    fn cursor(completed: u64) -> StoredCursor {
        StoredCursor { instance: [1; 16].into(), completed, finished: vec![] }
    }

    #[test]
    fn only_the_newest_counts() {
        let mut lazies = Lazies::default();
        let stream: Instance = [1; 16].into();
        for number in [3, 7, 5] {
            lazies.trim(MessageId { stream, number }, oneshot::channel().0);
            let change = CursorChange::Replace(cursor(number));
            lazies.change(stream, change, oneshot::channel().0);
        }
        assert_eq!((lazies.len(), lazies.trims[&stream]), (2, 7));
        assert_eq!(lazies.cursors[&stream].cursor(), Some(&cursor(5)));

        let mut later = Lazies::default();
        later.change(stream, CursorChange::Forget, oneshot::channel().0);
        lazies.then(later);
        assert!(matches!(lazies.cursors[&stream], CursorChange::Forget));
        lazies.change(stream, CursorChange::Replace(cursor(1)), oneshot::channel().0);
        assert!(matches!(lazies.cursors[&stream], CursorChange::Renew(_)));
    }

    #[test]
    fn neither_waiters_with_a_dropped_future_nor_fates_pile_up() {
        let mut lazies = Lazies::default();
        let (kept, _answer) = oneshot::channel();
        let stream: Instance = [1; 16].into();
        lazies.trim(MessageId { stream, number: 1 }, kept);
        for number in 0..10_000 {
            let id = MessageId { stream, number };
            let fate = Fate { id, outcome: Outcome::Expired, text: RejectText::NONE };
            lazies.settle(vec![fate], oneshot::channel().0);
        }
        assert!(lazies.of_owner.list.len() <= 2 * FEW, "{} are left", lazies.of_owner.list.len());
        assert!(lazies.of_owner.list.iter().any(|waiter| !waiter.is_closed()));
        assert_eq!((lazies.fates.len(), lazies.fates[0].id.number), (MAX_FATES, 10_000 - 4_096));
    }
}
