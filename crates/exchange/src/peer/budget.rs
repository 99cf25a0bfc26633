//! A number of bytes that all peers share.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes that all peers share.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    max: u64,
}

impl Budget {
    pub(super) fn new(max: u64) -> Self {
        Self { used: AtomicU64::new(0), max }
    }

    /// Takes `bytes`, if so many are left. Nothing can always be taken, although more may be in use
    /// than there is.
    pub(super) fn take(&self, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.max)
        });
        taken.is_ok()
    }

    /// Takes `bytes` that are in use already, whether so many are left or not.
    pub(super) fn charge(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back.
    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded() {
        let budget = Budget::new(10);
        assert!(budget.take(7) && !budget.take(4) && budget.take(3));
        budget.give(7);
        assert!(budget.take(6) && !budget.take(u64::MAX));
        budget.charge(5);
        assert!(!budget.take(1) && budget.take(0));
    }
}
