//! One session in which the keys of its link may be renewed. Implements `docs/protocol.md` §5.5.

use std::sync::Arc;

use paddington_crypto::KeyError;

use super::draft::{Draft, Settled, Storing, What};
use super::generation::{Generation, Origin};
use super::{KeyRing, LAST_GENERATION, Role, Seconds};
use crate::faults::{Fault, broken};
use crate::frame::Features;
use crate::sealed::Exporter;
use crate::{Frame, Violation};

/// The time after which a server answers another request for new keys, a client asks again, and
/// either tries again to store, in seconds.
const PAUSE: Seconds = 10;
/// The least time between two times that a client stores new keys, in seconds.
const STORE_PAUSE: Seconds = 1;

/// The renewal of a link's keys in one session.
///
/// **Contract.** Pass it each RENEW and RENEWED that arrives. After each event, and when the time of
/// [`wake_at`](Self::wake_at) has come, [`poll`](Self::poll) it with the ring in use: send the frame,
/// or store the draft and [`settle`](Self::settle) it. No other change of the ring may be under way
/// while a draft is being stored.
#[derive(Debug)]
#[cfg_attr(feature = "fuzzing", derive(Clone))]
pub struct Renewal {
    role: Role,
    /// The generation of the session's keys.
    session: u64,
    /// `None` if there are no renewals in this session.
    exporter: Option<Exporter>,
    /// How long keys stay, in seconds.
    interval: Seconds,
    stage: Stage,
    /// Whether somebody has asked for new keys.
    asked: bool,
    /// Whether one of the two sides is about to end.
    draining: bool,
    /// Whether the client has keys that wait to be used, so that there are no others in this session.
    renewed: bool,
    /// Whether the client has said that it has no such keys.
    has_none: bool,
    /// When this side asked, or began to renew, last.
    began: Option<Seconds>,
    /// When this side stored because of a frame, or tried to, last, and how long it waits then.
    stored: Option<(Seconds, Seconds)>,
}

/// When the keys of a link were changed last, from which its next session goes on: whoever comes again
/// and again gets new keys no more often for that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// The generation of the session's keys.
    session: u64,
    began: Option<Seconds>,
    stored: Option<(Seconds, Seconds)>,
}

/// How far a renewal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    /// The frame with this generation has arrived, and something is to be stored because of it.
    Arrived(u64),
    /// A draft is being stored.
    Storing,
    /// The server's RENEW with this generation, or with the session's own, has no answer.
    Unanswered(u64),
}

/// What is to be done.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Store the draft.
    Store(Draft),
    /// Send the frame.
    Send(Frame),
}

impl Renewal {
    /// Makes the renewal of a session with the generation `session`, in which the two READYs have
    /// these features. The keys stay for `interval` seconds.
    #[must_use]
    pub fn new(
        role: Role,
        session: u64,
        exporter: Exporter,
        [ours, theirs]: [Features; 2],
        interval: Seconds,
    ) -> Self {
        let offered = ours.has(Features::RENEW) && theirs.has(Features::RENEW);
        Self {
            role,
            session,
            exporter: offered.then_some(exporter),
            interval,
            stage: Stage::Idle,
            asked: false,
            draining: false,
            renewed: false,
            has_none: false,
            began: None,
            stored: None,
        }
    }

    /// Goes on with the pauses of the link's earlier sessions. The first renewal of keys that were handed
    /// over waits for nothing.
    pub fn keep_pace(&mut self, ring: &KeyRing, earlier: Pace) {
        let was_handed_over =
            ring.generation(self.session).is_some_and(|it| it.origin == Origin::HandedOver);
        let is_first = was_handed_over && earlier.session != self.session;
        self.began = earlier.began.filter(|_| !is_first);
        self.stored = earlier.stored;
    }

    /// Returns what the next session goes on from. It changes with each [`poll`](Self::poll) and
    /// [`settle`](Self::settle).
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace { session: self.session, began: self.began, stored: self.stored }
    }

    /// Returns whether both sides can renew the keys in this session.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.exporter.is_some()
    }

    /// Returns whether a draft is being stored. A client dials again only when it is settled.
    #[must_use]
    pub fn is_storing(&self) -> bool {
        self.stage == Stage::Storing
    }

    /// Wants new keys as soon as they are possible. Nothing happens if they are not.
    pub fn ask(&mut self) {
        self.asked = self.exporter.is_some() && !self.draining;
    }

    /// Begins no more renewals: one of the two sides is about to end.
    pub fn drain(&mut self) {
        self.draining = true;
        self.asked = false;
    }

    /// Takes a RENEW or a RENEWED that arrived. Other frames do not concern it.
    ///
    /// # Errors
    ///
    /// [`Violation::BadRenewal`] if the other side broke §5.5. The session must then end.
    pub fn receive(&mut self, frame: &Frame) -> Result<(), Violation> {
        let bad = |why| Err(Violation::BadRenewal(why));
        let (Frame::Renew(number) | Frame::Renewed(number)) = frame else { return Ok(()) };
        if self.exporter.is_none() {
            return bad("it was not offered");
        }
        if *number > LAST_GENERATION {
            return bad("its generation has too high a number");
        }
        match (self.role, frame) {
            (Role::Server, Frame::Renew(0)) => {
                self.asked |= self.stage == Stage::Idle && !self.draining;
            }
            (Role::Server, Frame::Renew(_)) => return bad("a client does not choose keys"),
            (Role::Server, Frame::Renewed(number)) if self.is_answer(*number) => {
                self.stage = Stage::Arrived(*number);
            }
            (Role::Client, Frame::Renew(number)) => {
                if self.stage != Stage::Idle {
                    return bad("another one is not answered");
                }
                if *number < self.session {
                    return bad("its generation is older than the session's");
                }
                self.stage = Stage::Arrived(*number);
            }
            _ => return bad("an answer to nothing"),
        }
        Ok(())
    }

    /// Returns what is to be done at the time `now`, with the ring that is in use.
    ///
    /// # Errors
    ///
    /// [`KeyError`], which does not happen: see [`Exporter::keys`].
    pub fn poll(&mut self, ring: &KeyRing, now: Seconds) -> Result<Option<Step>, KeyError> {
        if self.is_pausing(now) {
            return Ok(None);
        }
        match (self.role, self.stage) {
            (Role::Client, Stage::Idle) if self.asked => {
                self.asked = false;
                self.began = Some(now);
                Ok(Some(Step::Send(Frame::Renew(0))))
            }
            (Role::Client, Stage::Arrived(number)) => self.answer(ring, number, now),
            (Role::Server, Stage::Arrived(number)) => self.conclude(ring, number, now),
            (Role::Server, Stage::Idle) => self.begin(ring, now),
            _ => Ok(None),
        }
    }

    /// Ends the storing of a draft. Its ring is in use from now on if it was stored, and only then is
    /// there something to say.
    pub fn settle(&mut self, draft: Draft, storing: Storing, now: Seconds) -> Settled {
        let Draft { ring, what } = draft;
        if storing == Storing::Failed && !broken(Fault::KeysToldUnstored) {
            match what {
                What::Renew(_) => (self.stage, self.began) = (Stage::Idle, Some(now)),
                What::Renewed(number) | What::Forgotten(number) | What::Burn(number) => {
                    (self.stage, self.stored) = (Stage::Arrived(number), Some((now, PAUSE)));
                }
            }
            return Settled { ring: None, frame: None };
        }
        if what.is_agreed()
            && let Some(exporter) = &mut self.exporter
        {
            exporter.advance();
        }
        match what {
            What::Renew(number) => {
                (self.stage, self.began) = (Stage::Unanswered(number), Some(now));
            }
            What::Renewed(_) | What::Forgotten(_) => {
                (self.stage, self.stored) = (Stage::Idle, Some((now, STORE_PAUSE)));
            }
            What::Burn(_) => self.stage = Stage::Idle,
        }
        Settled { ring: (storing == Storing::Done).then_some(ring), frame: what.frame() }
    }

    /// Returns when it is to be polled again, in seconds since 1970, if nothing happens before. It was
    /// just polled at the time `now`.
    #[must_use]
    pub fn wake_at(&self, ring: &KeyRing, now: Seconds) -> Option<Seconds> {
        let (last, pause) = self.pause();
        let paused = last.map_or(0, |last| last.saturating_add(pause));
        let moment = match self.stage {
            Stage::Arrived(_) => Some(paused),
            Stage::Idle if self.asked => Some(paused),
            Stage::Idle if self.role == Role::Server && self.is_open() => {
                ring.due(self.session, self.interval).map(|due| due.max(paused))
            }
            _ => None,
        };
        moment.filter(|moment| *moment > now)
    }

    /// Returns how far it is, without the time, for a model checker.
    #[cfg(feature = "fuzzing")]
    #[must_use]
    pub fn shape(&self) -> String {
        let Self { stage, session, asked, renewed, has_none, .. } = self;
        format!("{stage:?} {session} {asked} {renewed} {has_none}")
    }

    /// Returns whether the server takes it that the client has the keys that wait, for a model checker.
    #[cfg(feature = "fuzzing")]
    #[must_use]
    pub fn is_renewed(&self) -> bool {
        self.renewed
    }

    /// Returns whether a renewal may begin.
    fn is_open(&self) -> bool {
        self.exporter.is_some() && !self.draining && !self.renewed
    }

    /// Returns whether a RENEWED with this number answers the RENEW that has no answer.
    fn is_answer(&self, number: u64) -> bool {
        match self.stage {
            Stage::Unanswered(asked) => number == asked,
            _ => false,
        }
    }

    /// A clock that is set back does not make a pause longer than it is.
    fn is_pausing(&self, now: Seconds) -> bool {
        let (last, pause) = self.pause();
        last.is_some_and(|last| last.abs_diff(now) < pause)
    }

    /// Returns since when there has been a pause before the next step, and how long it is.
    fn pause(&self) -> (Option<Seconds>, Seconds) {
        match (self.stage, self.stored) {
            (Stage::Arrived(_), Some((last, pause))) => (Some(last), pause),
            (Stage::Arrived(_), None) => (None, 0),
            _ => (self.began, PAUSE),
        }
    }

    fn begin(&mut self, ring: &KeyRing, now: Seconds) -> Result<Option<Step>, KeyError> {
        if !self.is_open() || !ring.may_renew(self.session, now) {
            self.asked = false;
            return Ok(None);
        }
        let by_age = ring.due(self.session, self.interval).is_some_and(|due| due <= now);
        if !self.asked && !by_age {
            return Ok(None);
        }
        let has_waiting = ring.waiting(self.session).is_some();
        if has_waiting && !self.has_none && !broken(Fault::AgreedReplacedUnasked) {
            self.stage = Stage::Unanswered(self.session);
            return Ok(Some(Step::Send(Frame::Renew(self.session))));
        }
        self.asked = false;
        let number = ring.next_number();
        let ring = ring.expire(now).unwrap_or_else(|| ring.clone());
        let Some(ring) = self.agree(&ring, number, now)? else { return Ok(None) };
        self.began = Some(now);
        Ok(Some(self.store(ring, What::Renew(number))))
    }

    /// Draws the server's conclusion from the client's RENEWED.
    fn conclude(
        &mut self,
        ring: &KeyRing,
        number: u64,
        now: Seconds,
    ) -> Result<Option<Step>, KeyError> {
        if number == self.session {
            self.has_none = true;
            self.stage = Stage::Idle;
            return if self.is_pausing(now) { Ok(None) } else { self.begin(ring, now) };
        }
        self.renewed = true;
        self.asked = false;
        let Some(ring) = ring.confirmed(self.session, number, now) else {
            self.stage = Stage::Idle;
            return Ok(None);
        };
        Ok(Some(self.store(ring, What::Burn(number))))
    }

    /// Makes the client's answer to RENEW, if it has one.
    fn answer(
        &mut self,
        ring: &KeyRing,
        number: u64,
        now: Seconds,
    ) -> Result<Option<Step>, KeyError> {
        if !ring.generation(self.session).is_some_and(Generation::is_used) {
            return Ok(None); // this is to be stored first
        }
        if number == self.session {
            return Ok(Some(self.say_none(ring, now)));
        }
        let Some(ring) = self.agree(ring, number, now)? else {
            self.stage = Stage::Unanswered(number);
            return Ok(None);
        };
        self.stored = Some((now, STORE_PAUSE));
        Ok(Some(self.store(ring, What::Renewed(number))))
    }

    /// Answers the server's question for keys that wait to be used. If the client has any, it has
    /// fallen back from them: it forgets them first, so that those of the server can be replaced.
    fn say_none(&mut self, ring: &KeyRing, now: Seconds) -> Step {
        let none = Step::Send(Frame::Renewed(self.session));
        self.stage = Stage::Idle;
        if broken(Fault::FallenBackKept) {
            return none;
        }
        let Some(ring) = ring.fallen_back(self.session) else { return none };
        self.stored = Some((now, STORE_PAUSE));
        self.store(ring, What::Forgotten(self.session))
    }

    fn agree(
        &self,
        ring: &KeyRing,
        number: u64,
        now: Seconds,
    ) -> Result<Option<KeyRing>, KeyError> {
        let Some(exporter) = &self.exporter else { return Ok(None) };
        let keys = Arc::new(exporter.keys(number)?);
        Ok(ring.agree(self.role, self.session, number, keys, now))
    }

    fn store(&mut self, ring: KeyRing, what: What) -> Step {
        self.stage = Stage::Storing;
        Step::Store(Draft { ring, what })
    }
}
