//! What all outboxes together may hold.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes that many draw from.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    max: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Self {
        Self { used: AtomicU64::new(0), max }
    }

    /// Takes `bytes`, if they are there.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.max)
        });
        taken.is_ok()
    }

    /// Takes `bytes` that are in use already, whether they are there or not.
    pub(crate) fn force(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back.
    pub(crate) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_bounded() {
        let budget = Budget::new(10);
        assert!(budget.take(7) && !budget.take(4) && budget.take(3));
        budget.give(7);
        assert!(budget.take(6) && !budget.take(u64::MAX));
    }
}
