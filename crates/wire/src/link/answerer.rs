//! The requests of the peer: each has a place until its answer is acknowledged. Implements
//! `docs/protocol.md` §5.4 for the answering side.

use std::collections::{BTreeMap, VecDeque};

use thiserror::Error;

use super::call_events::Answer;
use super::config::LinkConfig;
use super::places::{Bounds, Places};
use crate::call_items::{CallItem, FailureCode};
use crate::error::Violation;
use crate::frame::Data;

/// The reason why an answer was not taken. The requester has another one then.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerRefused {
    /// The request has an answer, or nobody waits for it any more.
    #[error("the request has an answer already, or nobody waits for it any more")]
    Over,
    /// The reply is longer than the requester accepts.
    #[error("the requester accepts at most {max} bytes")]
    TooLong {
        /// The longest reply that it accepts, in bytes.
        max: u32,
    },
    /// Too many replies wait for the requester.
    #[error("{bytes} bytes of replies wait for the requester")]
    NoRoom {
        /// Bytes that wait, Σ(24 + length).
        bytes: u64,
    },
}

/// The requests of the peer that are not answered for good, and the answers that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Answerer {
    asked: BTreeMap<u64, Asked>,
    places: Places,
    /// Answers that were not transmitted yet.
    ready: VecDeque<(u64, Answer)>,
    /// Bytes of all answers that are not acknowledged.
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked {
    depth: u8,
    len: usize,
    answered: bool,
}

impl Answerer {
    /// Takes a request.
    pub(super) fn ask(
        &mut self,
        call: u64,
        depth: u8,
        len: usize,
        bounds: Bounds,
    ) -> Result<(), Violation> {
        if depth >= CallItem::MAX_DEPTH || self.asked.contains_key(&call) {
            return Err(Violation::BadPayload);
        }
        if !self.places.fits(depth, len, bounds) {
            return Err(Violation::TooManyRequests);
        }
        self.places.take(depth, len);
        self.asked.insert(call, Asked { depth, len, answered: false });
        Ok(())
    }

    pub(super) fn is_unanswered(&self, call: u64) -> bool {
        self.asked.get(&call).is_some_and(|asked| !asked.answered)
    }

    /// Takes the answer to a request. If it has to be another one, that is returned too.
    pub(super) fn answer(
        &mut self,
        call: u64,
        answer: Answer,
        config: &LinkConfig,
        max_payload: u32,
    ) -> Result<(), AnswerRefused> {
        let Some(asked) = self.asked.get_mut(&call).filter(|asked| !asked.answered) else {
            return Err(AnswerRefused::Over);
        };
        asked.answered = true;
        let is_reply = matches!(answer, Answer::Reply(_));
        let room = config.reply_bytes.max(config.longest());
        let (answer, refused) = if is_reply && answer.len() > max_payload as usize {
            let refused = AnswerRefused::TooLong { max: max_payload };
            (Answer::failure(FailureCode::TOO_LONG), Err(refused))
        } else if is_reply && self.bytes > 0 && self.bytes + Data::cost(answer.len()) > room {
            let refused = AnswerRefused::NoRoom { bytes: self.bytes };
            (Answer::failure(FailureCode::NO_ROOM), Err(refused))
        } else {
            (answer, Ok(()))
        };
        self.bytes += Data::cost(answer.len());
        self.ready.push_back((call, answer));
        refused
    }

    /// Returns the length of the next answer to transmit.
    pub(super) fn next_len(&self) -> Option<usize> {
        self.ready.front().map(|(_, answer)| answer.len())
    }

    /// Returns the number of answers that were not transmitted yet.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn next(&mut self) -> Option<(u64, Answer)> {
        self.ready.pop_front()
    }

    /// Records that the requester has received an answer.
    pub(super) fn note_received(&mut self, call: u64, answer: &Answer) {
        if let Some(asked) = self.asked.remove(&call) {
            self.places.give_back(asked.depth, asked.len);
        }
        self.bytes -= Data::cost(answer.len());
    }

    /// Returns the number of requests whose answers the requester is not known to have.
    pub(super) fn unanswered(&self) -> usize {
        self.asked.len()
    }
}
