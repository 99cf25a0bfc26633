//! One session of a link: everything that lasts as long as one connection.

use super::LinkConfig;
use super::acks::{Acks, Facts};
use super::credit::{Credit, Window};
use crate::{Features, Instance, Ready, SessionId, Violation};

/// Consequences of a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whether the peer's instance was not seen before.
    pub new_instance: bool,
    /// Whether the peer's READY has acknowledged messages of this side.
    pub progress: bool,
    /// Whether the peer has received messages of an earlier instance that this side's store does
    /// not know: the store was restored from an older copy, or has lost something (rule R10).
    pub regressed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkSession {
    pub(super) id: SessionId,
    /// The streams that the peer listed; DATA refers to them by index.
    pub(super) theirs: Vec<Instance>,
    /// The streams that this side listed; an acknowledgement refers to them by index.
    pub(super) ours: Vec<Instance>,
    /// The longest message that the peer accepts, in bytes.
    pub(super) max_payload: u32,
    /// The most bytes of messages in one frame; 0 if each message has a frame of its own.
    pub(super) batch: usize,
    pub(super) peer_drains: bool,
    pub(super) told_drain: bool,
    pub(super) credit: Credit,
    pub(super) window: Window,
    /// Bytes that were received and not handled when the session began.
    pub(super) held_before: u64,
    pub(super) acks: Acks,
}

impl LinkSession {
    pub(super) fn new(
        id: SessionId,
        config: &LinkConfig,
        held_before: u64,
        [ours, theirs]: [&Ready; 2],
    ) -> Self {
        let batches = theirs.features.has(Features::BATCH);
        let batch = if batches { config.batch.min(theirs.max_payload) } else { 0 };
        Self {
            id,
            theirs: theirs.mine.iter().map(|stream| stream.instance).collect(),
            ours: ours.mine.iter().map(|stream| stream.instance).collect(),
            max_payload: theirs.max_payload,
            batch: batch as usize,
            peer_drains: false,
            told_drain: false,
            credit: Credit::new(theirs.window),
            window: Window::new(config, ours.window),
            held_before,
            acks: Acks::new(config.ack_delay),
        }
    }

    /// Returns the peer's stream at `index`.
    pub(super) fn their_stream(&self, index: u8) -> Result<Instance, Violation> {
        self.theirs.get(usize::from(index)).copied().ok_or(Violation::UnknownStream(index))
    }

    /// Returns this side's stream at `index`.
    pub(super) fn our_stream(&self, index: u8) -> Result<Instance, Violation> {
        self.ours.get(usize::from(index)).copied().ok_or(Violation::UnknownStream(index))
    }

    /// Returns the facts for a decision about acknowledgements, with `held` bytes that are not
    /// handled.
    pub(super) fn facts(&self, held: u64, cursor_moved: bool, draining: bool) -> Facts {
        Facts {
            cursor_moved,
            gain: self.window.gain(held),
            window: self.window.whole(),
            runs_low: self.window.runs_low(held),
            at_rest: held == 0 || draining || self.peer_drains,
        }
    }
}
