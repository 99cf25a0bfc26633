//! The events of calls: requests that have arrived, and how those of this side end.

use crate::call_items::{CallBody, FailureCode};
use crate::payload::Payload;
use crate::text::Text;

/// The name of a request of the peer, among all that the link has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// Number of the pair of processes, of this side and of the peer, that it belongs to.
    pub pair: u64,
    /// The peer's number.
    pub call: u64,
}

/// A request of the peer, which has to be answered once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IncomingRequest {
    /// Its name.
    pub id: CallId,
    /// Number of requests in whose handling it was made.
    pub depth: u8,
    /// Milliseconds until the peer no longer waits; `None` for no limit.
    pub left: Option<u32>,
    /// The request.
    pub payload: Payload,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The handler's reply.
    Reply(Payload),
    /// There is no reply.
    Failure {
        /// The reason.
        code: FailureCode,
        /// The words of the handler's error, or nothing.
        text: Text,
    },
}

impl Answer {
    /// Makes an answer without a reply and without words.
    #[must_use]
    pub fn failure(code: FailureCode) -> Self {
        Self::Failure { code, text: Text::default() }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Reply(payload) => payload.len(),
            Self::Failure { text, .. } => text.len(),
        }
    }

    pub(super) fn body(&self) -> CallBody {
        match self.clone() {
            Self::Reply(payload) => CallBody::Reply { payload },
            Self::Failure { code, text } => CallBody::Failure { code, text },
        }
    }
}

/// The end of a request of this side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallEnd {
    /// The peer has answered.
    Answered(Answer),
    /// Its time was over before it was transmitted.
    Expired,
    /// It is longer than the peer accepts, which came after it was accepted. It was not transmitted.
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// The longest request that the peer accepts, in bytes.
        max: u32,
    },
    /// The peer answers no requests.
    NotAnswered,
    /// Another process of the peer has taken the place of the one that was asked.
    PeerChanged,
}

/// Something that has happened to a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallEvent {
    /// The peer asks.
    Asked(IncomingRequest),
    /// The peer no longer waits for this answer; the link has answered.
    Cancelled(CallId),
    /// The process whose requests these were is gone: all that were asked before this pair are over.
    Forgotten {
        /// Number of the pair of processes that is current now.
        pair: u64,
    },
    /// A request of this side has ended.
    Ended {
        /// Its number.
        call: u64,
        /// How it has ended.
        end: CallEnd,
    },
}

/// Number of requests by outcome: `requested` is always the sum of `answered`, `failed`, `expired`,
/// `cancelled` and of those that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallCounts {
    /// Requests that were accepted for the peer.
    pub requested: u64,
    /// Of these, those that the peer has replied to.
    pub answered: u64,
    /// Those that it has not replied to, or that it cannot have received.
    pub failed: u64,
    /// Those that had no answer in time.
    pub expired: u64,
    /// Those that this side has cancelled.
    pub cancelled: u64,
    /// Answers to requests that had expired or were cancelled.
    pub late: u64,
    /// Requests of the peer that have arrived.
    pub asked: u64,
    /// Replies to these.
    pub replied: u64,
    /// Answers without a reply to these.
    pub refused: u64,
    /// Answers that were dropped, because the process that had asked is gone.
    pub dropped: u64,
}

impl CallCounts {
    /// Returns whether every request is accounted for, if so many still wait.
    #[must_use]
    pub fn is_conserved(&self, waiting: usize) -> bool {
        let ended = self.answered + self.failed + self.expired + self.cancelled;
        self.requested == ended + waiting as u64
    }

    /// Returns whether every request of the peer is accounted for, if it is not known to have the answers
    /// to so many: each is answered, or `unanswered`, or dropped, and no more are answered than have
    /// arrived. Those that are unanswered or dropped may have an answer that is on its way, or is lost.
    #[must_use]
    pub fn answers_are_conserved(&self, unanswered: usize) -> bool {
        let ended = self.replied + self.refused;
        ended <= self.asked && self.asked <= ended + self.dropped + unanswered as u64
    }
}
