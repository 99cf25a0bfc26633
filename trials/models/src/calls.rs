//! The record of what really happened to every request, and the effects of the events about calls.

use paddington_wire::link::{Answer, CallEnd, CallEvent, CallId, OutgoingRequest};

use crate::connection::CLIENT;
use crate::ledger::Breach;
use crate::scenario::Scenario;
use crate::side::payload;
use crate::world::World;

/// One request. Its label is its index among those of its side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The number that the link gave it.
    call: u64,
    /// Whether a handler of any process of the peer was called with it.
    asked: bool,
    /// Whether a handler has answered it.
    answered: bool,
    /// Whether its requester knows its end, or is gone.
    ended: bool,
}

impl World {
    /// The application of a side asks.
    pub(crate) fn ask(&mut self, side: usize) -> bool {
        let label = self.requests[side].len() as u8;
        let request = OutgoingRequest { payload: payload(label), depth: 0, deadline: None };
        let Ok(call) = self.sides[side].link.request(request) else { return false };
        self.left.asks[side] -= 1;
        self.requests[side].push(Request { call, asked: false, answered: false, ended: false });
        true
    }

    /// A handler of a side answers the request at `index` of those that it was called with.
    pub(crate) fn reply(&mut self, side: usize, index: usize) -> bool {
        let Some((id, label)) = self.sides[side].asked.remove(index) else { return false };
        let answer = Answer::Reply(payload(label));
        if self.sides[side].link.answer(id, answer).is_ok() {
            self.requests[1 - side][usize::from(label)].answered = true;
        }
        true
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
                CallEvent::Forgotten { pair } => {
                    self.sides[side].asked.retain(|(id, _)| id.pair >= pair);
                }
                CallEvent::Ended { call, end } => self.ended(side, call, &end, scenario)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn asked(&mut self, side: usize, id: CallId, label: u8) -> Result<(), Breach> {
        let request = self.requests[1 - side].get_mut(usize::from(label));
        let request = request.ok_or(Breach::WrongNumber)?;
        if std::mem::replace(&mut request.asked, true) {
            return Err(Breach::AskedTwice);
        }
        self.sides[side].asked.push_back((id, label));
        Ok(())
    }

    fn ended(
        &mut self,
        side: usize,
        call: u64,
        end: &CallEnd,
        scenario: &Scenario,
    ) -> Result<(), Breach> {
        let mut requests = self.requests[side].iter_mut().enumerate();
        let known = requests.find(|(_, request)| request.call == call && !request.ended);
        let (label, request) = known.ok_or(Breach::WrongAnswer)?;
        request.ended = true;
        let right = match end {
            CallEnd::Answered(Answer::Reply(reply)) => {
                request.answered && *reply == payload(label as u8)
            }
            CallEnd::PeerChanged => !scenario.nobody_dies() || scenario.budget.twins > 0,
            _ => false,
        };
        if right { Ok(()) } else { Err(Breach::WrongAnswer) }
    }

    /// The requester's process is gone, and with it its requests.
    pub(crate) fn requester_restarts(&mut self, side: usize) {
        self.requests[side].iter_mut().for_each(|request| request.ended = true);
        self.sides[side].asked.clear();
    }

    /// Whether every request has ended, and every answer is acknowledged.
    #[must_use]
    pub fn calls_are_settled(&self) -> bool {
        let asks = self.left.asks[CLIENT] == 0 && self.left.asks[1 - CLIENT] == 0;
        let at_rest =
            |link: &paddington_wire::link::Link| link.requests() == 0 && link.unanswered() == 0;
        asks && self.requests.iter().flatten().all(|request| request.ended)
            && self.sides.iter().all(|side| at_rest(&side.link) && side.asked.is_empty())
    }
}
