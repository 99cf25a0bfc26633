//! Since when peers are away.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Since when required peers are away.
#[derive(Debug)]
pub(crate) struct Absences {
    begun: Instant,
    away: Mutex<HashMap<String, Instant>>,
}

impl Absences {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), away: Mutex::default() }
    }

    /// Notes that a peer is connected, or away from now on: its connection has ended, or it is at another replica still.
    pub(crate) fn note(&self, peer: &str, is_connected: bool) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if is_connected {
            away.remove(peer);
        } else {
            away.insert(peer.to_owned(), Instant::now());
        }
    }

    /// Returns since when a peer is away that is not connected: if it never was there, since the start.
    pub(crate) fn since(&self, peer: &str) -> Instant {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.get(peer).copied().unwrap_or(self.begun)
    }
}
