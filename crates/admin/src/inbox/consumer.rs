//! A consumer: what it waits for, what it takes, and that what it has not acknowledged comes again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::inbox::Shared;
use super::queue::{Given, Holder};

/// Bytes of payload that are handed out at a time, unless one message has more.
const BYTES: usize = 1024 * 1024;

/// The wishes of a consumer.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The peer whose messages it wants; `None` for those of all.
    pub(crate) peer: Option<String>,
    /// The most messages that it takes at a time; of a stream, that it has without having acknowledged
    /// them.
    pub(crate) max: usize,
}

/// A consumer of messages.
pub(crate) struct Consumer {
    shared: Arc<Shared>,
    holder: Holder,
    /// How long it may take; `None` if it has its messages until it is dropped.
    lease: Option<Duration>,
}

impl Consumer {
    pub(super) fn new(shared: Arc<Shared>, holder: Holder, lease: Option<Duration>) -> Self {
        Self { shared, holder, lease }
    }

    /// Waits until there are messages, and takes them. Returns `None` if the service shuts down and
    /// nothing that this consumer has can be acknowledged any more.
    pub(crate) async fn next(&self, wanted: &Wanted) -> Option<Vec<Given>> {
        loop {
            let mut changed = pin!(self.shared.changed());
            changed.as_mut().enable();
            let given = self.take(wanted)?;
            if !given.is_empty() {
                return Some(given);
            }
            changed.await;
        }
    }

    /// Takes what is there. A consumer with a lease that is heard of here keeps longer what it has.
    pub(crate) fn take(&self, wanted: &Wanted) -> Option<Vec<Given>> {
        let mut queue = self.shared.lock();
        let held = queue.held(&self.holder);
        if queue.is_closed() && (held == 0 || self.lease.is_some()) {
            return None;
        }
        let max = match self.lease {
            Some(_) => wanted.max,
            None => wanted.max.saturating_sub(held),
        };
        let given = queue.take(&self.holder, wanted.peer.as_deref(), (max, BYTES));
        if let Some(lease) = self.lease
            && held + given.len() > 0
        {
            queue.lease(&self.holder, lease);
            self.shared.watch_leases();
        }
        Some(given)
    }

    /// Gives back what it has, as a consumer does that has forgotten it.
    pub(crate) fn give_back(&self) {
        self.shared.lock().release(&self.holder);
        self.shared.tell();
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.lease.is_none() {
            self.give_back();
        }
    }
}
