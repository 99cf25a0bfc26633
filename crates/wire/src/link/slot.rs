//! The one place that a peer's connection can take. Implements `docs/protocol.md` §8.

use super::SessionId;
use super::faults::{Fault, broken};
use crate::Instance;

/// The one place of a peer: who holds it, who may take it next.
///
/// A connection gets a [`Ticket`] when its hello is authentic and takes the place with it when its
/// first frame opens. Only the newest ticket is served: what arrives late on an older one is
/// refused, so that the READY of a dead process cannot undo the session of its successor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slot {
    last_ticket: u64,
    last_served: u64,
    holder: Option<Holder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Holder {
    session: SessionId,
    /// `None` on `hex` links, where lives have no names.
    instance: Option<Instance>,
}

/// The right to take the place, until a later ticket is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What is to be done with an authentic hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in: the place is empty, or its holder is the same process, which has given the old
    /// connection up itself.
    Accept,
    /// Find out first whether this holder still lives.
    Probe(SessionId),
}

impl Slot {
    /// Judges an authentic hello from the life called `instance`.
    #[must_use]
    pub fn judge(&self, instance: Option<Instance>) -> Verdict {
        match self.holder {
            Some(holder) if holder.instance.is_none() || holder.instance != instance => {
                Verdict::Probe(holder.session)
            }
            _ => Verdict::Accept,
        }
    }

    /// The next ticket.
    pub fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Gives the place to the holder of `ticket`. `None` if there is a later ticket: at most one
    /// connection waits.
    pub fn take(&mut self, ticket: Ticket, instance: Option<Instance>) -> Option<SessionId> {
        let next = ticket.0 > self.last_served && ticket.0 == self.last_ticket;
        if !next && !broken(Fault::TicketsInAnyOrder) {
            return None;
        }
        self.last_served = ticket.0;
        let session = SessionId(ticket.0);
        self.holder = Some(Holder { session, instance });
        Some(session)
    }

    /// Frees the place, if `session` still holds it. Returns whether it did.
    pub fn vacate(&mut self, session: SessionId) -> bool {
        let held = self.holds(session) || broken(Fault::CleanUpByName);
        if held {
            self.holder = None;
        }
        held
    }

    /// Whether `session` holds the place.
    #[must_use]
    pub fn holds(&self, session: SessionId) -> bool {
        self.holder.is_some_and(|holder| holder.session == session)
    }

    /// The session that holds the place.
    #[must_use]
    pub fn holder(&self) -> Option<SessionId> {
        self.holder.map(|holder| holder.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(byte: u8) -> Option<Instance> {
        Some(Instance::from([byte; 16]))
    }

    #[test]
    fn the_same_life_is_let_in_and_another_one_has_to_wait_for_the_probe() {
        let mut slot = Slot::default();
        assert_eq!(slot.judge(instance(1)), Verdict::Accept);
        let ticket = slot.ticket();
        let session = slot.take(ticket, instance(1)).unwrap();
        assert_eq!(slot.judge(instance(1)), Verdict::Accept);
        assert_eq!(slot.judge(instance(2)), Verdict::Probe(session));
    }

    #[test]
    fn a_hex_holder_is_always_probed() {
        let mut slot = Slot::default();
        let ticket = slot.ticket();
        let session = slot.take(ticket, None).unwrap();
        assert_eq!(slot.judge(None), Verdict::Probe(session));
    }

    #[test]
    fn tickets_are_served_in_order() {
        let mut slot = Slot::default();
        let (early, late) = (slot.ticket(), slot.ticket());
        assert_eq!(slot.take(early, instance(1)), None, "a later one waits");
        let session = slot.take(late, instance(2)).unwrap();
        assert_eq!(slot.take(early, instance(1)), None, "a later one was served");
        assert_eq!(slot.take(late, instance(2)), None, "a ticket serves once");
        assert!(slot.holds(session));
    }

    #[test]
    fn a_connection_never_vacates_a_place_it_no_longer_holds() {
        let mut slot = Slot::default();
        let ticket = slot.ticket();
        let old = slot.take(ticket, instance(1)).unwrap();
        let ticket = slot.ticket();
        let new = slot.take(ticket, instance(1)).unwrap();
        assert!(!slot.vacate(old));
        assert_eq!(slot.holder(), Some(new));
        assert!(slot.vacate(new));
        assert_eq!(slot.holder(), None);
    }
}
