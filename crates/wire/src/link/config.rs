//! The limits of one link.

use crate::{Data, Messages, Ready};

/// A point in time, in milliseconds since any fixed moment, the same for one link.
pub type Millis = u64;

/// Limits of one link.
///
/// ```
/// use paddington_wire::link::LinkConfig;
///
/// let config = LinkConfig { outbox_messages: 100, ..LinkConfig::default() };
/// assert!(config.room_for(1_024, 99, 0).is_ok());
/// assert!(config.room_for(1_024, 100, 0).is_err(), "100 messages wait already");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkConfig {
    /// Maximum number of bytes that the peer may have sent and this side has not handled. At least
    /// one message of `max_payload` always fits.
    pub window: u32,
    /// The part of the window that every session begins with. The rest has to be
    /// [granted](super::Link::widen).
    pub first_window: u32,
    /// Bytes that a message takes beside its payload until it is handled. The least is the 24 bytes
    /// that it takes of the credit.
    pub held_overhead: u64,
    /// Length of the longest message that is accepted, in bytes.
    pub max_payload: u32,
    /// Maximum number of messages that wait for the peer's acknowledgement.
    pub outbox_messages: usize,
    /// Maximum number of bytes, Σ(24 + length), that wait for the peer's acknowledgement.
    pub outbox_bytes: u64,
    /// Maximum number of messages that are transmitted and not acknowledged.
    pub in_flight: u64,
    /// Maximum number of messages, at least 1, by which the transmission mark of a stored stream is
    /// ahead of what is transmitted.
    pub mark_step: u64,
    /// Maximum number of bytes, Σ(4 + length), of messages in one frame, if the peer understands
    /// batches. No message waits to fill a batch: only messages that wait anyway share a frame.
    pub batch: u32,
    /// Delay for which an acknowledgement waits for a message that can carry it, in milliseconds.
    pub ack_delay: Millis,
    /// Number of rejections of one stream, at least 1, after which completions are held back, until a
    /// new READY of the peer shows which of them it knows.
    pub rejections: usize,
    /// Maximum number of streams that READY lists, from 2 up to [`Ready::MAX_ENTRIES`].
    pub listed: usize,
    /// Maximum number of unanswered requests of the peer, for each depth; 0 if none is answered.
    pub requests: u16,
    /// Maximum number of bytes, Σ(24 + length), of unanswered requests of the peer, for each depth.
    /// At least one request of `max_payload` always fits.
    pub request_window: u32,
    /// Maximum number of bytes, Σ(24 + length), of replies that the peer has not acknowledged. At
    /// least one of `max_payload` always fits.
    pub reply_bytes: u64,
    /// Maximum number of requests that wait to be transmitted.
    pub waiting_requests: usize,
    /// Maximum number of bytes, Σ(24 + length), of requests that wait to be transmitted. At least
    /// one of `max_payload` always fits.
    pub waiting_request_bytes: u64,
    /// Time for which the cursor of an instance that has ended is kept, in milliseconds: it may come
    /// back after another process has used its invitation meanwhile.
    pub ended_time: Millis,
    /// Maximum number of such cursors. With fewer than READY lists, a stream may be forgotten that
    /// the peer was told of.
    pub ended: usize,
}

impl LinkConfig {
    /// Returns the credit that a longest message uses, in bytes.
    #[must_use]
    pub fn longest(&self) -> u64 {
        Data::cost(self.max_payload as usize)
    }

    /// Returns the bytes of unanswered requests of one depth that READY allows.
    pub(super) fn request_window(&self) -> u32 {
        self.request_window.max(u32::try_from(self.longest()).unwrap_or(u32::MAX))
    }

    /// Returns the bytes that a message of `len` bytes takes until it is handled.
    pub(super) fn held(&self, len: usize) -> u64 {
        self.held_overhead + len as u64
    }

    /// Returns the bytes that a peer may hold beyond its window, because credit counts less for a
    /// message than it takes. A peer that has no more than the usual number of messages in flight
    /// does not exceed it.
    #[must_use]
    pub fn allowance(&self) -> u64 {
        self.in_flight.saturating_mul(self.held_overhead.saturating_sub(Data::cost(0)))
    }
}

/// 1 MiB messages, a window of 8 MiB, an outbox of 10 000 messages and 16 MiB, batches of 16 KiB,
/// acknowledgements within 20 ms, 1 024 rejections, 64 streams in READY, the cursors of 64 ended
/// instances for a day; of each depth 128 requests and 2 MiB, 8 MiB of replies, 1 024 requests and
/// 16 MiB that wait.
impl Default for LinkConfig {
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            window: 8 * MIB,
            first_window: u32::MAX,
            held_overhead: Data::cost(0),
            max_payload: MIB,
            outbox_messages: 10_000,
            outbox_bytes: 16 * u64::from(MIB),
            in_flight: 4_096,
            mark_step: 1_024,
            batch: Messages::SHARED,
            ack_delay: 20,
            rejections: 1_024,
            listed: Ready::MAX_ENTRIES,
            requests: 128,
            request_window: 2 * MIB,
            reply_bytes: 8 * u64::from(MIB),
            waiting_requests: 1_024,
            waiting_request_bytes: 16 * u64::from(MIB),
            ended_time: 24 * 60 * 60 * 1_000,
            ended: 64,
        }
    }
}
