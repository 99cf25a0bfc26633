//! Both services and the network between them: what can happen, and what then is so.

use paddington_wire::Frame;
use paddington_wire::link::{AckTime, Millis, Outcome};

use crate::action::Action;
use crate::calls::Request;
use crate::connection::{CLIENT, Connection, End, SERVER};
use crate::ledger::{Breach, Finished, Ledger, Standing};
use crate::scenario::{Budget, Scenario};
use crate::side::Side;

/// When all deadlines of the model pass.
pub const DEADLINE: Millis = 1;
/// How many connections may be there at a time: one that stands and two whose ends linger.
const CONNECTIONS: usize = 3;

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The client and the server.
    pub sides: [Side; 2],
    /// The real story of the messages that each of them has sent.
    pub ledgers: [Ledger; 2],
    /// The real story of the requests that each of them has made.
    pub requests: [Vec<Request>; 2],
    /// The connections that have not quite ended, oldest first.
    pub connections: Vec<Connection>,
    /// Events that may still happen.
    pub left: Budget,
    /// The time.
    pub now: Millis,
    /// The client, while a second process has its place.
    pub away: Option<Box<Side>>,
    /// The promise that was broken.
    pub breach: Option<Breach>,
}

impl World {
    /// Before anything has happened.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let mut ledgers: [Ledger; 2] = Default::default();
        ledgers[CLIENT].left_over(scenario);
        Self {
            sides: [CLIENT, SERVER].map(|index| Side::new(index, scenario)),
            ledgers,
            requests: Default::default(),
            connections: Vec::new(),
            left: scenario.budget,
            now: 0,
            away: None,
            breach: None,
        }
    }

    /// Collects the events that can happen now. Some may turn out to change nothing.
    pub fn actions(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        if self.breach.is_some() {
            return;
        }
        for index in 0..self.connections.len() {
            self.connection_actions(index, actions);
        }
        for side in [CLIENT, SERVER] {
            self.side_actions(side, scenario, actions);
            self.disk_actions(side, actions);
        }
        if self.dialled().is_none() && self.connections.len() < CONNECTIONS {
            actions.push(Action::Dial);
        }
        self.trouble(actions);
    }

    fn connection_actions(&self, index: usize, actions: &mut Vec<Action>) {
        let connection = &self.connections[index];
        for side in [CLIENT, SERVER] {
            if connection.ends[side] != End::Gone && !connection.frames[side].is_empty() {
                actions.push(Action::Deliver { connection: index, side });
            }
            if connection.can_end(side) {
                actions.push(Action::Finish { connection: index, side });
            }
        }
    }

    fn side_actions(&self, side: usize, scenario: &Scenario, actions: &mut Vec<Action>) {
        for index in 0..self.sides[side].inbox.len().min(scenario.handlers) {
            actions.push(Action::Handle { side, index, rejects: false });
            if self.left.rejections > 0 {
                actions.push(Action::Handle { side, index, rejects: true });
            }
        }
        for index in 0..self.sides[side].asked.len().min(2) {
            actions.push(Action::Reply { side, index, fails: false });
            if self.left.refusals > 0 {
                actions.push(Action::Reply { side, index, fails: true });
            }
        }
        if self.left.asks[side] > 0 && (side != CLIENT || self.away.is_none()) {
            actions.push(Action::Ask(side));
        }
        if self.left.sends[side] > 0 && (side != CLIENT || self.away.is_none()) {
            actions.push(Action::Send(side));
        }
        if self.live(side).is_some() && self.sides[side].link.wants_new_session() {
            actions.push(Action::Renew(side));
        }
        if self.can_write(side, scenario) {
            actions.push(Action::Transmit(side));
            if self.sides[side].link.ack_time(self.now) != AckTime::Never {
                actions.push(Action::Acknowledge(side));
            }
        }
    }

    fn disk_actions(&self, side: usize, actions: &mut Vec<Action>) {
        let Some(disk) = &self.sides[side].disk else { return };
        if !disk.answers.is_empty() {
            actions.push(Action::Answer(side));
        }
        if !disk.appends.is_empty() {
            actions.push(Action::CommitAppend(side));
        }
        if disk.lazy.is_empty() {
            actions.push(Action::Gather(side));
        } else {
            actions.push(Action::CommitLazy(side));
        }
        if self.sides[side].link.wanted().is_some() {
            actions.push(Action::Read(side));
        }
        if self.left.failures[side] > 0 && !disk.appends.is_empty() {
            actions.push(Action::FailDisk(side));
        }
        if self.left.set_backs[side] > 0 {
            actions.push(if disk.copy.is_none() {
                Action::Copy(side)
            } else {
                Action::SetBack(side)
            });
        }
    }

    fn trouble(&self, actions: &mut Vec<Action>) {
        if self.left.cuts > 0 {
            let whole = |&index: &usize| !self.connections[index].broken;
            actions.extend((0..self.connections.len()).filter(whole).map(Action::Cut));
        }
        if self.left.redials > 0 && self.connections.iter().any(|it| it.live(CLIENT).is_some()) {
            actions.push(Action::Redial);
        }
        match self.away {
            Some(_) => actions.push(Action::Back),
            None if self.left.twins > 0 => actions.push(Action::Twin),
            None => {}
        }
        for side in [CLIENT, SERVER] {
            if self.left.crashes[side] > 0 {
                actions.push(Action::Crash(side));
            }
        }
        if self.left.ticks > 0 {
            actions.push(Action::Tick);
        }
        if self.left.cancels > 0 {
            self.cancels(actions);
        }
    }

    /// The connection that the client holds, or waits for.
    #[must_use]
    pub fn dialled(&self) -> Option<usize> {
        self.connections.iter().position(|connection| connection.ends[CLIENT] != End::Gone)
    }

    /// The connection on which a side may write.
    #[must_use]
    pub fn live(&self, side: usize) -> Option<usize> {
        self.connections.iter().position(|connection| connection.live(side).is_some())
    }

    fn can_write(&self, side: usize, scenario: &Scenario) -> bool {
        let Some(index) = self.live(side) else { return false };
        let connection = &self.connections[index];
        !connection.broken && connection.frames[1 - side].len() < scenario.frames
    }

    /// Looks whether everything is as promised.
    ///
    /// # Errors
    ///
    /// The first promise that is broken.
    pub fn judge(&self, scenario: &Scenario) -> Result<(), Breach> {
        for (side, ledger) in self.sides.iter().zip(&self.ledgers) {
            if !side.is_conserved() {
                return Err(Breach::NotConserved);
            }
            if side.held() > scenario.window() + side.overlap {
                return Err(Breach::OverWindow);
            }
            // A disk that is behind may give back more than there was room for.
            if side.disk.is_none() && side.link.outbox_messages() > scenario.outbox {
                return Err(Breach::OverOutbox);
            }
            // The number of a message that is skipped counts, and needs no room.
            let in_flight = scenario.in_flight * side.link.ready().mine.len() as u64;
            if scenario.mortal.is_none() && side.link.in_flight() > in_flight {
                return Err(Breach::OverFlight);
            }
            let is_client = std::ptr::eq(side, &raw const self.sides[CLIENT]);
            let side = self.away.as_deref().filter(|_| is_client).unwrap_or(side);
            if ledger.owed(self.now >= DEADLINE) > side.link.outbox_messages() {
                return Err(Breach::Forgotten);
            }
            for entry in &ledger.entries {
                let known = match side.link.outcome(entry.id) {
                    _ if entry.id.stream != side.instance => true,
                    _ if entry.standing == Standing::Refused => true,
                    Outcome::Done if scenario.nobody_dies() => entry.finished == Finished::Done,
                    Outcome::Done => entry.finished != Finished::Not,
                    Outcome::Rejected(_) => entry.finished == Finished::Rejected,
                    Outcome::Expired => entry.mortal && self.now >= DEADLINE,
                    _ => true,
                };
                if !known {
                    return Err(Breach::WrongOutcome);
                }
            }
        }
        self.judge_calls()
    }

    /// Whether everything is delivered and acknowledged, and every disk is tidy.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let owed: usize = self.ledgers.iter().map(|it| it.owed(self.now >= DEADLINE)).sum();
        let frames = self.connections.iter().flat_map(|connection| &connection.frames);
        owed == 0
            && self.away.is_none()
            && self.left.sends == [0, 0]
            && self.calls_are_settled()
            && self.sides.iter().all(Side::is_settled)
            && frames.flatten().all(|frame| matches!(frame, Frame::Ping(_)))
    }
}
