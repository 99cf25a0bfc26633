//! The record of what really happened to every request, and the effects of the events about calls.

use paddington_wire::FailureCode;
use paddington_wire::link::{Answer, CallEnd, CallEvent, CallId, OutgoingRequest};

use crate::action::Action;
use crate::connection::{CLIENT, SERVER};
use crate::ledger::Breach;
use crate::scenario::Scenario;
use crate::side::{Side, payload};
use crate::world::World;

/// The codes of failures: one that counts as failed, one that counts as expired, and one that nobody
/// knows.
const CODES: [FailureCode; 3] = [FailureCode::FAILED, FailureCode::EXPIRED, FailureCode(u16::MAX)];

/// One request. Its label is its index among those of its side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The number that the link gave it.
    call: u64,
    /// Whether a handler of any process of the peer was called with it.
    asked: bool,
    /// The answer of a handler.
    answer: Option<Answer>,
    /// Whether its requester has given it up.
    given_up: bool,
    /// Whether the peer has to be told so, because it was transmitted before.
    told: bool,
    /// The end that its requester knows.
    end: RequestEnd,
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RequestEnd {
    /// It has none: its requester waits.
    Waits,
    /// There is a reply.
    Replied,
    /// There is none.
    Failed,
    /// Its time is over.
    Expired,
    /// It was cancelled.
    Cancelled,
    /// Its requester is gone, whatever its end was.
    Gone,
}

impl RequestEnd {
    /// The end that an answer is for a requester that waits.
    fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Reply(_) => Self::Replied,
            Answer::Failure { code: FailureCode::EXPIRED, .. } => Self::Expired,
            Answer::Failure { .. } => Self::Failed,
        }
    }
}

impl Request {
    fn new(call: u64) -> Self {
        let end = RequestEnd::Waits;
        Self { call, asked: false, answer: None, given_up: false, told: false, end }
    }
}

impl World {
    /// The application of a side asks.
    pub(crate) fn ask(&mut self, side: usize) -> bool {
        let label = self.requests[side].len() as u8;
        let request = OutgoingRequest { payload: payload(label), depth: 0, deadline: None };
        let Ok(call) = self.sides[side].link.request(request) else { return false };
        self.left.asks[side] -= 1;
        self.requests[side].push(Request::new(call));
        true
    }

    /// Collects the requests that can be cancelled now.
    pub(crate) fn cancels(&self, actions: &mut Vec<Action>) {
        for side in [CLIENT, SERVER] {
            if side == CLIENT && self.away.is_some() {
                continue;
            }
            let requests = self.requests[side].iter().enumerate();
            let waiting = requests.filter(|(_, request)| request.end == RequestEnd::Waits);
            actions.extend(waiting.map(|(label, _)| Action::Cancel { side, label }));
        }
    }

    /// Nobody waits any more for the answer to a request: it is cancelled, or, every other one, its
    /// time is over, which is the same for the peer.
    pub(crate) fn cancel(&mut self, side: usize, label: usize) -> bool {
        self.left.cancels -= 1;
        let expired = label % 2 == 1;
        let (request, side) = (&mut self.requests[side][label], &mut self.sides[side]);
        request.given_up = true;
        request.end = if expired { RequestEnd::Expired } else { RequestEnd::Cancelled };
        request.told = side.link.give_up_request(request.call, expired);
        side.late += u64::from(request.told);
        true
    }

    /// A handler of a side answers the request at `index` of those that it was called with.
    pub(crate) fn reply(&mut self, side: usize, index: usize, fails: bool) -> bool {
        let Some((id, label)) = self.sides[side].asked.remove(index) else { return false };
        let label = usize::from(label);
        let answer = if fails {
            self.left.refusals -= 1;
            Answer::failure(CODES[label % CODES.len()])
        } else {
            Answer::Reply(payload(label as u8))
        };
        if self.sides[side].link.answer(id, answer.clone()).is_ok() {
            self.requests[1 - side][label].answer = Some(answer);
        }
        true
    }

    /// Returns whether an event is the end of a handler for whose answer nobody waits. Such a handler
    /// must not be what everything waits for: its side is told.
    #[must_use]
    pub fn is_for_nobody(&self, action: Action) -> bool {
        let Action::Reply { side, index, .. } = action else { return false };
        let asked = self.sides[side].asked.get(index);
        asked.is_some_and(|(_, label)| self.requests[1 - side][usize::from(*label)].given_up)
    }

    /// Takes what a link tells about calls.
    ///
    /// # Errors
    ///
    /// The first promise that is broken.
    pub(crate) fn take_calls(&mut self, side: usize, scenario: &Scenario) -> Result<(), Breach> {
        for event in self.sides[side].link.take_call_events() {
            match event {
                CallEvent::Asked(request) => {
                    let label = request.payload.first().copied().unwrap_or(u8::MAX);
                    self.asked(side, request.id, label)?;
                }
                CallEvent::Cancelled(id) => self.cancelled(side, id)?,
                CallEvent::Forgotten { pair } => {
                    let side = &mut self.sides[side];
                    side.asked.retain(|(id, _)| id.pair >= pair);
                    side.late = side.link.call_counts().late; // no other answer comes
                }
                CallEvent::Ended { call, end } => self.ended(side, call, &end, scenario)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn asked(&mut self, side: usize, id: CallId, label: u8) -> Result<(), Breach> {
        let (index, requests) = (usize::from(label), &mut self.requests[1 - side]);
        let request = requests.get_mut(index).ok_or(Breach::WrongNumber)?;
        if std::mem::replace(&mut request.asked, true) {
            return Err(Breach::AskedTwice);
        }
        let in_vain = request.given_up && !request.told;
        if in_vain || requests[index + 1..].iter().any(|later| later.asked) {
            return Err(Breach::AskedOutOfTurn);
        }
        self.sides[side].asked.push_back((id, label));
        Ok(())
    }

    /// The handler of a request is told that nobody waits any more. Its own answer comes too late.
    fn cancelled(&mut self, side: usize, id: CallId) -> Result<(), Breach> {
        let answering = &mut self.sides[side];
        let index = answering.asked.iter().position(|(asked, _)| *asked == id);
        let asked = index.and_then(|index| answering.asked.remove(index));
        let (_, label) = asked.ok_or(Breach::WrongAnswer)?;
        let is_late = answering.link.answer(id, Answer::Reply(payload(label))).is_err();
        let given_up = self.requests[1 - side][usize::from(label)].given_up;
        if given_up && is_late { Ok(()) } else { Err(Breach::WrongAnswer) }
    }

    fn ended(
        &mut self,
        side: usize,
        call: u64,
        end: &CallEnd,
        scenario: &Scenario,
    ) -> Result<(), Breach> {
        let mut requests = self.requests[side].iter_mut();
        let known =
            requests.find(|request| request.call == call && request.end == RequestEnd::Waits);
        let request = known.ok_or(Breach::WrongAnswer)?;
        let right = match end {
            CallEnd::Answered(answer) => {
                request.end = RequestEnd::of(answer);
                request.answer.as_ref() == Some(answer)
            }
            CallEnd::PeerChanged => {
                request.end = RequestEnd::Failed;
                !scenario.nobody_dies() || scenario.budget.twins > 0
            }
            _ => false,
        };
        if right { Ok(()) } else { Err(Breach::WrongAnswer) }
    }

    /// The requester's process is gone, and with it its requests.
    pub(crate) fn requester_restarts(&mut self, side: usize) {
        self.requests[side].iter_mut().for_each(|request| request.end = RequestEnd::Gone);
        self.sides[side].asked.clear();
    }

    /// Looks whether each link counts the ends that its requests really have, and no more answers
    /// that come too late than are due.
    ///
    /// # Errors
    ///
    /// [`Breach::NotConserved`] if it does not.
    pub(crate) fn judge_calls(&self) -> Result<(), Breach> {
        use RequestEnd::{Cancelled, Expired, Failed, Replied, Waits};
        for (index, requests) in self.requests.iter().enumerate() {
            let away = self.away.as_deref().filter(|_| index == CLIENT);
            let side = away.unwrap_or(&self.sides[index]);
            let counts = side.link.call_counts();
            let waiting = side.link.requests() as u64;
            let counted =
                [counts.answered, counts.failed, counts.expired, counts.cancelled, waiting];
            let real = [Replied, Failed, Expired, Cancelled, Waits]
                .map(|end| requests.iter().filter(|request| request.end == end).count() as u64);
            if counted != real || counts.late > side.late {
                return Err(Breach::NotConserved);
            }
        }
        Ok(())
    }

    /// Whether every request has ended, and every answer is acknowledged, also the late ones.
    #[must_use]
    pub fn calls_are_settled(&self) -> bool {
        let asks = self.left.asks[CLIENT] == 0 && self.left.asks[SERVER] == 0;
        let at_rest = |side: &Side| {
            let link = &side.link;
            link.requests() == 0
                && link.unanswered() == 0
                && link.call_counts().late == side.late
                && side.asked.is_empty()
        };
        let mut requests = self.requests.iter().flatten();
        asks && requests.all(|request| request.end != RequestEnd::Waits)
            && self.sides.iter().all(at_rest)
    }
}
