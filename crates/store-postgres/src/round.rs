//! What waits to be stored, and how much of it goes into one statement (S4).

use std::collections::{HashMap, VecDeque};

use paddington_exchange::store::parts::Waiter;
use paddington_exchange::store::{Accepted, Mailbox, Submission};
use paddington_wire::LinkId;

use crate::row;

/// The most messages of one link, and of all, in one statement.
const MAX_OF_LINK: usize = 64;
const MAX_MESSAGES: usize = 1_024;
/// The most bytes of payload in one statement, if it has more than one message.
const MAX_BYTES: usize = 8 << 20;
/// The most bytes of payload that wait: whoever sends more is told so at once.
const MAX_WAITING: usize = 256 << 20;

/// A message that waits to be stored.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) submission: Submission,
    pub(crate) checksum: i64,
    pub(crate) waiter: Waiter<Accepted>,
}

impl Waiting {
    pub(crate) fn new(link: LinkId, submission: Submission, waiter: Waiter<Accepted>) -> Self {
        let checksum = row::checksum(link, &submission.payload);
        Self { submission, checksum, waiter }
    }

    pub(crate) fn len(&self) -> usize {
        self.submission.payload.len()
    }
}

/// The messages of one link in a round, in order.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) mailbox: Mailbox,
    pub(crate) messages: VecDeque<Waiting>,
}

/// The messages that wait, by link.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    parts: HashMap<LinkId, Part>,
    /// The links that have messages, in turn.
    turn: VecDeque<LinkId>,
    bytes: usize,
}

impl Queue {
    /// Adds a message, unless too many bytes wait.
    pub(crate) fn push(&mut self, mailbox: &Mailbox, waiting: Waiting) -> Result<(), Waiting> {
        if self.bytes > 0 && self.bytes + waiting.len() > MAX_WAITING {
            return Err(waiting);
        }
        self.bytes += waiting.len();
        self.part(mailbox).messages.push_back(waiting);
        Ok(())
    }

    /// Puts messages back before all others of their link.
    pub(crate) fn put_back(&mut self, part: Part) {
        if part.messages.is_empty() {
            return;
        }
        self.bytes += part.messages.iter().map(Waiting::len).sum::<usize>();
        let messages = &mut self.part(&part.mailbox).messages;
        part.messages.into_iter().rev().for_each(|waiting| messages.push_front(waiting));
    }

    /// Takes what goes into the next statement, sorted by link.
    pub(crate) fn round(&mut self) -> Vec<Part> {
        let (mut round, mut count, mut bytes) = (Vec::<Part>::new(), 0, 0);
        for _ in 0..self.turn.len() {
            let Some(link) = self.turn.pop_front() else { break };
            let Some(part) = self.parts.get_mut(&link) else { continue };
            let mut messages = VecDeque::new();
            while let Some(next) = part.messages.front() {
                let fits = messages.len() < MAX_OF_LINK && count < MAX_MESSAGES;
                if !fits || (count > 0 && bytes + next.len() > MAX_BYTES) {
                    break;
                }
                count += 1;
                bytes += next.len();
                messages.extend(part.messages.pop_front());
            }
            let is_full = messages.is_empty();
            if !is_full {
                round.push(Part { mailbox: part.mailbox.clone(), messages });
            }
            if part.messages.is_empty() {
                self.parts.remove(&link);
            } else if is_full {
                self.turn.push_front(link);
                break;
            } else {
                self.turn.push_back(link);
            }
        }
        self.bytes -= bytes;
        round.sort_unstable_by_key(|part| part.mailbox.link);
        round
    }

    /// Takes everything.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        let parts = std::mem::take(self).parts;
        parts.into_values().flat_map(|part| part.messages)
    }

    fn part(&mut self, mailbox: &Mailbox) -> &mut Part {
        self.parts.entry(mailbox.link).or_insert_with(|| {
            self.turn.push_back(mailbox.link);
            Part { mailbox: mailbox.clone(), messages: VecDeque::new() }
        })
    }
}

#[cfg(test)]
mod tests {
    use paddington_exchange::store::Bounds;
    use paddington_wire::Payload;
    use tokio::sync::oneshot;

    use super::*;

    fn mailbox(byte: u8) -> Mailbox {
        Mailbox { peer: "hub".parse().unwrap(), link: [byte; LinkId::LEN].into() }
    }

    fn waiting(link: u8, len: usize) -> Waiting {
        let payload = Payload::bytes(vec![link; len]);
        let bounds = Bounds { messages: 1, bytes: 1 };
        let submission = Submission { payload, ttl: None, bounds };
        Waiting::new(mailbox(link).link, submission, oneshot::channel().0)
    }

    fn shape(round: &[Part]) -> Vec<(u8, usize)> {
        round.iter().map(|part| (part.mailbox.link.as_bytes()[0], part.messages.len())).collect()
    }

    #[test]
    fn links_take_turns_and_are_sorted() {
        let mut queue = Queue::default();
        for _ in 0..100 {
            queue.push(&mailbox(9), waiting(9, 1)).unwrap();
        }
        queue.push(&mailbox(3), waiting(3, 1)).unwrap();
        assert_eq!(shape(&queue.round()), [(3, 1), (9, 64)]);
        assert_eq!(shape(&queue.round()), [(9, 36)]);
        assert!(queue.round().is_empty() && queue.bytes == 0);
        for link in 0..100 {
            for _ in 0..20 {
                queue.push(&mailbox(link), waiting(link, 1)).unwrap();
            }
        }
        let counts: Vec<usize> =
            std::iter::from_fn(|| Some(queue.round()).filter(|it| !it.is_empty()))
                .map(|round| round.iter().map(|part| part.messages.len()).sum())
                .collect();
        assert_eq!(counts, [1_024, 976]);
    }

    #[test]
    fn a_round_has_few_bytes_and_what_is_put_back_comes_first() {
        let mut queue = Queue::default();
        queue.push(&mailbox(1), waiting(1, MAX_BYTES + 1)).unwrap();
        queue.push(&mailbox(1), waiting(1, 7)).unwrap();
        let mut round = queue.round();
        assert_eq!(shape(&round), [(1, 1)], "a long message goes alone");
        queue.put_back(round.remove(0));
        assert_eq!(queue.round()[0].messages[0].len(), MAX_BYTES + 1);
        assert_eq!(queue.round()[0].messages[0].len(), 7);
        queue.push(&mailbox(1), waiting(1, MAX_WAITING)).unwrap();
        assert!(queue.push(&mailbox(2), waiting(2, 1)).is_err());
        assert_eq!(queue.drain().count(), 1);
        queue.push(&mailbox(2), waiting(2, 1)).unwrap();
    }
}
