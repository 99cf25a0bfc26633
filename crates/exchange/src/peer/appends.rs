//! Messages of one peer on their way into the store.

use std::collections::VecDeque;
use std::fmt;

use tokio::sync::oneshot;

use super::Number;
use crate::store::{Answer, StoreError};

/// Work that waits for the store task of a peer.
#[derive(Default)]
pub(super) struct Appends {
    waiting: VecDeque<Append>,
    /// Grows whenever messages that could not be stored are taken back.
    generation: u64,
    /// Whether the store task was told that cursors have moved, or that messages may go.
    noted: bool,
}

/// A message on its way into the store.
pub(crate) struct Append {
    number: Number,
    /// The transmission mark that is stored with it.
    mark: Option<Number>,
    generation: u64,
    answer: Option<Answer<()>>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Resolves when a message is stored.
pub(super) type Stored = oneshot::Receiver<Result<(), StoreError>>;

impl Append {
    /// Waits for the store's answer.
    pub(super) async fn wait(mut self) -> (Self, Result<(), StoreError>) {
        let answer = match self.answer.take() {
            Some(answer) => answer.await,
            None => Ok(()),
        };
        (self, answer)
    }

    pub(super) fn number(&self) -> Number {
        self.number
    }

    /// Returns the transmission mark that is stored with it.
    pub(super) fn mark(&self) -> Option<Number> {
        self.mark
    }

    /// Tells the sender, which may have stopped waiting.
    pub(super) fn finish(self, answer: Result<(), StoreError>) {
        let _ = self.done.send(answer);
    }
}

impl Appends {
    /// Adds the message `number`, with the mark that goes with it and the store's pending answer.
    pub(super) fn push(
        &mut self,
        number: Number,
        mark: Option<Number>,
        answer: Answer<()>,
    ) -> Stored {
        let (done, stored) = oneshot::channel();
        let (generation, answer) = (self.generation, Some(answer));
        self.waiting.push_back(Append { number, mark, generation, answer, done });
        stored
    }

    pub(super) fn take(&mut self) -> VecDeque<Append> {
        std::mem::take(&mut self.waiting)
    }

    /// Returns whether a refused message and all after it still have to be taken back. The caller
    /// takes them back.
    pub(super) fn begin_take_back(&mut self, refused: &Append) -> bool {
        let is_first = refused.generation == self.generation;
        self.generation += u64::from(is_first);
        is_first
    }

    /// Notes that there is work besides appends. Returns whether that is news.
    pub(super) fn note(&mut self) -> bool {
        !std::mem::replace(&mut self.noted, true)
    }

    /// Returns whether there was work besides appends since the last call.
    pub(super) fn take_note(&mut self) -> bool {
        std::mem::take(&mut self.noted)
    }
}

impl fmt::Debug for Appends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appends").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
