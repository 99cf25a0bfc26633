//! Changes that need not be durable at once. Only the newest of their kind count.

use std::collections::BTreeMap;

use paddington_exchange::store::Fate;
use paddington_exchange::store::parts::{CursorChange, Waiter, Waiters, raise};
use paddington_wire::{Instance, MessageId};

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
        change.add_to(&mut self.cursors, cursor);
        self.of_lane.add(waiter);
    }

    /// Adds changes that were asked for later.
    pub(crate) fn then(&mut self, later: Self) {
        later.trims.into_iter().for_each(|(stream, upto)| raise(&mut self.trims, stream, upto));
        later.marks.into_iter().for_each(|(stream, upto)| raise(&mut self.marks, stream, upto));
        self.add_fates(later.fates);
        for (cursor, change) in later.cursors {
            change.add_to(&mut self.cursors, cursor);
        }
        self.of_owner.extend(later.of_owner);
        self.of_lane.extend(later.of_lane);
    }

    fn add_fates(&mut self, fates: Vec<Fate>) {
        self.fates.extend(fates);
        let surplus = self.fates.len().saturating_sub(MAX_FATES);
        self.fates.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use paddington_exchange::store::StoredCursor;
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
    fn fates_do_not_pile_up() {
        let mut lazies = Lazies::default();
        let stream: Instance = [1; 16].into();
        for number in 0..10_000 {
            let id = MessageId { stream, number };
            let fate = Fate { id, outcome: Outcome::Expired, text: RejectText::NONE };
            lazies.settle(vec![fate], oneshot::channel().0);
        }
        assert_eq!((lazies.fates.len(), lazies.fates[0].id.number), (MAX_FATES, 10_000 - 4_096));
    }
}
