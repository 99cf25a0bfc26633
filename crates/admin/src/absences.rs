//! Since when peers are away.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// When required peers were there.
#[derive(Debug)]
pub(crate) struct Absences {
    begun: Instant,
    seen: Mutex<HashMap<String, Instant>>,
}

impl Absences {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), seen: Mutex::default() }
    }

    /// Notes that a peer is there, or has been until now.
    pub(crate) fn note_seen(&self, peer: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(peer.to_owned(), Instant::now());
    }

    /// Returns since when a peer is away that is not there: if it never was, since the start.
    pub(crate) fn since(&self, peer: &str) -> Instant {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(peer).copied().unwrap_or(self.begun)
    }
}
