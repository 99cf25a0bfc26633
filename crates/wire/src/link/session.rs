//! What lasts as long as one connection: credit in both directions, and when to acknowledge.
//! Implements `docs/protocol.md` §5.3.

use super::LinkConfig;
use crate::{Features, Instance, Ready, Violation};

/// One session of a link. Later sessions have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

/// When an acknowledgement is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckDue {
    /// There is nothing to acknowledge.
    No,
    /// Soon: with the next message, or on its own before long. At once if nothing else goes on and
    /// none was sent just now.
    Soon,
    /// At once.
    Now,
}

/// So many completed messages are acknowledged at once.
const ACK_EVERY: u32 = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkSession {
    pub(super) id: SessionId,
    /// The streams that the peer listed: what an index in DATA means.
    pub(super) theirs: Vec<Instance>,
    /// The streams that this side listed: what an index in an acknowledgement means.
    pub(super) ours: Vec<Instance>,
    pub(super) max_payload: u32,
    /// The most bytes of messages in one frame; 0 where each has its own.
    pub(super) batch: usize,
    pub(super) peer_drains: bool,
    pub(super) told_drain: bool,
    /// What the peer allows, and what was sent of it.
    credit: u64,
    spent: u64,
    /// What this side has allowed, and what came of it.
    granted: u64,
    taken: u64,
    completed_since_ack: u32,
    repeated: bool,
}

impl LinkSession {
    pub(super) fn new(id: SessionId, config: &LinkConfig, ours: &Ready, theirs: &Ready) -> Self {
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
            credit: u64::from(theirs.window),
            spent: 0,
            granted: u64::from(ours.window),
            taken: 0,
            completed_since_ack: 0,
            repeated: false,
        }
    }

    /// The peer's stream at `index`.
    pub(super) fn their_stream(&self, index: u8) -> Result<Instance, Violation> {
        self.theirs.get(usize::from(index)).copied().ok_or(Violation::UnknownStream(index))
    }

    /// This side's stream at `index`.
    pub(super) fn our_stream(&self, index: u8) -> Result<Instance, Violation> {
        self.ours.get(usize::from(index)).copied().ok_or(Violation::UnknownStream(index))
    }

    pub(super) fn credit_left(&self) -> u64 {
        self.credit.saturating_sub(self.spent)
    }

    pub(super) fn spend(&mut self, cost: u64) {
        self.spent += cost;
        debug_assert!(self.spent <= self.credit, "nothing is sent beyond the credit");
    }

    /// Credit only grows; less than before is old news.
    pub(super) fn raise_credit(&mut self, credit: u64) {
        self.credit = self.credit.max(credit);
    }

    /// Counts what arrived against what was granted.
    pub(super) fn take(&mut self, cost: u64) -> Result<(), Violation> {
        if cost > self.granted - self.taken {
            return Err(Violation::BeyondCredit);
        }
        self.taken += cost;
        Ok(())
    }

    pub(super) fn note_repeat(&mut self) {
        self.repeated = true;
    }

    pub(super) fn note_completed(&mut self, messages: u32) {
        self.completed_since_ack = self.completed_since_ack.saturating_add(messages);
    }

    /// How urgent an acknowledgement is, with `held` bytes unhandled of a `window` that takes
    /// messages of up to `longest` bytes.
    pub(super) fn ack_due(&self, window: u64, longest: u64, held: u64, cursor_due: bool) -> AckDue {
        let gain = self.grantable(window, held) - self.granted;
        let runs_low =
            gain > 0 && self.granted.saturating_sub(self.taken) < longest.max(window / 2);
        if self.repeated || self.completed_since_ack >= ACK_EVERY || gain >= window / 4 {
            AckDue::Now
        } else if cursor_due || runs_low {
            AckDue::Soon
        } else {
            AckDue::No
        }
    }

    /// Grants what there is room for and returns the total, for an ACK.
    pub(super) fn grant(&mut self, window: u64, held: u64) -> u64 {
        self.granted = self.grantable(window, held);
        self.repeated = false;
        self.completed_since_ack = 0;
        self.granted
    }

    /// A message carried the acknowledgement, but not the credit.
    pub(super) fn note_carried(&mut self) {
        self.completed_since_ack = 0;
    }

    /// Rule R13: all that came plus the room that is left, and never less than was granted.
    fn grantable(&self, window: u64, held: u64) -> u64 {
        self.granted.max(self.taken + window.saturating_sub(held))
    }
}
