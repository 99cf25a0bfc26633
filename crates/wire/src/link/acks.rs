//! The time at which an acknowledgement is sent: nothing else decides it. Implements
//! `docs/protocol.md` §5.3.
//!
//! An acknowledgement is sent at once if something depends on it or nothing else is under way.
//! Otherwise it waits for a short delay, so that a message can carry it or others can join it.

use super::Millis;

/// The time at which an acknowledgement is to be sent, if no message carries it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckTime {
    /// There is nothing to acknowledge.
    Never,
    /// At this time.
    At(Millis),
    /// At once.
    Now,
}

impl AckTime {
    /// Returns the earlier of two times.
    pub(super) fn earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::At(one), Self::At(other)) => Self::At(one.min(other)),
            (Self::Never, time) | (time, Self::Never) => time,
        }
    }
}

/// Completed messages after which an acknowledgement is sent at once.
const ACK_EVERY: u32 = 64;

/// Part of the window that is worth an acknowledgement at once when it can be granted.
const WINDOW_PART: u64 = 4;

/// State of the acknowledgements of one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Acks {
    /// Delay for which an acknowledgement waits for a message that can carry it.
    delay: Millis,
    /// Messages that were completed since the last acknowledgement.
    completed: u32,
    /// Whether a repeat has arrived since the last acknowledgement: its sender knows too little.
    repeated: bool,
    wait: Wait,
}

/// State of an acknowledgement that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wait {
    /// None waits.
    None,
    /// One is due, and the connection was woken for it.
    Woken,
    /// One has been waiting since this time.
    Since(Millis),
}

/// Facts that the decision depends on.
pub(super) struct Facts {
    /// Whether a cursor has moved that the peer was not told of.
    pub(super) cursor_moved: bool,
    /// Bytes of credit that could be granted.
    pub(super) gain: u64,
    /// Size of the whole window in bytes.
    pub(super) window: u64,
    /// Whether the peer may soon have no credit left for a longest message.
    pub(super) runs_low: bool,
    /// Whether everything is handled, or either side shuts down: there is nothing to wait for.
    pub(super) at_rest: bool,
}

impl Facts {
    fn is_due(&self) -> bool {
        self.cursor_moved || self.runs_low
    }
}

impl Acks {
    pub(super) fn new(delay: Millis) -> Self {
        Self { delay, completed: 0, repeated: false, wait: Wait::None }
    }

    pub(super) fn note_completed(&mut self, messages: u32) {
        self.completed = self.completed.saturating_add(messages);
    }

    pub(super) fn note_repeat(&mut self) {
        self.repeated = true;
    }

    /// Notes that a message carried the acknowledgement, but not the credit.
    pub(super) fn note_carried(&mut self) {
        self.completed = 0;
    }

    /// Notes that an acknowledgement was sent.
    pub(super) fn note_sent(&mut self) {
        *self = Self::new(self.delay);
    }

    /// Returns whether an acknowledgement goes ahead of messages.
    pub(super) fn is_urgent(&self, facts: &Facts) -> bool {
        self.repeated || self.completed >= ACK_EVERY || facts.gain >= facts.window / WINDOW_PART
    }

    /// Decides when an acknowledgement is sent.
    pub(super) fn time(&self, facts: &Facts, now: Millis) -> AckTime {
        if self.is_urgent(facts) {
            return AckTime::Now;
        }
        if !facts.is_due() {
            return AckTime::Never;
        }
        let since = if let Wait::Since(since) = self.wait { since } else { now };
        let at = since.saturating_add(self.delay);
        if facts.at_rest || at <= now { AckTime::Now } else { AckTime::At(at) }
    }

    /// Returns whether an acknowledgement is sent now, where no message can carry it. If it is due
    /// later, its time begins to run.
    pub(super) fn is_due_now(&mut self, facts: &Facts, now: Millis) -> bool {
        let time = self.time(facts, now);
        self.wait = match (time, self.wait) {
            (AckTime::Never, _) => Wait::None,
            (_, Wait::Since(since)) => Wait::Since(since),
            _ => Wait::Since(now),
        };
        time == AckTime::Now
    }

    /// Returns whether the connection has to be woken for an acknowledgement, which the caller then
    /// does: one is due now, or its time has not begun to run.
    pub(super) fn take_wakeup(&mut self, facts: &Facts) -> bool {
        if self.is_urgent(facts) {
            return true;
        }
        let wakes = facts.is_due() && (facts.at_rest || self.wait == Wait::None);
        if wakes && self.wait == Wait::None {
            self.wait = Wait::Woken;
        }
        wakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Facts =
        Facts { cursor_moved: false, gain: 0, window: 800, runs_low: false, at_rest: false };
    const MOVED: Facts = Facts { cursor_moved: true, ..QUIET };

    #[test]
    fn an_acknowledgement_waits_for_a_delay_and_no_longer() {
        let mut acks = Acks::new(20);
        assert_eq!(acks.time(&QUIET, 5), AckTime::Never);
        assert_eq!(acks.time(&MOVED, 5), AckTime::At(25));
        assert!(!acks.is_due_now(&MOVED, 5));
        assert_eq!(acks.time(&MOVED, 9), AckTime::At(25), "the time runs from the first look");
        assert!(!acks.is_due_now(&MOVED, 24));
        assert!(acks.is_due_now(&MOVED, 25));
        acks.note_sent();
        assert_eq!(acks.time(&MOVED, 30), AckTime::At(50));
    }

    #[test]
    fn a_carried_acknowledgement_resets_the_delay() {
        let mut acks = Acks::new(20);
        assert!(!acks.is_due_now(&MOVED, 0));
        acks.note_carried();
        assert!(!acks.is_due_now(&QUIET, 1));
        assert_eq!(acks.time(&MOVED, 15), AckTime::At(35));
    }

    #[test]
    fn urgent_acknowledgements_do_not_wait() {
        let at_rest = Facts { at_rest: true, ..MOVED };
        assert_eq!(Acks::new(20).time(&at_rest, 0), AckTime::Now);
        assert!(!Acks::new(20).is_urgent(&at_rest), "a message may still carry it");
        let gain = Facts { gain: 200, ..QUIET };
        assert_eq!(Acks::new(20).time(&gain, 0), AckTime::Now);
        let low = Facts { runs_low: true, gain: 1, ..QUIET };
        assert_eq!(Acks::new(20).time(&low, 0), AckTime::At(20));
        let mut repeated = Acks::new(20);
        repeated.note_repeat();
        assert!(repeated.is_urgent(&QUIET));
        let mut many = Acks::new(20);
        many.note_completed(63);
        assert!(!many.is_urgent(&MOVED));
        many.note_completed(1);
        assert!(many.is_urgent(&MOVED));
    }

    #[test]
    fn a_connection_is_woken_once_for_an_acknowledgement_that_can_wait() {
        let mut acks = Acks::new(20);
        assert!(!acks.take_wakeup(&QUIET));
        assert!(acks.take_wakeup(&MOVED));
        assert!(!acks.take_wakeup(&MOVED));
        assert!(!acks.is_due_now(&MOVED, 7));
        assert!(!acks.take_wakeup(&MOVED));
        assert!(acks.take_wakeup(&Facts { at_rest: true, ..MOVED }), "now it can be sent at once");
        assert!(acks.is_due_now(&MOVED, 27));
    }
}
