//! Terms: how a replica becomes the owner (S1, S3), what it does then, and how its term ends (S2, S10).

use std::collections::VecDeque;

use paddington_wire::link::{Link, StoredCursor, StoredLink};
use paddington_wire::{MessageId, Slot};

use super::act::Rule;
use super::database::{Claim, Process, Write};
use super::judge::Breach;
use super::world::{Leaving, Term, World, config};
use crate::connection::SERVER;
use crate::side::instance;

impl World {
    pub(super) fn with_term(&mut self, at: usize, change: impl FnOnce(&mut Term)) {
        if let Some(term) = &mut self.replicas[at].term {
            change(term);
        }
    }

    /// A replica claims the link for the peer that has dialled, unless it is the owner already.
    pub(super) fn claim(&mut self, index: usize) -> bool {
        let at = self.connections[index].to;
        if self.replicas[at].term.is_none() && !self.begin_term(at) {
            return false;
        }
        self.answer(index)
    }

    fn begin_term(&mut self, at: usize) -> bool {
        let by = self.replicas[at].process;
        let lives = |process: Process| Self::lives(&self.replicas, process);
        let claimed = self.database.claim(by, lives, &mut self.history, self.without);
        let claim = match claimed {
            None if self.lacks(Rule::Claim) => Claim {
                fence: 0,
                stream: instance(SERVER, u8::MAX - by),
                stored: StoredLink::default(),
                has_lane: true,
            },
            None => return false,
            Some(claim) => claim,
        };
        let replica = &mut self.replicas[at];
        // Whatever runs for an earlier term has to end before.
        let has_lane = claim.has_lane && replica.leaving.is_none();
        replica.is_told &= !has_lane;
        replica.term = Some(Term {
            fence: claim.fence,
            link: Link::restore(config(), claim.stream, claim.stored, 0),
            slot: Slot::default(),
            inbox: VecDeque::new(),
            has_lane,
            elsewhere: Vec::new(),
            followed: 0,
            newest: 1, // there may be one
        });
        true
    }

    /// An owner gives the link up, because another replica has asked for it.
    pub(super) fn give_up(&mut self, at: usize) -> bool {
        let (asker, owner) = (&self.replicas[1 - at], &self.replicas[at]);
        let asks = self.connections.iter().any(|it| it.asks && it.to == 1 - at);
        let is_asked = asks && asker.is_well() && asker.term.is_none();
        if !is_asked || owner.is_cut_off || self.database.owner != Some(owner.process) {
            return false;
        }
        match &owner.term {
            Some(term) if term.fence == self.database.fence => self.end_term(at),
            _ => self.ask(at), // it owns nothing in its own eyes
        }
        true
    }

    /// Ends a term in order: everything that has ended is durable, then the link is released.
    pub(super) fn end_term(&mut self, at: usize) {
        self.hang_up(at);
        self.gather(at);
        while !self.replicas[at].writes.is_empty() && self.write_next(at) {}
        let ignores = self.lacks(Rule::LaneKept);
        let replica = &mut self.replicas[at];
        let Some(term) = replica.term.take() else { return };
        let runs = replica.call.is_some_and(|(fence, ..)| fence == term.fence);
        let keeps = runs && term.has_lane && !ignores;
        self.database.release(term.fence, keeps);
        replica.is_told = true;
        if keeps {
            let link = Some(Box::new(term.link));
            replica.leaving = Some(Leaving { fence: term.fence, link });
        }
    }

    /// Ends a term at once: the link is another replica's by now.
    pub(super) fn depose(&mut self, at: usize) {
        let Some(term) = self.replicas[at].term.take() else { return };
        self.hang_up(at);
        let replica = &mut self.replicas[at];
        if !term.has_lane {
            return;
        }
        if replica.call.is_some_and(|(fence, ..)| fence == term.fence) {
            replica.leaving = Some(Leaving { fence: term.fence, link: None });
        } else {
            self.database.free_lane(term.fence);
        }
    }

    /// A write of a term was refused.
    pub(super) fn note_stale(&mut self, at: usize, fence: u64) {
        let replica = &mut self.replicas[at];
        if self.database.owner != Some(replica.process) {
            replica.is_told = true;
        }
        let is_present = replica.term.as_ref().is_some_and(|term| term.fence == fence);
        if is_present && !self.lacks(Rule::Refusal) {
            self.depose(at);
        }
    }

    /// Leaves the lane, after the call that has kept it: its end is durable before.
    pub(super) fn leave_lane(&mut self, at: usize) -> bool {
        let Some(Leaving { fence, link }) = self.replicas[at].leaving.take() else { return false };
        if let Some(mut link) = link {
            for cursor in link.take_cursors().moved {
                self.write(fence, &Write::Cursor(cursor));
            }
        }
        self.database.free_lane(fence);
        true
    }

    pub(super) fn take_lane(&mut self, at: usize) -> bool {
        let Some(term) = &self.replicas[at].term else { return false };
        let (fence, by) = (term.fence, self.replicas[at].process);
        let lives = |process: Process| Self::lives(&self.replicas, process);
        match self.database.take_lane(fence, by, lives) {
            Ok(false) => return false,
            Ok(true) => {
                let skips = !self.lacks(Rule::Skip);
                let cursors = self.database.cursors.clone();
                self.replicas[at].is_told = false;
                self.with_term(at, |term| {
                    term.has_lane = true;
                    if skips {
                        term.elsewhere = cursors;
                    }
                });
            }
            Err(_) => self.note_stale(at, fence),
        }
        true
    }

    /// Begins the next call, or skips what was handled elsewhere.
    pub(super) fn begin(&mut self, at: usize) -> Result<bool, Breach> {
        let (any_time, any_lane) = (self.lacks(Rule::Lease), self.lacks(Rule::Lane));
        let replica = &mut self.replicas[at];
        let Some(term) = &mut replica.term else { return Ok(false) };
        let mut skipped = false;
        while let Some((id, _)) = term.inbox.front().copied().filter(|_| term.has_lane) {
            if !term.elsewhere.iter().any(|cursor| has_handled(cursor, id)) {
                break;
            }
            term.inbox.pop_front();
            term.link.handled(id, Ok(()));
            skipped = true;
        }
        let may_begin = (term.has_lane || any_lane) && (!replica.has_lapsed || any_time);
        let Some((id, label)) = term.inbox.front().copied().filter(|_| may_begin) else {
            return Ok(skipped);
        };
        term.inbox.pop_front();
        replica.call = Some((term.fence, id, label));
        self.story_begins(at, label)?;
        Ok(true)
    }

    pub(super) fn end(&mut self, at: usize) -> bool {
        let handled_early = self.lacks(Rule::Done);
        let replica = &mut self.replicas[at];
        let Some((fence, id, label)) = replica.call.take() else { return false };
        replica.is_doubtful = false;
        let present = replica.term.as_mut().filter(|term| term.fence == fence);
        let leaving = replica.leaving.as_mut().filter(|leaving| leaving.fence == fence);
        let link = present.map(|term| &mut term.link);
        let link = link.or_else(|| leaving.and_then(|leaving| leaving.link.as_deref_mut()));
        if let Some(link) = link.filter(|_| !handled_early) {
            link.handled(id, Ok(()));
        }
        self.story.done(label);
        true
    }

    /// Hands what may be removed, and the cursor, to the database, which takes that lazily.
    pub(super) fn gather(&mut self, at: usize) -> bool {
        let replica = &mut self.replicas[at];
        let Some(term) = &mut replica.term else { return false };
        let (fence, before) = (term.fence, replica.writes.len());
        let trims = term.link.take_trims().into_iter().map(Write::Trim);
        let changes = term.link.take_cursors();
        let moved = changes.moved.into_iter().map(Write::Cursor);
        let forgotten = changes.forgotten.into_iter().map(Write::Forget);
        let writes = trims.chain(moved).chain(forgotten);
        replica.writes.extend(writes.map(|write| (fence, write)));
        replica.writes.len() > before
    }

    pub(super) fn write_next(&mut self, at: usize) -> bool {
        let Some((fence, write)) = self.replicas[at].writes.pop_front() else { return false };
        if self.write(fence, &write) {
            if let Write::Trim(upto) = write {
                self.with_term(at, |term| {
                    if term.fence == fence {
                        term.link.trimmed(upto);
                    }
                });
            }
        } else {
            self.note_stale(at, fence);
        }
        true
    }

    fn write(&mut self, fence: u64, write: &Write) -> bool {
        let written = self.database.write(fence, write, self.without).is_ok();
        self.story.durable(&self.database);
        written
    }
}

fn has_handled(cursor: &StoredCursor, id: MessageId) -> bool {
    let is_covered = cursor.completed >= id.number || cursor.finished.contains(&id.number);
    cursor.instance == id.stream && is_covered
}
