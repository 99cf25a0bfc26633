//! Changes that need not be durable at once, of which only the newest counts.

use std::collections::BTreeMap;

use paddington_wire::Instance;

use super::Waiter;
use crate::store::{StoreError, StoredCursor};

/// A change of a cursor.
#[derive(Debug)]
pub enum CursorChange {
    /// The cursor is replaced.
    Replace(StoredCursor),
    /// The cursor is forgotten, with its attempts.
    Forget,
    /// The cursor is forgotten, with its attempts, and begins again.
    Renew(StoredCursor),
}

impl CursorChange {
    /// Adds this change to those of the other cursors.
    pub fn add_to(self, changes: &mut BTreeMap<Instance, Self>, cursor: Instance) {
        let change = match (changes.remove(&cursor), self) {
            (Some(Self::Forget | Self::Renew(_)), Self::Replace(cursor)) => Self::Renew(cursor),
            (_, later) => later,
        };
        changes.insert(cursor, change);
    }

    /// Returns the cursor as it is then, if there is one.
    #[must_use]
    pub fn cursor(&self) -> Option<&StoredCursor> {
        match self {
            Self::Replace(cursor) | Self::Renew(cursor) => Some(cursor),
            Self::Forget => None,
        }
    }

    /// Returns whether what was there before is forgotten.
    #[must_use]
    pub fn forgets(&self) -> bool {
        !matches!(self, Self::Replace(_))
    }
}

/// Raises a number of a stream.
pub fn raise(numbers: &mut BTreeMap<Instance, u64>, stream: Instance, number: u64) {
    let raised = numbers.entry(stream).or_default();
    *raised = number.max(*raised);
}

/// Those who wait for the same answer.
#[derive(Debug, Default)]
pub struct Waiters {
    list: Vec<Waiter<()>>,
    /// Number of waiters at which those with a dropped future are removed.
    tidy_at: usize,
}

/// The fewest waiters at which looking for dropped futures is worth it.
const FEW: usize = 64;

impl Waiters {
    /// Adds a waiter. Most callers drop the future at once, and the waiters that are left must not
    /// pile up while a store fails.
    pub fn add(&mut self, waiter: Waiter<()>) {
        if self.list.len() >= self.tidy_at.max(FEW) {
            self.list.retain(|waiter| !waiter.is_closed());
            self.tidy_at = 2 * self.list.len();
        }
        self.list.push(waiter);
    }

    /// Adds those who wait for a later answer.
    pub fn extend(&mut self, later: Self) {
        self.list.extend(later.list);
    }

    /// Answers all of them.
    pub fn answer(self, result: &Result<(), StoreError>) {
        for waiter in self.list {
            let _ = waiter.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn waiters_with_a_dropped_future_do_not_pile_up() {
        let mut waiters = Waiters::default();
        let (kept, _answer) = oneshot::channel();
        waiters.add(kept);
        for _ in 0..10_000 {
            waiters.add(oneshot::channel().0);
        }
        assert!(waiters.list.len() <= 2 * FEW, "{} are left", waiters.list.len());
        assert!(waiters.list.iter().any(|waiter| !waiter.is_closed()));
    }
}
