//! Effects of each event: a small form of the driver that the product has in its exchange.

use std::panic::{AssertUnwindSafe, catch_unwind};

use paddington_wire::{Frame, Ready, RejectCode};

use crate::action::Action;
use crate::connection::{CLIENT, Connection, End, SERVER};
use crate::disk::{Disk, StoredMessage};
use crate::ledger::{Breach, Finished};
use crate::scenario::Scenario;
use crate::side::{Side, payload};
use crate::world::{DEADLINE, World};

impl World {
    /// Lets an event happen and judges what then is so. Returns whether it has changed anything.
    pub fn step(&mut self, action: Action, scenario: &Scenario) -> bool {
        let stepped = catch_unwind(AssertUnwindSafe(|| self.apply(action, scenario)));
        let stepped = stepped.unwrap_or(Err(Breach::Panic));
        self.connections.retain(|connection| !connection.is_over());
        let judged = stepped.and_then(|changed| self.judge(scenario).map(|()| changed));
        judged.unwrap_or_else(|breach| {
            self.breach = Some(breach);
            true
        })
    }

    fn apply(&mut self, action: Action, scenario: &Scenario) -> Result<bool, Breach> {
        match action {
            Action::Send(side) => self.send(side, scenario),
            Action::Ask(side) => Ok(self.ask(side)),
            Action::Reply { side, index, fails } => Ok(self.reply(side, index, fails)),
            Action::Cancel { side, label } => Ok(self.cancel(side, label)),
            Action::Dial => Ok(self.dial()),
            Action::Transmit(side) => Ok(self.write(side, false)),
            Action::Acknowledge(side) => Ok(self.write(side, true)),
            Action::Deliver { connection, side } => self.deliver(connection, side, scenario),
            Action::Finish { connection, side } => Ok(self.finish(connection, side)),
            Action::Handle { side, index, rejects } => Ok(self.handle(side, index, rejects)),
            Action::Gather(side) => Ok(self.gather(side)),
            Action::CommitAppend(side) => self.commit_append(side, scenario),
            Action::CommitLazy(side) => self.commit_lazy(side, scenario),
            Action::Answer(side) => self.answer(side, scenario),
            Action::Read(side) => Ok(self.read(side)),
            Action::Cut(connection) => {
                self.left.cuts -= 1;
                self.connections[connection].cut();
                Ok(true)
            }
            Action::Redial => Ok(self.redial()),
            Action::Crash(side) => {
                self.left.crashes[side] -= 1;
                self.restart(side, scenario, false)
            }
            Action::Copy(side) => Ok(self.copy(side)),
            Action::SetBack(side) => {
                self.left.set_backs[side] -= 1;
                self.restart(side, scenario, true)
            }
            Action::FailDisk(side) => self.fail_disk(side, scenario),
            Action::Tick => {
                self.left.ticks -= 1;
                self.now = DEADLINE;
                self.sides.iter_mut().for_each(|side| _ = side.link.expire(DEADLINE));
                Ok(true)
            }
            Action::Renew(side) => Ok(self.renew(side)),
            Action::Twin => {
                self.left.twins -= 1;
                let twin = Side::twin(self.left.twins, scenario);
                self.away = Some(Box::new(self.change_client(twin)));
                Ok(true)
            }
            Action::Back => {
                let Some(first) = self.away.take() else { return Ok(false) };
                self.change_client(*first);
                Ok(true)
            }
        }
    }

    fn send(&mut self, index: usize, scenario: &Scenario) -> Result<bool, Breach> {
        let (side, ledger) = (&mut self.sides[index], &mut self.ledgers[index]);
        let label = ledger.entries.len() as u8;
        let mortal = scenario.mortal == Some(label) && self.now < DEADLINE;
        let deadline = mortal.then_some(DEADLINE);
        let Ok(id) = side.link.enqueue(payload(label), self.now, deadline) else {
            return Ok(false);
        };
        self.left.sends[index] -= 1;
        ledger.sent(id, mortal, side.disk.is_some())?;
        if let Some(disk) = &mut side.disk {
            let mark = side.link.take_mark_of_last();
            disk.append(StoredMessage { id, label, mortal, mark })?;
        }
        self.hear_at_once(index, scenario)?;
        Ok(true)
    }

    fn dial(&mut self) -> bool {
        let [client, server] = &mut self.sides;
        let tickets = [client.slot.ticket(), server.slot.ticket()];
        self.connections.push(Connection::new(tickets, server.link.ready(), server.held()));
        true
    }

    fn write(&mut self, side: usize, acknowledge: bool) -> bool {
        let Some(index) = self.live(side) else { return false };
        let connection = &mut self.connections[index];
        let Some(session) = connection.live(side) else { return false };
        let link = &mut self.sides[side].link;
        let frame =
            if acknowledge { link.acknowledge(session) } else { link.transmit(session, self.now) };
        let written = frame.is_some();
        connection.frames[1 - side].extend(frame);
        written
    }

    fn deliver(&mut self, index: usize, side: usize, scenario: &Scenario) -> Result<bool, Breach> {
        let connection = &mut self.connections[index];
        let Some(frame) = connection.frames[side].pop_front() else { return Ok(false) };
        match (connection.ends[side].clone(), frame) {
            (End::Waiting(ticket, ours), Frame::Ready(theirs)) => {
                let (held, link) = (self.sides[side].held(), &self.sides[side].link);
                let (ours, declared) = ours.unwrap_or_else(|| (link.ready(), held));
                let Some(session) = self.sides[side].slot.take(ticket, Some(theirs.instance))
                else {
                    connection.leave(side);
                    return Ok(true);
                };
                self.replace(side);
                self.sides[side].overlap = held.saturating_sub(declared.min(scenario.window()));
                let started = self.sides[side].link.start(session, &ours, &theirs);
                started.map_err(|_| Breach::HonestAccused)?;
                self.begin(index, side, End::Live(session), ours);
                self.take_calls(side, scenario)?;
            }
            (End::Live(session) | End::Replaced(session), frame) => {
                let mut arrived = Vec::new();
                let received = self.sides[side].link.receive(session, frame, &mut arrived);
                received.map_err(|_| Breach::HonestAccused)?;
                for message in arrived {
                    let ledger = &mut self.ledgers[1 - side];
                    ledger.delivered(message.id, &message.payload, message.again)?;
                    self.sides[side].inbox.push_back(message.id);
                }
                self.take_calls(side, scenario)?;
            }
            _ => return Err(Breach::HonestAccused),
        }
        Ok(true)
    }

    /// The connection that had the place has lost it, and its task will notice.
    fn replace(&mut self, side: usize) {
        for connection in &mut self.connections {
            if let Some(session) = connection.live(side) {
                connection.ends[side] = End::Replaced(session);
                connection.broken = true;
            }
        }
    }

    fn begin(&mut self, index: usize, side: usize, end: End, ours: Ready) {
        let connection = &mut self.connections[index];
        connection.ends[side] = end;
        if side == CLIENT && connection.ends[SERVER] != End::Gone {
            connection.frames[SERVER].push_back(Frame::Ready(ours));
        }
    }

    /// The task of a connection ends, as `ended` of the exchange does it.
    fn finish(&mut self, index: usize, side: usize) -> bool {
        let end = std::mem::replace(&mut self.connections[index].ends[side], End::Gone);
        if let End::Live(session) | End::Replaced(session) = end
            && self.sides[side].slot.vacate(session)
        {
            self.sides[side].link.end(session);
        }
        self.connections[index].leave(side);
        true
    }

    fn redial(&mut self) -> bool {
        let Some(index) = self.live(CLIENT) else { return false };
        self.left.redials -= 1;
        self.finish(index, CLIENT)
    }

    fn renew(&mut self, side: usize) -> bool {
        let Some(index) = self.live(side) else { return false };
        self.finish(index, side)
    }

    /// Gives the client's place to another process. Returns the one that had it.
    fn change_client(&mut self, newcomer: Side) -> Side {
        for index in 0..self.connections.len() {
            self.finish(index, CLIENT);
        }
        std::mem::replace(&mut self.sides[CLIENT], newcomer)
    }

    fn handle(&mut self, side: usize, index: usize, rejects: bool) -> bool {
        let Some(id) = self.sides[side].inbox.remove(index) else { return false };
        let (outcome, finished) = if rejects {
            self.left.rejections -= 1;
            (Err(RejectCode::FAILED), Finished::Rejected)
        } else {
            (Ok(()), Finished::Done)
        };
        self.sides[side].link.handled(id, outcome);
        self.ledgers[1 - side].finished(id, finished);
        true
    }

    fn restart(
        &mut self,
        side: usize,
        scenario: &Scenario,
        set_back: bool,
    ) -> Result<bool, Breach> {
        for connection in &mut self.connections {
            connection.leave(side);
        }
        let disk = self.sides[side].disk.as_mut();
        if let Some(disk) = disk.filter(|_| set_back)
            && let Some(copy) = disk.copy.take()
        {
            disk.durable = *copy;
        }
        self.sides[side].restart(side, scenario, self.now)?;
        self.requester_restarts(side);
        let durable = self.sides[side].durable();
        let finished = durable.map_or(0, |durable| durable.finished);
        let labels = self.sides[side].disk.as_ref().map_or(0, Disk::labels);
        let excused = set_back || durable.is_none();
        self.ledgers[1 - side].receiver_restarts(finished);
        self.ledgers[side].sender_restarts(labels, excused);
        if set_back {
            self.ledgers[side].sender_set_back();
        }
        Ok(true)
    }
}
