//! The end of a peer while its exchange goes on: it is removed, and nothing that is still under way
//! may bring it back. Also its end with the exchange. Implements "Removal" of `docs/delivery.md`.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use paddington_wire::link::Link;
use paddington_wire::{CloseCode, PeerName};

use super::Peer;
use super::outbox::PeerLink;
use super::peer::wake;
use super::room::Room;
use super::shared::Shared;
use super::standing::Standing;
use super::state::State;
use crate::SendError;

/// What waits at a peer: messages that it has not acknowledged, and messages of it that the handler
/// was not called with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) messages: usize,
    pub(crate) unhandled: usize,
}

impl Backlog {
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The removal of a peer, from the decision on. If it is dropped before it is
/// [done](Self::done), the peer stays.
pub(crate) struct Removal {
    peer: Arc<Peer>,
    done: bool,
}

impl Removal {
    /// Decides that a peer is removed: from now on it accepts no message. Unless it `discards`, only
    /// a peer is removed at which nothing waits.
    ///
    /// # Errors
    ///
    /// What waits.
    pub(crate) fn begin(peer: Arc<Peer>, discards: bool) -> Result<Self, Backlog> {
        let mut state = peer.lock();
        let backlog = state.backlog();
        if !discards && !backlog.is_empty() {
            return Err(backlog);
        }
        state.standing = Standing::Leaving;
        drop(state);
        Ok(Self { peer, done: false })
    }

    /// Removes the peer. Returns what waited at it.
    pub(crate) fn done(mut self) -> Backlog {
        self.done = true;
        self.peer.leave()
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        if !self.done {
            let mut state = self.peer.lock();
            if state.standing == Standing::Leaving {
                state.standing = Standing::Here;
            }
        }
    }
}

impl State {
    /// Returns whether nothing is done for the peer any more: it was removed, or its link is not this
    /// replica's.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Removed | Standing::Away)
    }

    /// Returns whether marks and trims go to the store.
    pub(super) fn changes_store(&self) -> bool {
        !self.has_ended() && self.standing != Standing::Yielding
    }

    fn backlog(&self) -> Backlog {
        let (messages, unhandled) = (self.outbox.link().messages(), self.inbox.messages());
        Backlog { messages, unhandled }
    }

    /// Removes the peer: forgets all that waits, gives its room back, and tells the handler. Returns
    /// what waited, and the waker of the connection.
    fn leave(
        &mut self,
        agent: &PeerName,
        shared: &Shared,
        (standing, code): (Standing, CloseCode),
    ) -> (Backlog, Option<Waker>) {
        let backlog = self.backlog();
        self.standing = standing;
        self.outbox.take_outcomes(); // receipts of messages that have ended go on telling how
        self.end_requests();
        self.outbox.change(&shared.room, PeerLink::forget);
        shared.inboxes.settle(&mut self.lease, 0);
        self.inbox.clear();
        self.workers.stop();
        self.workers.resume();
        let connection = self.presence.remove(agent, &mut self.inbox, code);
        (backlog, connection)
    }

    /// Ends all requests of this side, which get no answer here any more.
    pub(super) fn end_requests(&mut self) {
        let unsent = self.outbox.sealed().map(Link::abandon_requests).unwrap_or_default();
        // Only another replica can still make a request that was not sent.
        let unsent = if self.term.is_some() { unsent } else { Vec::new() };
        if let Some(calls) = &mut self.calls {
            calls.waiters.abandon(unsent);
        }
    }

    /// Accepts nothing any more. Returns the number of messages that wait; they are abandoned
    /// unless a store keeps them.
    pub(super) fn abandon(&mut self, room: &Room, stored: bool) -> usize {
        if self.has_ended() {
            return 0;
        }
        self.standing = Standing::Abandoned;
        let messages = self.outbox.link().messages();
        self.end_requests();
        if !stored {
            self.outbox.change(room, PeerLink::abandon);
        }
        messages
    }
}

impl Peer {
    /// Checks whether the peer accepts messages and requests.
    pub(super) fn check_standing(&self, state: &State) -> Result<(), SendError> {
        match state.standing {
            Standing::Here | Standing::Yielding | Standing::Away => Ok(()),
            Standing::Leaving | Standing::Removed => Err(SendError::Removed(self.name.clone())),
            Standing::Abandoned => Err(SendError::ShuttingDown),
        }
    }

    /// Returns whether the peer was removed, or its link is not this replica's any more.
    pub(crate) fn has_ended(&self) -> bool {
        match self.lock_if_active() {
            Some(state) => state.has_ended(),
            None => self.term().is_some_and(|term| term.ended.is_cancelled()),
        }
    }

    /// Returns whether a call of the handler, or a task for one, is left.
    pub(crate) fn has_workers(&self) -> bool {
        self.lock_if_active().is_some_and(|mut state| state.workers_mut().len() > 0)
    }

    /// Removes the peer. What has ended before goes to the store, and nothing after it.
    fn leave(&self) -> Backlog {
        self.leave_as(self.lock(), (Standing::Removed, CloseCode::Removed))
    }

    /// Ends the term of this replica. Returns whether it had not ended before.
    pub(super) fn end_term(&self) -> bool {
        let state = self.lock();
        let ends = !state.has_ended();
        if ends {
            self.leave_as(state, (Standing::Away, CloseCode::SessionAge));
        }
        ends
    }

    fn leave_as(
        &self,
        mut state: MutexGuard<'_, State>,
        (standing, code): (Standing, CloseCode),
    ) -> Backlog {
        drop(self.commit_cursors_of(&mut state));
        drop(self.remove_ended(&mut state));
        self.uncount(state.workers_mut().take_all_counted());
        self.forget_requests(&mut state);
        let (backlog, connection) = state.leave(&self.name, &self.shared, (standing, code));
        let workers = state.workers_mut().wakers();
        drop(state);
        workers.into_iter().chain(connection).for_each(Waker::wake);
        self.shared.room.tell_freed();
        self.tell_work();
        self.tell_heard();
        self.tell_ended();
        self.tell_progress();
        backlog
    }

    /// Returns whether the peer accepts messages, and why not.
    pub(super) fn standing(&self) -> Standing {
        self.lock().standing
    }

    /// Returns whether requests can be made, for which this side has to own the link.
    pub(super) fn is_here(&self, state: &State) -> bool {
        self.term().is_none() || state.standing == Standing::Here
    }

    /// Gives the peer its part of what is divided among all peers since the last division.
    pub(crate) fn divide(&self) {
        let shared = &self.shared;
        let links = shared.link(self.store().is_some());
        let Some(mut state) = self.lock_if_active() else { return };
        if state.has_ended() {
            return;
        }
        state.outbox_mut().divide(&shared.room);
        let state = &mut *state;
        let committed = match state.outbox.sealed() {
            Some(link) => {
                link.set_first_window(links);
                link.committed()
            }
            None => 0,
        };
        shared.inboxes.divide_lease(&mut state.lease, committed);
    }

    /// Lets handshakes that are under way come to nothing: what they were begun with has changed.
    pub(crate) fn supersede_handshakes(&self) {
        let _ = self.lock().ticket(); // only the newest one counts
    }

    /// Asks the connection to close if it comes from an address for which `is_outside` holds.
    pub(crate) fn close_if(&self, is_outside: impl FnOnce(std::net::IpAddr) -> bool) {
        let mut state = self.lock();
        let waker = match state.presence.address() {
            Some(address) if is_outside(address) => {
                state.close(paddington_wire::CloseCode::SessionAge)
            }
            _ => None,
        };
        drop(state);
        wake(waker);
    }

    /// Asks the connection to close so that the peer comes back. Returns whether there was one.
    pub(crate) fn disconnect(&self) -> bool {
        let mut state = self.lock();
        let connected = state.presence.is_connected();
        let waker = state.close(paddington_wire::CloseCode::SessionAge);
        drop(state);
        wake(waker);
        connected
    }
}
