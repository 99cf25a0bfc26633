//! How many terms of this replica have begun, and how they have ended.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Event;

/// Numbers of terms, by the events that tell of them.
#[derive(Debug, Default)]
pub(crate) struct TermCounts {
    claimed: AtomicU64,
    yielded: AtomicU64,
    deposed: AtomicU64,
}

impl TermCounts {
    /// Counts an event, if it is the beginning or the end of a term.
    pub(super) fn note(&self, event: &Event) {
        let count = match event {
            Event::Claimed { .. } => &self.claimed,
            Event::Yielded { .. } => &self.yielded,
            Event::Deposed { .. } => &self.deposed,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many links were claimed, given up, and lost.
    pub(crate) fn read(&self) -> [u64; 3] {
        [&self.claimed, &self.yielded, &self.deposed].map(|count| count.load(Ordering::Relaxed))
    }
}
