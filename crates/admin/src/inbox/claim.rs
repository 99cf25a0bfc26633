//! The handler: how a message gets into the inbox, and what its end there means. A message is here
//! exactly as long as the exchange waits for its handler. Implements "Handlers" of `docs/delivery.md`
//! and `docs/api.md`.

use std::sync::Arc;
use std::time::Duration;

use paddington::{Config, Handler, HandlerError, Message, Unhandled};
use thiserror::Error;

use super::inbox::{Inbox, Shared};

/// The number of messages of one peer that consumers may have, or that wait for them, at the same
/// time. They are handed out in order; one that has failed does not hold up those after it.
pub const CONCURRENCY: usize = 256;

/// The number of messages of all peers that may be handed out or wait for that: as many as there is
/// room for, which `inbox_bytes_total` bounds, because a message here only waits.
pub const HANDLERS: usize = 1 << 24;

/// The error of a message that its consumer could not handle.
#[derive(Debug, Error)]
#[error("the consumer has failed: {0}")]
pub(crate) struct Failed(pub(crate) String);

impl Inbox {
    /// Changes the settings of a service whose messages go to this inbox: several messages of a peer
    /// are handled at a time, without a limit of time. How long a consumer may take is up to its lease,
    /// and a message that only waits for a consumer is not one whose handling ends the process.
    pub fn adapt(config: &mut Config) {
        config.concurrency = config.concurrency.max(CONCURRENCY);
        config.handlers = config.handlers.max(HANDLERS);
        config.handler_timeout = Duration::ZERO;
        config.crashes = u32::MAX;
    }

    /// Returns the handler of the service whose messages it hands out.
    #[must_use]
    pub fn handler(&self) -> impl Handler {
        Intake(self.clone())
    }
}

/// The handler of a service whose messages go to consumers.
struct Intake(Inbox);

impl Handler for Intake {
    async fn handle(&self, message: Message) -> Result<(), HandlerError> {
        if message.is_control() {
            return Ok(());
        }
        self.0.watch_shutdown();
        let shared = &self.0.shared;
        let (number, outcome) = shared.lock().put(message).ok_or(Unhandled)?;
        shared.tell();
        let _claim = Claim { shared, number };
        match outcome.await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(_) => Err(Unhandled.into()),
        }
    }

    fn takes_bytes(&self) -> bool {
        true
    }

    fn begins_in_order(&self) -> bool {
        true
    }
}

/// The place of a message in the inbox. When the exchange does not wait for it any more, it is taken
/// out: because it is done, or its request was cancelled or is too late, or its peer was removed.
struct Claim<'a> {
    shared: &'a Arc<Shared>,
    number: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let removed = self.shared.lock().remove(self.number);
        if removed {
            self.shared.tell();
        }
    }
}
