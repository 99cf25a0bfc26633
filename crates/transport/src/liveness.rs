//! The timers of one connection: when to ping, when to give up and when to renew the session.
//! Implements `docs/protocol.md` §7.
//!
//! On a `sealed` link, a side that hears its peer sends no pings: should the peer hear nothing, its
//! own ping is answered at once. While a long frame arrives, its receiver goes on to ping: the
//! answers are behind the frame, and the sender hears nothing else. On a `hex` link a ping may be
//! stuck behind messages that are not read, so both sides ping at regular intervals, whatever they
//! hear.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use paddington_wire::Encoding;
use tokio::time::{Instant, Sleep, sleep};

use crate::progress::{Carried, Progress};
use crate::{End, Network, Timeouts};

/// The machine may have lost its connections if it was suspended for longer than this.
const SLEEP: Duration = Duration::from_secs(10);
/// Time that the peer has for a sign of life after that.
const AFTER_SLEEP: Duration = Duration::from_secs(3);
/// A server lets sessions become older than clients do by this part of their age. Clients vary it by
/// half as much.
const LONGER: u32 = 5;
/// The next check is postponed only if it moves by more than the ping interval divided by this.
const WORTH_IT: u32 = 4;

/// The timers of one connection.
pub(crate) struct Liveness {
    sleep: Pin<Box<Sleep>>,
    /// Time at which the next check is due; it may come a little later.
    planned: Instant,
    timeouts: Timeouts,
    sealed: bool,
    network: Arc<dyn Network>,
    heard: Instant,
    /// The bytes that have arrived since `heard`, without a whole frame.
    progress: Progress,
    /// Whether this side reads nothing at the moment, so that silence proves nothing.
    deaf: bool,
    /// Time at which the last ping was due, whether or not it was sent.
    asked_at: Instant,
    /// Whether a ping is unanswered.
    asked: bool,
    /// Number of bytes that had arrived when the last ping was due.
    received_then: u64,
    /// Whether a ping is due at once, whatever was heard.
    doubts: bool,
    /// Time at which the last ping was sent, unless an answer may be that of an earlier one.
    pinged_at: Option<Instant>,
    /// Number of pings so far, which is also the token of the last one.
    questions: u64,
    /// Since when the socket takes nothing, and the number of bytes it had taken by then.
    stuck: Option<(Instant, u64)>,
    /// Time at which the session is to be renewed.
    renew_at: Option<Instant>,
    /// Total time that the machine had been suspended at the last check.
    slept: Duration,
    /// Time by which the peer has to show a sign of life after a suspend of the machine.
    suspect_until: Option<Instant>,
}

impl Timeouts {
    /// Returns the timeouts of the server's side, which pings later. It also ends sessions later, so
    /// that it is the client that renews them, unless it clings to its keys.
    pub(crate) fn listening(self) -> Self {
        let room = self.dead.saturating_sub(self.ping_interval).min(self.ping_interval);
        let session_age = self.session_age + self.session_age / LONGER;
        Self { ping_interval: self.ping_interval + room / 4, session_age, ..self }
    }
}

impl Liveness {
    pub(crate) fn new(
        timeouts: Timeouts,
        encoding: Encoding,
        progress: Progress,
        network: Arc<dyn Network>,
    ) -> Self {
        let now = Instant::now();
        let mut clock = Self {
            sleep: Box::pin(sleep(timeouts.ping_interval)),
            planned: now,
            timeouts,
            sealed: encoding == Encoding::Sealed,
            heard: now,
            received_then: progress.received(),
            progress,
            deaf: false,
            asked_at: now,
            asked: false,
            doubts: false,
            pinged_at: None,
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

    /// Resolves with the current time when a check is due.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        self.sleep.as_mut().poll(cx).map(|()| Instant::now())
    }

    /// Schedules the next check for `at`, whatever was planned.
    pub(crate) fn look_at(&mut self, at: Instant) {
        self.planned = at;
        self.sleep.as_mut().reset(at);
    }

    /// Schedules the next check. It may come a little later than it is due, so that many
    /// connections are checked together.
    pub(crate) fn look_again(&mut self, now: Instant) {
        self.planned = self.next_look(now);
        let wait = self.network.together(self.planned.saturating_duration_since(now));
        self.sleep.as_mut().reset(now + wait);
    }

    /// Notes that something arrived that proves the peer alive, behind the bytes in `carried`.
    pub(crate) fn hear(&mut self, carried: Carried) {
        self.heard = Instant::now();
        self.progress.prove(carried);
        self.suspect_until = None;
    }

    /// Reschedules the next check after something was heard. Returns whether it was postponed: the
    /// caller then does what the check would have done, as a busy connection may never get to one.
    pub(crate) fn put_off(&mut self) -> bool {
        let next = self.next_look(self.heard);
        let later = next > self.planned + self.timeouts.ping_interval / WORTH_IT;
        if later || next < self.planned {
            self.look_again(self.heard);
        }
        later
    }

    /// Notes that a ping was answered. Returns the time since the last one, if this is its answer. The
    /// answers of a `hex` peer do not say to which ping.
    pub(crate) fn hear_answer(&mut self, token: u64) -> Option<Duration> {
        self.asked = false;
        let is_last = !self.sealed || token == self.questions;
        self.pinged_at.take_if(|_| is_last).map(|pinged_at| pinged_at.elapsed())
    }

    /// Sets whether this side reads at the moment.
    pub(crate) fn listen(&mut self, listens: bool) {
        self.deaf = !listens;
    }

    /// Notes that nothing is waiting to be written, or that something was written.
    pub(crate) fn unstick(&mut self) {
        self.stuck = None;
    }

    /// Notes that the socket takes nothing after `written` bytes. A `hex` peer is exempt: it has no
    /// credit and slows its sender down by not reading, which does not mean that it is dead.
    pub(crate) fn stick(&mut self, written: u64) {
        if self.sealed && self.stuck.is_none_or(|(_, before)| before != written) {
            let now = Instant::now();
            self.stuck = Some((now, written));
            if self.stuck_at().is_some_and(|stuck_at| stuck_at < self.planned) {
                self.look_again(now);
            }
        }
    }

    /// Accounts for what goes unnoticed between two checks: parts of a frame, a pause in reading, a
    /// suspend.
    pub(crate) fn look(&mut self, carried: Carried, now: Instant) {
        self.progress.note(carried, now);
        if self.deaf {
            // The pong may be waiting unread, and the peer still has to hear from this side.
            self.heard = now;
            self.progress.prove(carried);
            self.suspect_until = None;
            self.asked = false;
        }
        let slept = self.network.slept();
        if slept > self.slept + SLEEP {
            // The connection may be gone: ping at once, and do not wait long for the pong.
            self.asked = false;
            self.doubts = true;
            self.suspect_until = Some(now + AFTER_SLEEP);
        }
        self.slept = slept;
    }

    /// Returns how the connection has ended, if one of its deadlines has passed.
    pub(crate) fn end(&self, now: Instant) -> Option<End> {
        if self.dead_at() <= now {
            return Some(End::Dead);
        }
        self.stuck_at().filter(|stuck_at| *stuck_at <= now).map(|_| End::Stuck)
    }

    /// Returns whether the session is to be renewed, which is true only once.
    pub(crate) fn take_renewal(&mut self, now: Instant) -> bool {
        let due = self.renew_at.is_some_and(|renew_at| renew_at <= now);
        if due {
            self.renew_at = None;
        }
        due
    }

    /// Returns the token of a ping, if one is due and no other is unanswered. One that is unanswered
    /// does not count while this side does not read, or while the answer may be behind a long frame.
    pub(crate) fn take_question(&mut self, now: Instant) -> Option<u64> {
        if self.ask_at().is_none_or(|ask_at| ask_at > now) {
            return None;
        }
        let received_then = std::mem::replace(&mut self.received_then, self.progress.received());
        self.asked_at = now;
        self.doubts = false;
        let is_behind_a_frame = self.progress.received() != received_then;
        if self.asked && !self.deaf && !is_behind_a_frame {
            return None;
        }
        let is_clear = self.sealed || (!self.asked && self.pinged_at.is_none());
        self.pinged_at = is_clear.then_some(now);
        self.asked = true;
        self.questions += 1;
        Some(self.questions)
    }

    /// Returns when silence means that the peer is gone.
    fn dead_at(&self) -> Instant {
        let dead_at = self.progress.dead_at(self.heard, self.timeouts.dead);
        self.suspect_until.map_or(dead_at, |suspect| suspect.min(dead_at))
    }

    /// Returns when a write has been stuck for too long. What the socket had taken may wait in this
    /// machine and on the way; if the line is slow, the socket takes nothing more for that time.
    fn stuck_at(&self) -> Option<Instant> {
        let (since, written) = self.stuck?;
        Some(since + self.timeouts.write + self.progress.time_for(written))
    }

    /// Returns when the next ping is due. A `sealed` peer gets none while one is unanswered, unless a
    /// frame is arriving that the answer may be behind.
    fn ask_at(&self) -> Option<Instant> {
        if self.doubts {
            return Some(self.heard);
        }
        match (self.sealed, self.asked) {
            (true, true) if self.progress.received() == self.received_then => None,
            (true, true) => Some(self.asked_at.max(self.heard) + self.timeouts.ping_interval),
            (true, false) => Some(self.heard + self.timeouts.ping_interval),
            (false, _) => Some(self.asked_at + self.timeouts.ping_interval),
        }
    }

    /// Returns when something is due, or a suspend of the machine is to be checked for.
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
        with(Timeouts::default().listening(), Encoding::Sealed)
    }

    fn with(timeouts: Timeouts, encoding: Encoding) -> Liveness {
        let progress = Progress::new(1_000_000, Carried::default(), Instant::now());
        Liveness::new(timeouts, encoding, progress, crate::system())
    }

    /// Returns the time until the next check, which the network rounds up to a tenth of a second.
    fn wait(clock: &Liveness) -> Duration {
        clock.sleep.deadline() - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_postpones_its_checks() {
        let mut clock = clock();
        for _ in 0..10 {
            advance(10 * SECOND).await;
            assert!(!clock.sleep.is_elapsed());
            clock.hear(Carried::default());
            assert!(clock.put_off());
            advance(SECOND).await;
            clock.hear(Carried::default());
            assert!(!clock.put_off(), "not for so short a time");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hex_connection_is_checked_on_time_whatever_it_hears() {
        let mut clock = with(Timeouts::default(), Encoding::Hex);
        let planned = clock.sleep.deadline();
        for _ in 0..9 {
            advance(SECOND).await;
            clock.hear(Carried::default());
            assert!(!clock.put_off());
        }
        assert_eq!(clock.sleep.deadline(), planned);
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspend_of_the_machine_is_noticed_while_a_pong_is_awaited() {
        let mut clock = clock();
        advance(13 * SECOND).await;
        let now = Instant::now();
        clock.look(Carried::default(), now);
        assert_eq!(clock.take_question(now), Some(1));
        clock.look_again(now);
        assert!(wait(&clock) <= 13 * SECOND, "{:?}", wait(&clock));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_write_is_noticed_in_time() {
        let timeouts = Timeouts { write: 3 * SECOND, ..Timeouts::default() };
        let mut clock = with(timeouts, Encoding::Sealed);
        clock.stick(7);
        assert!(wait(&clock) < 4 * SECOND, "{:?}", wait(&clock));
        advance(4 * SECOND).await;
        assert!(matches!(clock.end(Instant::now()), Some(End::Stuck)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_not_stuck_while_what_was_written_may_be_on_a_slow_line() {
        let mut clock = clock();
        for (written, seconds) in [(0, 30), (50_000, 40), (10_000_000, 230)] {
            clock.unstick();
            clock.stick(written);
            advance((seconds - 1) * SECOND).await;
            clock.hear(Carried::default());
            assert!(clock.end(Instant::now()).is_none(), "{written}");
            advance(SECOND).await;
            assert!(matches!(clock.end(Instant::now()), Some(End::Stuck)), "{written}");
        }
    }
}
