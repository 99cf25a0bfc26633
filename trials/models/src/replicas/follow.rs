//! Messages to the peer: any replica accepts them (S4, S8), and the owner follows (S5).

use paddington_wire::MessageId;

use super::act::Rule;
use super::database::replica_of;
use super::judge::{Breach, Standing};
use super::world::{Term, World};
use crate::side::payload;

impl World {
    /// Returns the owner that is told of a message, if there is one that lives.
    pub(super) fn told_of_accept(&self) -> Option<usize> {
        let owner = self.database.owner?;
        let replica = &self.replicas[replica_of(owner)];
        let hears = replica.process == owner && !replica.is_cut_off && replica.term.is_some();
        hears.then_some(replica_of(owner))
    }

    pub(super) fn accept(&mut self, at: usize, told: bool) -> bool {
        self.left.accepts -= 1;
        self.left.lost -= u8::from(!told);
        let label = self.story.offered();
        let Some(id) = self.store(label, told) else { return false };
        self.replicas[at].stored = Some((id, label));
        true
    }

    /// Carries out the transaction that stores a message.
    fn store(&mut self, label: u8, told: bool) -> Option<MessageId> {
        let id = self.database.accept(label, &mut self.history, self.without)?;
        self.story.stored(label);
        if let Some(owner) = self.told_of_accept().filter(|_| told)
            && let Some(term) = &mut self.replicas[owner].term
        {
            term.note(id);
        }
        Some(id)
    }

    /// Hears that a message is stored. The owner transmits it if it is the very next one.
    pub(super) fn hear(&mut self, at: usize) -> bool {
        let ignores = self.lacks(Rule::NextAwaited);
        let replica = &mut self.replicas[at];
        let Some((id, label)) = replica.stored.take() else { return false };
        if let Some(term) = &mut replica.term {
            let is_next = id.number == term.followed + 1 || ignores;
            if !(is_next && id.stream == term.link.instance() && term.enqueue(label)) {
                term.note(id);
            }
        }
        self.story.answered(label, Standing::Accepted);
        true
    }

    pub(super) fn submit(&mut self, at: usize) -> bool {
        (self.left.accepts, self.left.undecided) = (self.left.accepts - 1, self.left.undecided - 1);
        let label = self.story.offered();
        self.undecided = Some((at, label));
        self.replicas[at].unsure = Some((label, None));
        true
    }

    pub(super) fn commit(&mut self) -> Result<bool, Breach> {
        let Some((at, label)) = self.undecided.take() else { return Ok(false) };
        let id = self.store(label, true);
        if let Some((unsure, stored)) = &mut self.replicas[at].unsure
            && *unsure == label
        {
            *stored = id;
        }
        Ok(true)
    }

    /// Asks for an undecided commit. That waits until the transaction has ended, and ends it (S8).
    pub(super) fn decide(&mut self, at: usize) -> Result<bool, Breach> {
        let Some((label, stored)) = self.replicas[at].unsure.take() else { return Ok(false) };
        match stored {
            Some(id) => self.replicas[at].stored = Some((id, label)),
            None => {
                if !self.lacks(Rule::Decision) {
                    self.undecided = None;
                }
                self.story.answered(label, Standing::Refused);
            }
        }
        Ok(true)
    }

    /// Reads the next message that others have accepted.
    pub(super) fn follow(&mut self, at: usize) -> bool {
        let Some(term) = &mut self.replicas[at].term else { return false };
        let next = MessageId { stream: term.link.instance(), number: term.followed + 1 };
        match self.database.read(next) {
            Some(label) => term.enqueue(label),
            None => {
                term.newest = term.followed; // it was a guess, or is lost
                true
            }
        }
    }
}

impl Term {
    /// Takes note that the database has a message.
    pub(super) fn note(&mut self, id: MessageId) {
        if id.stream == self.link.instance() {
            self.newest = self.newest.max(id.number);
        }
    }

    /// Hands a message to the link, which numbers it.
    fn enqueue(&mut self, label: u8) -> bool {
        let Ok(id) = self.link.enqueue(payload(label), 0, None) else { return false };
        self.link.stored(id.number);
        self.followed = id.number;
        self.newest = self.newest.max(id.number);
        true
    }
}
