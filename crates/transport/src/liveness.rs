//! The clock of one connection: when what happened on it, and when to look at it next. Whichever
//! side has heard nothing for a while asks for a sign of life. Implements `docs/protocol.md` §7.
//!
//! Whoever hears a `sealed` peer need not ask, because a question of that peer's is answered at
//! once. A question on a `hex` link may wait behind messages that nobody takes: there both ask.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use paddington_wire::Encoding;
use tokio::time::{Instant, Sleep, sleep};

use crate::{End, Network, Timeouts};

/// A machine that has slept for longer than this may have lost its connections.
const SLEEP: Duration = Duration::from_secs(10);
/// How long the peer has for a sign of life after that.
const AFTER_SLEEP: Duration = Duration::from_secs(3);
/// The next look is put off for what was heard only if that is by more than this part of the ping
/// interval.
const WORTH_IT: u32 = 4;

/// When what happened, and what is to be looked at next.
pub(crate) struct Liveness {
    sleep: Pin<Box<Sleep>>,
    /// When the next look is due; it may come a little later.
    planned: Instant,
    timeouts: Timeouts,
    sealed: bool,
    network: Arc<dyn Network>,
    heard: Instant,
    /// This side does not listen at the moment: then silence says nothing.
    deaf: bool,
    /// When a sign of life was last asked for, or would have been.
    asked_at: Instant,
    /// The answer has not come.
    asked: bool,
    /// One is to be asked for whatever was heard.
    doubts: bool,
    /// How often one was asked for.
    questions: u64,
    /// Since when the socket takes nothing, and how much it had taken by then.
    stuck: Option<(Instant, u64)>,
    /// When the session's keys are to be renewed.
    renew_at: Option<Instant>,
    /// How long the machine had slept when that was last looked at.
    slept: Duration,
    /// Until when the peer has to show a sign of life, because the machine has slept.
    suspect_until: Option<Instant>,
}

impl Liveness {
    pub(crate) fn new(timeouts: Timeouts, encoding: Encoding, network: Arc<dyn Network>) -> Self {
        let now = Instant::now();
        let mut clock = Self {
            sleep: Box::pin(sleep(timeouts.ping_interval)),
            planned: now,
            timeouts,
            sealed: encoding == Encoding::Sealed,
            heard: now,
            deaf: false,
            asked_at: now,
            asked: false,
            doubts: false,
            questions: 0,
            stuck: None,
            renew_at: None,
            slept: network.slept(),
            suspect_until: None,
            network,
        };
        clock.look_again(now);
        clock
    }

    pub(crate) fn renew_after(&mut self, age: Duration) {
        let now = Instant::now();
        self.renew_at = Some(now + age);
        self.look_again(now);
    }

    /// Resolves when it is time to look, with the time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        self.sleep.as_mut().poll(cx).map(|()| Instant::now())
    }

    /// Looks at `at`, whatever was planned.
    pub(crate) fn look_at(&mut self, at: Instant) {
        self.planned = at;
        self.sleep.as_mut().reset(at);
    }

    /// Plans the next look. It may come a little later than it is due, so that many connections look
    /// together.
    pub(crate) fn look_again(&mut self, now: Instant) {
        self.planned = self.next_look(now);
        let wait = self.network.together(self.planned.saturating_duration_since(now));
        self.sleep.as_mut().reset(now + wait);
    }

    /// Something has arrived that proves the peer alive.
    pub(crate) fn hear(&mut self) {
        self.heard = Instant::now();
        self.suspect_until = None;
    }

    /// Plans the next look anew for what was heard. Returns whether it was put off by something that
    /// is worth it: a connection on which things are heard may never be looked at otherwise.
    pub(crate) fn put_off(&mut self) -> bool {
        let next = self.next_look(self.heard);
        let later = next > self.planned + self.timeouts.ping_interval / WORTH_IT;
        if later || next < self.planned {
            self.look_again(self.heard);
        }
        later
    }

    /// The question was answered.
    pub(crate) fn hear_answer(&mut self) {
        self.asked = false;
    }

    /// Whether this side listens at the moment.
    pub(crate) fn listen(&mut self, listens: bool) {
        self.deaf = !listens;
    }

    /// Nothing is waiting to be written, or something was written since.
    pub(crate) fn unstick(&mut self) {
        self.stuck = None;
    }

    /// The socket takes nothing, and had taken `written` bytes by then. A `hex` peer has no credit to
    /// slow its sender down with: it stops reading, and is not dead for that.
    pub(crate) fn stick(&mut self, written: u64) {
        if self.sealed && self.stuck.is_none_or(|(_, before)| before != written) {
            let now = Instant::now();
            self.stuck = Some((now, written));
            if now + self.timeouts.write < self.planned {
                self.look_again(now);
            }
        }
    }

    /// Takes note of what may have happened between two looks without a sound.
    pub(crate) fn look(&mut self, now: Instant) {
        if self.deaf {
            // An answer may be waiting unread, and the other side still has to hear from this one.
            self.heard = now;
            self.suspect_until = None;
            self.asked = false;
        }
        let slept = self.network.slept();
        if slept > self.slept + SLEEP {
            // The connection may be gone: asks at once, and does not wait long for the answer.
            self.asked = false;
            self.doubts = true;
            self.suspect_until = Some(now + AFTER_SLEEP);
        }
        self.slept = slept;
    }

    /// How the connection has ended by now, if it has.
    pub(crate) fn end(&self, now: Instant) -> Option<End> {
        if self.dead_at() <= now {
            return Some(End::Dead);
        }
        self.stuck_at().filter(|stuck_at| *stuck_at <= now).map(|_| End::Stuck)
    }

    /// Whether the session's keys are to be renewed; once.
    pub(crate) fn take_renewal(&mut self, now: Instant) -> bool {
        let due = self.renew_at.is_some_and(|renew_at| renew_at <= now);
        if due {
            self.renew_at = None;
        }
        due
    }

    /// The token of the question for a sign of life, if it is time for one and no answer is due that
    /// would be heard.
    pub(crate) fn take_question(&mut self, now: Instant) -> Option<u64> {
        if self.ask_at().is_none_or(|ask_at| ask_at > now) {
            return None;
        }
        self.asked_at = now;
        self.doubts = false;
        if self.asked && !self.deaf {
            return None;
        }
        self.asked = true;
        self.questions += 1;
        Some(self.questions)
    }

    /// When silence means that the peer is gone.
    fn dead_at(&self) -> Instant {
        let dead_at = self.heard + self.timeouts.dead;
        self.suspect_until.map_or(dead_at, |suspect| suspect.min(dead_at))
    }

    /// When a write has been stuck for too long.
    fn stuck_at(&self) -> Option<Instant> {
        self.stuck.map(|(since, _)| since + self.timeouts.write)
    }

    /// When a sign of life is to be asked for. A `sealed` peer is not asked while it has to answer.
    fn ask_at(&self) -> Option<Instant> {
        if self.doubts {
            return Some(self.heard);
        }
        match (self.sealed, self.asked) {
            (true, true) => None,
            (true, false) => Some(self.heard + self.timeouts.ping_interval),
            (false, _) => Some(self.asked_at + self.timeouts.ping_interval),
        }
    }

    /// When something is due, or it is time to ask whether the machine has slept.
    fn next_look(&self, now: Instant) -> Instant {
        let optional = [self.ask_at(), self.stuck_at(), self.renew_at];
        let latest = self.dead_at().min(now + self.timeouts.ping_interval);
        optional.into_iter().flatten().fold(latest, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> Liveness {
        Liveness::new(Timeouts::default().listening(), Encoding::Sealed, crate::system())
    }

    /// The machine's clock rounds up to a tenth of a second.
    fn wait(clock: &Liveness) -> Duration {
        clock.sleep.deadline() - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_in_time_never_looks_and_is_told_so() {
        let mut clock = clock();
        for _ in 0..10 {
            advance(10 * SECOND).await;
            assert!(!clock.sleep.is_elapsed());
            clock.hear();
            assert!(clock.put_off());
            advance(SECOND).await;
            clock.hear();
            assert!(!clock.put_off(), "so soon it is not worth it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_schedule_nothing_is_put_off() {
        let mut clock = Liveness::new(Timeouts::default(), Encoding::Hex, crate::system());
        let planned = clock.sleep.deadline();
        for _ in 0..9 {
            advance(SECOND).await;
            clock.hear();
            assert!(!clock.put_off());
        }
        assert_eq!(clock.sleep.deadline(), planned);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_of_the_machine_is_looked_for_although_an_answer_is_awaited() {
        let mut clock = clock();
        advance(13 * SECOND).await;
        let now = Instant::now();
        clock.look(now);
        assert_eq!(clock.take_question(now), Some(1));
        clock.look_again(now);
        assert!(wait(&clock) <= 13 * SECOND, "{:?}", wait(&clock));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_stuck_is_noticed_in_time() {
        let timeouts = Timeouts { write: 3 * SECOND, ..Timeouts::default() };
        let mut clock = Liveness::new(timeouts, Encoding::Sealed, crate::system());
        clock.stick(7);
        assert!(wait(&clock) < 4 * SECOND, "{:?}", wait(&clock));
        advance(4 * SECOND).await;
        assert!(matches!(clock.end(Instant::now()), Some(End::Stuck)));
    }
}
