//! The peer, and its connections to replicas.

use std::collections::VecDeque;

use paddington_wire::Frame;

use super::act::Rule;
use super::database::Write;
use super::judge::Breach;
use super::world::{Dialled, World, push};
use crate::connection::{CLIENT, Connection, End, SERVER};
use crate::side::payload;

impl World {
    pub(super) fn send(&mut self) -> bool {
        self.left.sends -= 1;
        let label = self.story.sent();
        self.peer.enqueue(payload(label), 0, None).is_ok()
    }

    /// The peer opens a connection, and its HELLO arrives.
    pub(super) fn dial(&mut self, to: usize) -> bool {
        let ticket = self.slot.ticket();
        let ends = Connection {
            ends: [End::Waiting(ticket, None), End::Gone],
            frames: [VecDeque::new(), VecDeque::new()],
            broken: false,
        };
        self.connections.push(Dialled { to, asks: true, fence: 0, ends });
        true
    }

    /// A replica lets the peer go, which does not notice before that arrives.
    pub(super) fn refuse(&mut self, index: usize) -> bool {
        let dialled = &mut self.connections[index];
        dialled.asks = false;
        dialled.ends.leave(SERVER);
        true
    }

    /// A replica answers the peer with the READY of its term.
    pub(super) fn answer(&mut self, index: usize) -> bool {
        let dialled = &mut self.connections[index];
        let Some(term) = &mut self.replicas[dialled.to].term else { return false };
        let (ticket, ready) = (term.slot.ticket(), term.link.ready());
        (dialled.asks, dialled.fence) = (false, term.fence);
        dialled.ends.ends[SERVER] = End::Waiting(ticket, Some((ready.clone(), 0)));
        if dialled.ends.ends[CLIENT] != End::Gone && !dialled.ends.broken {
            dialled.ends.frames[CLIENT].push_back(Frame::Ready(ready));
        }
        true
    }

    pub(super) fn deliver(&mut self, index: usize, end: usize) -> Result<bool, Breach> {
        let frames = &mut self.connections[index].ends.frames[end];
        let Some(frame) = frames.pop_front() else { return Ok(false) };
        if end == CLIENT { self.reach_peer(index, frame) } else { self.reach_replica(index, frame) }
    }

    fn reach_peer(&mut self, index: usize, frame: Frame) -> Result<bool, Breach> {
        let ends = &mut self.connections[index].ends;
        match (ends.ends[CLIENT].clone(), frame) {
            (End::Waiting(ticket, _), Frame::Ready(theirs)) => {
                let Some(session) = self.slot.take(ticket, Some(theirs.instance)) else {
                    ends.leave(CLIENT);
                    return Ok(true);
                };
                let ours = self.peer.ready();
                let started = self.peer.start(session, &ours, &theirs);
                started.map_err(|_| Breach::HonestAccused)?;
                ends.ends[CLIENT] = End::Live(session);
                if ends.ends[SERVER] != End::Gone && !ends.broken {
                    ends.frames[SERVER].push_back(Frame::Ready(ours));
                }
            }
            (End::Live(session), frame) => {
                let mut arrived = Vec::new();
                let received = self.peer.receive(session, frame, &mut arrived);
                received.map_err(|_| Breach::HonestAccused)?;
                for message in arrived {
                    self.story.arrived(label(&message.payload))?;
                    self.peer.handled(message.id, Ok(()));
                }
            }
            _ => return Err(Breach::HonestAccused),
        }
        Ok(true)
    }

    fn reach_replica(&mut self, index: usize, frame: Frame) -> Result<bool, Breach> {
        let handles_early = self.lacks(Rule::Done);
        let Dialled { to, fence, .. } = self.connections[index];
        let end = self.connections[index].ends.ends[SERVER].clone();
        let term = self.replicas[to].term.as_mut().filter(|term| term.fence == fence);
        let Some(term) = term else { return Ok(true) };
        match (end, frame) {
            (End::Waiting(ticket, Some((ours, _))), Frame::Ready(theirs)) => {
                let Some(session) = term.slot.take(ticket, Some(theirs.instance)) else {
                    self.connections[index].ends.leave(SERVER);
                    return Ok(true);
                };
                let started = term.link.start(session, &ours, &theirs);
                started.map_err(|_| Breach::HonestAccused)?;
                self.replace(to);
                self.connections[index].ends.ends[SERVER] = End::Live(session);
            }
            (End::Live(session) | End::Replaced(session), frame) => {
                let mut arrived = Vec::new();
                let received = term.link.receive(session, frame, &mut arrived);
                received.map_err(|_| Breach::HonestAccused)?;
                for message in arrived {
                    term.inbox.push_back((message.id, label(&message.payload)));
                    if handles_early {
                        term.link.handled(message.id, Ok(()));
                    }
                }
            }
            _ => return Err(Breach::HonestAccused),
        }
        Ok(true)
    }

    /// An older connection to a replica has lost its place.
    fn replace(&mut self, to: usize) {
        for dialled in self.connections.iter_mut().filter(|it| it.to == to) {
            if let Some(session) = dialled.ends.live(SERVER) {
                dialled.ends.ends[SERVER] = End::Replaced(session);
                dialled.ends.broken = true;
            }
        }
    }

    /// An end notices that its connection is over.
    pub(super) fn finish(&mut self, index: usize, end: usize) -> bool {
        let Dialled { to, fence, .. } = self.connections[index];
        let ends = &mut self.connections[index].ends;
        let gone = std::mem::replace(&mut ends.ends[end], End::Gone);
        ends.leave(end);
        let (End::Live(session) | End::Replaced(session)) = gone else { return true };
        if end == CLIENT {
            if self.slot.vacate(session) {
                self.peer.end(session);
            }
        } else if let Some(term) = self.replicas[to].term.as_mut().filter(|it| it.fence == fence)
            && term.slot.vacate(session)
        {
            term.link.end(session);
        }
        true
    }

    /// The connections of a replica end, because its term has, or its process.
    pub(super) fn hang_up(&mut self, at: usize) {
        for dialled in self.connections.iter_mut().filter(|it| it.to == at && !it.asks) {
            dialled.ends.leave(SERVER);
        }
    }

    pub(super) fn transmit(&mut self, at: Option<usize>) -> bool {
        let Some(at) = at else {
            let Some(live) = self.live(CLIENT, None) else { return false };
            let Some(session) = self.connections[live].ends.live(CLIENT) else { return false };
            let frame = self.peer.transmit(session, 0);
            return push(&mut self.connections, live, SERVER, frame);
        };
        let prepared = !self.replicas[at].is_cut_off && self.prepare(at);
        let Some(live) = self.live(SERVER, Some(at)) else { return prepared };
        let Some(session) = self.connections[live].ends.live(SERVER) else { return prepared };
        let Some(term) = &mut self.replicas[at].term else { return prepared };
        let frame = term.link.transmit(session, 0);
        push(&mut self.connections, live, CLIENT, frame) || prepared
    }

    /// Stores the mark that the next message needs, and reads it from an earlier stream.
    fn prepare(&mut self, at: usize) -> bool {
        let Some(term) = &mut self.replicas[at].term else { return false };
        let fence = term.fence;
        let (mark, wanted) = (term.link.take_mark(), term.link.wanted());
        let mut changed = false;
        if let Some(mark) = mark {
            if self.database.write(fence, &Write::Mark(mark), self.without).is_err() {
                self.note_stale(at, fence);
                return true;
            }
            changed = true;
            self.with_term(at, |term| term.link.marked(mark));
        }
        if let Some(id) = wanted
            && let Some(label) = self.database.read(id)
        {
            changed = true;
            self.with_term(at, |term| term.link.supply(id, payload(label)));
        }
        changed
    }

    pub(super) fn acknowledge(&mut self, at: Option<usize>) -> bool {
        let end = if at.is_some() { SERVER } else { CLIENT };
        let Some(live) = self.live(end, at) else { return false };
        let Some(session) = self.connections[live].ends.live(end) else { return false };
        let link = match at {
            None => Some(&mut self.peer),
            Some(at) => self.replicas[at].term.as_mut().map(|term| &mut term.link),
        };
        let frame = link.and_then(|link| link.acknowledge(session));
        push(&mut self.connections, live, 1 - end, frame)
    }
}

fn label(payload: &[u8]) -> u8 {
    payload.first().copied().unwrap_or(u8::MAX)
}
