//! The bounds of one link.

use crate::Messages;

/// A point in time, in milliseconds since any fixed moment, the same for one link.
pub type Millis = u64;

/// How much one link may hold, and how long an acknowledgement may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkConfig {
    /// The most bytes that the peer may have sent and this side not handled. At least one message
    /// of `max_payload` fits, whatever is written here.
    pub window: u32,
    /// The longest message that is accepted, in bytes.
    pub max_payload: u32,
    /// The most messages that wait for the peer's acknowledgement.
    pub outbox_messages: usize,
    /// The most bytes, Σ(24 + length), that wait for the peer's acknowledgement.
    pub outbox_bytes: u64,
    /// The most messages that are transmitted and not acknowledged.
    pub in_flight: u64,
    /// The most bytes, Σ(4 + length), of messages that travel in one frame, where the peer
    /// understands that. Nothing waits for it: only messages that wait anyway travel together.
    pub batch: u32,
    /// How long an acknowledgement waits for a message that can carry it, in milliseconds.
    pub ack_delay: Millis,
}

/// 1 MiB messages, a window of 8 MiB, an outbox of 10 000 messages and 16 MiB, batches of 16 KiB,
/// acknowledgements within 20 ms.
impl Default for LinkConfig {
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            window: 8 * MIB,
            max_payload: MIB,
            outbox_messages: 10_000,
            outbox_bytes: 16 * u64::from(MIB),
            in_flight: 4_096,
            batch: Messages::SHARED,
            ack_delay: 20,
        }
    }
}
