//! One pending connection.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Admission, LimitReached};
use crate::prefix::Prefix;

/// A connection that is not established yet. Dropping it frees what it counts against.
#[derive(Debug)]
pub(crate) struct PendingConnection {
    admission: Arc<Admission>,
    number: u64,
    from: OnceLock<Prefix>,
    answered: AtomicBool,
    authentic: AtomicBool,
    evicted: CancellationToken,
}

/// What a pending connection is to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    Request,
    Hello,
    Ready,
}

impl PendingConnection {
    pub(super) fn new(
        admission: &Arc<Admission>,
        number: u64,
        from: Option<Prefix>,
        evicted: CancellationToken,
    ) -> Self {
        let from = from.map_or_else(OnceLock::new, OnceLock::from);
        let (answered, authentic) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { admission: Arc::clone(admission), number, from, answered, authentic, evicted }
    }

    /// Sets the address that a proxy reports, and checks its limits.
    pub(crate) fn resolve(&self, address: IpAddr, now: Instant) -> Result<(), LimitReached> {
        let mut state = self.admission.lock();
        if !state.pending.contains_key(&self.number) {
            return Ok(()); // it was evicted, and takes nobody's place
        }
        let from = Prefix::from(address);
        state.make_room_at(from, &self.admission.limits, now)?;
        let known = state.known.contains(&from);
        if let Some(mut entry) = state.remove(self.number) {
            (entry.from, entry.known) = (Some(from), known);
            state.insert(self.number, entry);
        }
        let _ = self.from.set(from); // a connection has one request
        Ok(())
    }

    /// Ends the silence: the request was answered, and the hello is awaited.
    pub(crate) fn answered(&self, now: Instant) {
        self.answered.store(true, Ordering::Relaxed);
        let mut state = self.admission.lock();
        if let Some(mut entry) = state.remove(self.number) {
            entry.answered = Some(now);
            state.insert(self.number, entry);
        }
    }

    /// Stops counting as pending: the peer is authenticated.
    pub(crate) fn authenticated(&self) {
        self.authentic.store(true, Ordering::Relaxed);
        self.admission.lock().remove(self.number);
    }

    /// Keeps room for the next connections from its address: this one is established.
    pub(crate) fn established(self) {
        if let Some(from) = self.from.get() {
            self.admission.know(*from);
        }
    }

    /// Charges its address for a malformed request or a hello that failed.
    pub(crate) fn failed(self, now: Instant) {
        if let Some(from) = self.from.get() {
            self.admission.lock().attempts.charge(*from, &self.admission.limits, now);
        }
    }

    /// Returns what it is to send next.
    pub(crate) fn awaited(&self) -> Awaited {
        match (self.answered.load(Ordering::Relaxed), self.authentic.load(Ordering::Relaxed)) {
            (_, true) => Awaited::Ready,
            (true, false) => Awaited::Hello,
            (false, false) => Awaited::Request,
        }
    }

    /// Resolves when this connection is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    #[cfg(test)]
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.is_cancelled()
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.admission.lock().remove(self.number);
    }
}
