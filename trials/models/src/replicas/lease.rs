//! What goes wrong, and what a replica does about its lease (S7) and about what no signal has told (S5).

use super::act::{Act, Rule};
use super::world::{REPLICAS, World};
use crate::connection::CLIENT;

impl World {
    pub(super) fn suffer(&mut self, trouble: Act) -> bool {
        match trouble {
            Act::Cut(index) => {
                self.left.cuts -= 1;
                self.connections[index].ends.cut();
            }
            Act::Redial => {
                self.left.redials -= 1;
                let live = self.live(CLIENT, None);
                return live.is_some_and(|index| self.finish(index, CLIENT));
            }
            Act::Kill(at) => {
                self.left.kills -= 1;
                self.kill(at);
            }
            Act::CutOff(at) => {
                self.left.cut_offs -= 1;
                self.replicas[at].is_cut_off = true;
            }
            Act::Lapse(at) | Act::Notice(at) => self.replicas[at].has_lapsed = true,
            Act::Expire(at) => self.expire(at),
            Act::Contact(at) => self.replicas[at].is_cut_off = false,
            Act::Recover(at) => {
                let replica = &mut self.replicas[at];
                (replica.has_lapsed, replica.has_expired) = (false, false);
                if !self.lacks(Rule::Question) {
                    self.ask(at);
                }
            }
            Act::EndSession(at) => {
                self.left.ended -= 1;
                self.expire(at);
            }
            Act::Copy => {
                let copy = Some(Box::new(self.database.clone()));
                return std::mem::replace(&mut self.copy, copy.clone()) != copy;
            }
            _ => return self.fail_over(),
        }
        true
    }

    /// Ends the process of a replica. What it has not written is lost.
    fn kill(&mut self, at: usize) {
        self.expire(at);
        for dialled in self.connections.iter_mut().filter(|it| it.to == at) {
            dialled.asks = false;
            dialled.ends.leave(crate::connection::SERVER);
        }
        self.replicas[at].restart();
    }

    /// A replica is dead in the eyes of the database: its links may be claimed.
    fn expire(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        (replica.has_expired, replica.is_doubtful) = (true, replica.call.is_some());
        self.story.trouble(self.replicas[at].process);
    }

    /// The standby takes the place of the database, to which every session is a new one.
    fn fail_over(&mut self) -> bool {
        self.left.failovers -= 1;
        self.database = self.copy.as_deref().cloned().unwrap_or_default();
        self.undecided = None;
        self.history.epoch += 1;
        (0..REPLICAS).for_each(|at| self.expire(at));
        self.story.fail_over(&self.database);
        true
    }

    /// Looks at the link, whether a signal has come or not. Returns whether that changes anything.
    pub(super) fn look(&mut self, at: usize) -> bool {
        if !self.replicas[at].is_well() {
            return false;
        }
        let before = (self.replicas[at].clone(), self.database.clone());
        self.ask(at);
        before.0 != self.replicas[at] || before.1 != self.database
    }

    /// Asks the database what this replica owns, and goes on accordingly.
    pub(super) fn ask(&mut self, at: usize) {
        let owns = self.database.owner == Some(self.replicas[at].process);
        if owns {
            self.database.notice_loss(&mut self.history, self.without);
        }
        let ignores = self.lacks(Rule::Question);
        let looks = !self.lacks(Rule::Look);
        let replica = &mut self.replicas[at];
        replica.is_told |= !owns && self.database.lane_owner != Some(replica.process);
        let Some(term) = &mut replica.term else {
            if owns && replica.leaving.is_none() {
                self.database.release(self.database.fence, false); // an answer got lost
            }
            return;
        };
        let newest = self.database.newest().filter(|_| owns && self.database.fence == term.fence);
        match newest {
            None if ignores => {}
            None => self.depose(at),
            Some(newest) if newest.stream != term.link.instance() => self.end_term(at),
            Some(newest) if looks => term.note(newest),
            Some(_) => {}
        }
    }
}
