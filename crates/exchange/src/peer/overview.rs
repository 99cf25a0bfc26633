//! What can be seen of one peer: its status, and the prospect of what waits for it.

use paddington_wire::PeerName;
use paddington_wire::link::Millis;

use super::outbox::PeerLink;
use super::prospect::Prospect;
use super::standing::Standing;
use super::state::State;
use crate::PeerStatus;
use crate::status::CallsStatus;

impl State {
    pub(super) fn status(
        &self,
        name: PeerName,
        stored: bool,
        dialled: bool,
        now: Millis,
    ) -> PeerStatus {
        let (in_flight, held, counts, calls) = match self.outbox.link() {
            PeerLink::Sealed(link) => {
                (link.in_flight(), link.held(), Some(link.counts()), CallsStatus::of(link))
            }
            PeerLink::Hex(_) => (0, self.inbox.bytes() as u64, None, CallsStatus::default()),
        };
        PeerStatus {
            name,
            encoding: self.encoding(),
            stored,
            owned: self.term.as_ref().map(|_| self.standing == Standing::Here),
            dialled,
            connected_for: self.presence.connected_for(),
            since: self.presence.changed(),
            address: self.presence.other_end(),
            round_trip: self.presence.round_trip(),
            last_error: self.attempts.last_error(),
            urls: self.attempts.urls(),
            instance: self.presence.instance(),
            software: self.software.clone(),
            outbox_messages: self.outbox.link().messages(),
            outbox_bytes: self.outbox.link().bytes(),
            oldest: self.oldest(now),
            in_flight,
            inbox_messages: self.inbox.messages(),
            inbox_bytes: held,
            halted: self.workers.is_halted(),
            handled: self.counters.handled,
            failed: self.counters.failed,
            counts,
            calls,
            counters: self.counters,
        }
    }

    /// Returns whether messages and answers that wait can still be delivered to a peer that is, or is
    /// not, being `dialled`.
    pub(super) fn prospect(&self, dialled: bool) -> Prospect {
        let (connected, left) = (self.presence.is_connected(), self.presence.has_left());
        Prospect::of(self.outbox.link(), connected, left, dialled)
    }
}
