//! The slot: the one place that a link has for a session. Implements `docs/protocol.md` §8.

use crate::Instance;
use crate::faults::{Fault, broken};

/// The one place that a link has for a session: it knows which session holds it, and which may take
/// it next.
///
/// A connection draws a [`Ticket`] when its HELLO is authentic and takes the slot with it when its
/// READY opens. Only the newest ticket counts, so that a READY of a dead process that arrives late
/// cannot undo the session of its successor.
///
/// ```
/// use paddington_wire::{Instance, Slot, Verdict};
///
/// let (mut slot, instance) = (Slot::default(), Some(Instance::from([1; 16])));
/// let ticket = slot.ticket();
/// let session = slot.take(ticket, instance).expect("the newest ticket");
/// assert_eq!(slot.judge(instance), Verdict::Accept, "the same instance may replace its session");
/// assert_eq!(slot.judge(Some([2; 16].into())), Verdict::Probe(session));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slot {
    last_ticket: u64,
    last_served: u64,
    holder: Option<Holder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Holder {
    session: SessionId,
    /// `None` on `hex` links, where instances have no names.
    instance: Option<Instance>,
}

/// One session of a link. Later sessions have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// The right to take the slot, as long as no later ticket was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Decision about an authentic HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accept it: the slot is empty, or held by the same instance, which has dropped its old
    /// connection itself.
    Accept,
    /// Find out first whether the session that holds the slot is alive.
    Probe(SessionId),
}

impl Slot {
    /// Judges an authentic HELLO of `instance`.
    #[must_use]
    pub fn judge(&self, instance: Option<Instance>) -> Verdict {
        match self.holder {
            Some(holder) if holder.instance.is_none() || holder.instance != instance => {
                Verdict::Probe(holder.session)
            }
            _ => Verdict::Accept,
        }
    }

    /// Draws the next ticket.
    pub fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Gives the slot to the holder of `ticket`. Returns `None` if a later ticket was drawn: at
    /// most one connection waits.
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

    /// Frees the slot, if `session` still holds it. Returns whether it did.
    pub fn vacate(&mut self, session: SessionId) -> bool {
        let held = self.holds(session) || broken(Fault::CleanUpByName);
        if held {
            self.holder = None;
        }
        held
    }

    /// Returns whether `session` holds the slot.
    #[must_use]
    pub fn holds(&self, session: SessionId) -> bool {
        self.holder.is_some_and(|holder| holder.session == session)
    }

    /// Returns the session that holds the slot.
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
    fn the_same_instance_is_accepted_and_another_one_waits_for_the_probe() {
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
    fn a_session_never_vacates_a_slot_that_it_no_longer_holds() {
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
