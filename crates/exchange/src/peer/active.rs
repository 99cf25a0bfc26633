//! What a peer has once something has happened to it: its state behind a lock, and those who wait for
//! changes of it. Most peers of a large server do without.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::state::State;

/// A peer to which something has happened.
pub(super) struct Active {
    state: Mutex<State>,
    /// Notified whenever a message that waits here has its outcome.
    pub(super) progress: Notify,
    /// Notified whenever there is something for the store task to do.
    pub(super) work: Notify,
    /// Notified whenever the connection that holds the slot has shown a sign of life, or is gone.
    pub(super) heard: Notify,
    /// Notified whenever the connection that holds the slot has ended.
    pub(super) ended: Notify,
    /// Senders that wait for room queue here, so that they get it in the order in which they came.
    pub(super) turn: AsyncMutex<()>,
}

impl Active {
    pub(super) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            progress: Notify::new(),
            work: Notify::new(),
            heard: Notify::new(),
            ended: Notify::new(),
            turn: AsyncMutex::new(()),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
