//! Acknowledgements of a link: which frame carries them, and when. `acks.rs` decides the time.

use super::acks::AckTime;
use super::config::Millis;
use super::link::Link;
use crate::frame::{Ack, Completed, Frame};
use crate::slot::SessionId;

/// The most rejections in one ACK.
const MAX_REJECTIONS: usize = 64;

impl Link {
    /// Returns the time at which an acknowledgement is to be sent if no message carries it before,
    /// as of `now`. The time of one that waits runs from the first call of
    /// [`transmit`](Self::transmit) that had nothing else to send.
    #[must_use]
    pub fn ack_time(&self, now: Millis) -> AckTime {
        self.messages_ack_time(now).earlier(self.calls_ack_time(now))
    }

    fn messages_ack_time(&self, now: Millis) -> AckTime {
        match (&self.session, self.facts()) {
            (Some(session), Some(facts)) => session.acks.time(&facts, now),
            _ => AckTime::Never,
        }
    }

    /// Returns whether the connection has to be woken for an acknowledgement, which the caller then
    /// does: one is due now, or at a time that [`transmit`](Self::transmit) has not been asked
    /// about.
    pub fn take_ack_wakeup(&mut self) -> bool {
        let Some(facts) = self.facts() else { return false };
        self.session.as_mut().is_some_and(|session| session.acks.take_wakeup(&facts))
    }

    /// Returns the acknowledgement that is due in `session`, even if it could still wait. There may
    /// be several: call this until it returns `None`.
    pub fn acknowledge(&mut self, session: SessionId) -> Option<Frame> {
        if !self.is_current(session) {
            return None;
        }
        if self.messages_ack_time(0) == AckTime::Never {
            return self.owed_calls_ack();
        }
        let held = self.inbound.held();
        let session = self.session.as_mut()?;
        let credit = session.window.grant(held);
        session.acks.note_sent();
        let max_len = session.max_payload as usize;
        let due = self.inbound.due(&session.theirs);
        let due = due.map(|due| self.inbound.tell(due, MAX_REJECTIONS, max_len));
        Some(Frame::Ack(match due {
            Some(due) => Ack {
                ack: Completed { stream: due.stream, number: due.number },
                credit,
                rejected: due.rejected,
            },
            None => Ack { credit, ..Ack::default() },
        }))
    }

    /// Returns the acknowledgement that a message can carry: one without rejections, which take an
    /// ACK.
    pub(super) fn carried_ack(&mut self) -> Completed {
        let Some(session) = &mut self.session else {
            return Completed::default();
        };
        let Some(due) = self.inbound.due(&session.theirs) else {
            return Completed::default();
        };
        let told = self.inbound.tell(due, 0, 0);
        if self.inbound.due(&session.theirs).is_none() {
            session.acks.note_carried();
        }
        Completed { stream: told.stream, number: told.number }
    }
}
