//! Messages for the consumers of the local API.

use paddington::{Handler, Message, accept_bytes};

/// Hands the messages of a service to the consumers of its local API.
#[derive(Clone, Debug, Default)]
pub struct Inbox;

impl Inbox {
    /// Makes an inbox.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// Returns the handler of the service whose messages it hands on.
    pub fn handler(&self) -> impl Handler {
        accept_bytes(
            async |message: Message| {
                if message.is_control() { Ok(()) } else { Err("no consumer is connected") }
            },
        )
    }
}
