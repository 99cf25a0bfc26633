//! Changes that need not be durable at once: trims, marks and cursors of one mailbox. Only the newest count.

use std::collections::BTreeMap;
use std::time::Instant;

use paddington_exchange::store::StoreError;
use paddington_exchange::store::parts::{CursorChange, Waiter, Waiters, raise};
use paddington_wire::Instance;

/// Lazy changes for one mailbox, merged into the first of them.
#[derive(Debug)]
pub(crate) struct Lazies {
    /// Time at which the first of them was asked for.
    pub(crate) since: Instant,
    /// Number up to which each stream is trimmed.
    pub(crate) trims: BTreeMap<Instance, u64>,
    /// The transmission mark of each stream.
    pub(crate) marks: BTreeMap<Instance, u64>,
    /// Changes of cursors.
    pub(crate) cursors: BTreeMap<Instance, CursorChange>,
    waiters: Waiters,
}

impl Lazies {
    pub(crate) fn new(since: Instant) -> Self {
        Self {
            since,
            trims: BTreeMap::new(),
            marks: BTreeMap::new(),
            cursors: BTreeMap::new(),
            waiters: Waiters::default(),
        }
    }

    /// Approximate number of rows that are touched.
    pub(crate) fn len(&self) -> usize {
        self.trims.len() + self.marks.len() + self.cursors.len()
    }

    pub(crate) fn trim(&mut self, stream: Instance, upto: u64, waiter: Waiter<()>) {
        raise(&mut self.trims, stream, upto);
        self.waiters.add(waiter);
    }

    pub(crate) fn mark(&mut self, stream: Instance, upto: u64, waiter: Waiter<()>) {
        raise(&mut self.marks, stream, upto);
        self.waiters.add(waiter);
    }

    pub(crate) fn change(&mut self, cursor: Instance, change: CursorChange, waiter: Waiter<()>) {
        change.add_to(&mut self.cursors, cursor);
        self.waiters.add(waiter);
    }

    /// Adds changes that were asked for later.
    pub(crate) fn then(&mut self, later: Self) {
        later.trims.into_iter().for_each(|(stream, upto)| raise(&mut self.trims, stream, upto));
        later.marks.into_iter().for_each(|(stream, upto)| raise(&mut self.marks, stream, upto));
        for (cursor, change) in later.cursors {
            change.add_to(&mut self.cursors, cursor);
        }
        self.waiters.extend(later.waiters);
    }

    /// Returns whether the stream is trimmed up to `number` or further.
    pub(crate) fn trims(&self, stream: &Instance, number: u64) -> bool {
        self.trims.get(stream).is_some_and(|upto| *upto >= number)
    }

    pub(crate) fn answer(self, result: &Result<(), StoreError>) {
        self.waiters.answer(result);
    }
}

#[cfg(test)]
mod tests {
    use paddington_exchange::store::StoredCursor;
    use tokio::sync::oneshot;

    use super::*;

    fn cursor(completed: u64) -> StoredCursor {
        StoredCursor { instance: [1; 16].into(), completed, finished: vec![] }
    }

    #[test]
    fn only_the_newest_counts() {
        let mut lazies = Lazies::new(Instant::now());
        let one: Instance = [1; 16].into();
        for number in [3, 7, 5] {
            lazies.trim(one, number, oneshot::channel().0);
            let change = CursorChange::Replace(cursor(number));
            lazies.change(one, change, oneshot::channel().0);
        }
        assert_eq!(lazies.len(), 2);
        assert_eq!(lazies.trims[&one], 7);
        assert!(lazies.trims(&one, 7) && !lazies.trims(&one, 8));
        let CursorChange::Replace(newest) = &lazies.cursors[&one] else { panic!("no cursor") };
        assert_eq!(newest.completed, 5);

        let mut later = Lazies::new(Instant::now());
        later.change(one, CursorChange::Forget, oneshot::channel().0);
        lazies.then(later);
        assert!(matches!(lazies.cursors[&one], CursorChange::Forget));
        lazies.change(one, CursorChange::Replace(cursor(1)), oneshot::channel().0);
        assert!(matches!(lazies.cursors[&one], CursorChange::Renew(_)));
    }
}
