//! Changes that need not be durable at once: trims, marks and cursors of one mailbox. Only the newest count.

use std::collections::BTreeMap;
use std::time::Instant;

use paddington_exchange::store::{StoreError, StoredCursor};
use paddington_wire::Instance;

use crate::answers::Waiter;

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
    waiters: Vec<Waiter<()>>,
    /// Number of waiters at which those with a dropped future are removed.
    tidy_at: usize,
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
}

/// The fewest waiters at which looking for dropped futures is worth it.
const FEW: usize = 64;

impl Lazies {
    pub(crate) fn new(since: Instant) -> Self {
        Self {
            since,
            trims: BTreeMap::new(),
            marks: BTreeMap::new(),
            cursors: BTreeMap::new(),
            waiters: Vec::new(),
            tidy_at: FEW,
        }
    }

    /// Approximate number of rows that are touched.
    pub(crate) fn len(&self) -> usize {
        self.trims.len() + self.marks.len() + self.cursors.len()
    }

    pub(crate) fn trim(&mut self, stream: Instance, upto: u64, waiter: Waiter<()>) {
        raise(&mut self.trims, stream, upto);
        self.wait(waiter);
    }

    pub(crate) fn mark(&mut self, stream: Instance, upto: u64, waiter: Waiter<()>) {
        raise(&mut self.marks, stream, upto);
        self.wait(waiter);
    }

    pub(crate) fn change(&mut self, cursor: Instance, change: CursorChange, waiter: Waiter<()>) {
        self.add_change(cursor, change);
        self.wait(waiter);
    }

    /// Adds changes that were asked for later.
    pub(crate) fn then(&mut self, later: Self) {
        later.trims.into_iter().for_each(|(stream, upto)| raise(&mut self.trims, stream, upto));
        later.marks.into_iter().for_each(|(stream, upto)| raise(&mut self.marks, stream, upto));
        for (cursor, change) in later.cursors {
            self.add_change(cursor, change);
        }
        self.waiters.extend(later.waiters);
    }

    /// Returns whether the stream is trimmed up to `number` or further.
    pub(crate) fn trims(&self, stream: &Instance, number: u64) -> bool {
        self.trims.get(stream).is_some_and(|upto| *upto >= number)
    }

    pub(crate) fn answer(self, result: &Result<(), StoreError>) {
        for waiter in self.waiters {
            let _ = waiter.send(result.clone());
        }
    }

    fn add_change(&mut self, cursor: Instance, change: CursorChange) {
        let change = match self.cursors.remove(&cursor) {
            Some(earlier) => earlier.then(change),
            None => change,
        };
        self.cursors.insert(cursor, change);
    }

    /// Adds a waiter. Most callers drop the future at once, and the waiters that are left must not
    /// pile up while the store fails.
    fn wait(&mut self, waiter: Waiter<()>) {
        if self.waiters.len() >= self.tidy_at {
            self.waiters.retain(|waiter| !waiter.is_closed());
            self.tidy_at = FEW.max(2 * self.waiters.len());
        }
        self.waiters.push(waiter);
    }
}

fn raise(numbers: &mut BTreeMap<Instance, u64>, stream: Instance, number: u64) {
    let raised = numbers.entry(stream).or_default();
    *raised = number.max(*raised);
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn waiters_with_a_dropped_future_do_not_pile_up() {
        let mut lazies = Lazies::new(Instant::now());
        let (kept, _answer) = oneshot::channel();
        lazies.trim([1; 16].into(), 1, kept);
        for number in 0..10_000 {
            lazies.trim([1; 16].into(), number, oneshot::channel().0);
        }
        assert!(lazies.waiters.len() <= 2 * FEW, "{} are left", lazies.waiters.len());
        assert!(lazies.waiters.iter().any(|waiter| !waiter.is_closed()));
    }
}
