//! The bounds of one link.

use super::outbound::Full;
use crate::{Data, Messages};

/// How much one link may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkConfig {
    /// The most that the peer may have sent and this side not handled, in bytes. At least one
    /// message of `max_payload` fits, whatever is written here.
    pub window: u32,
    /// The longest message that is accepted, in bytes.
    pub max_payload: u32,
    /// The most messages that wait for the peer's acknowledgement.
    pub outbox_messages: usize,
    /// The most bytes, Σ(24 + length), that wait for the peer's acknowledgement.
    pub outbox_bytes: u64,
    /// The most messages that are under way at a time: transmitted and not acknowledged.
    pub in_flight: u64,
    /// The most bytes, Σ(4 + length), of messages that travel in one frame, where the peer
    /// understands that. Nothing waits for it: only what waits anyway travels together.
    pub batch: u32,
}

/// 1 MiB messages, a window of 8 MiB, an outbox of 10 000 messages and 16 MiB, batches of 16 KiB.
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
        }
    }
}

impl LinkConfig {
    /// Whether one more message, of `len` bytes, fits into an outbox in which so much waits.
    ///
    /// # Errors
    ///
    /// [`Full`] if it does not.
    pub fn room_for(&self, len: usize, messages: usize, bytes: u64) -> Result<(), Full> {
        let fits = messages < self.outbox_messages && bytes + Data::cost(len) <= self.outbox_bytes;
        if fits { Ok(()) } else { Err(Full { messages, bytes }) }
    }

    /// The window with the promise kept that one longest message fits.
    pub(super) fn whole_window(&self) -> u64 {
        u64::from(self.window).max(Data::cost(self.max_payload as usize))
    }
}
