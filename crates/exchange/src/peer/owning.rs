//! What a replica does for a link that it owns, besides what an exchange with a store of its own does:
//! it follows what others accept, waits for the lane, and ends its term. Implements `docs/cluster.md`,
//! "Rules".

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use futures_util::future::join_all;
use paddington_wire::link::StoredCursor;
use paddington_wire::{CloseCode, MessageId};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::Peer;
use super::keeping::Term;
use super::peer::wake;
use super::standing::Standing;
use super::state::State;
use super::storing::Removals;
use crate::Event;
use crate::faults::{Fault, broken};
use crate::store::{Answer, Fate, Followed, LaneLeft, StoreError};

/// The pause after the store has not answered.
const AGAIN: Duration = Duration::from_millis(250);

impl State {
    /// Returns whether this replica may call the handler for a message now.
    pub(super) fn may_handle(&self) -> bool {
        match &self.term {
            None => true,
            Some(term) => self.standing == Standing::Here && term.may_begin(),
        }
    }

    /// Returns whether this replica may dial the peer in the name of the service.
    pub(super) fn may_speak(&self) -> bool {
        self.term.as_ref().is_none_or(|term| term.may_speak())
    }

    /// Takes messages out of the inbox that were handled at another replica. Returns whether there were
    /// any.
    pub(super) fn skip_handled(&mut self) -> bool {
        let mut skipped = false;
        while let Some(term) = self.term.as_ref().filter(|term| !term.elsewhere.is_empty())
            && let Some(id) = self.inbox.next_message()
            && term.has_lane
            && term.has_handled(id)
        {
            self.inbox.pop();
            self.outbox.sealed().into_iter().for_each(|link| link.handled(id, Ok(())));
            skipped = true;
        }
        skipped
    }
}

impl Peer {
    /// Returns whether this replica owns the link, if replicas share the store.
    pub(crate) fn is_owner(&self) -> bool {
        self.lock_if_active().is_some_and(|state| state.standing == Standing::Here)
    }

    /// Takes note that the store has a message of a stream, for which another replica may be the owner.
    pub(crate) fn note_appended(&self, id: MessageId) {
        let mut state = self.lock();
        if id.stream != self.instance {
            return;
        }
        if let Some(term) = &mut state.term {
            term.newest = term.newest.max(id.number);
            if term.newest > term.followed {
                drop(state);
                self.tell_work();
            }
        }
    }

    /// Hands a message to the link that was accepted here, if it is the very next one (S5).
    pub(super) fn follow_own(&self, id: MessageId, message: Followed) {
        let mut state = self.lock();
        let is_next = state.term.as_ref().is_some_and(|term| id.number == term.followed + 1);
        let is_next = is_next || broken(Fault::NextNotAwaited);
        let is_next = is_next && id.stream == self.instance && state.standing == Standing::Here;
        if is_next && self.follow_next(&mut state, message) {
            let waker = state.take_connection_waker();
            drop(state);
            wake(waker);
            self.tell_work(); // it may need a mark
        } else {
            drop(state);
            self.note_appended(id);
        }
    }

    /// Returns the next message that is to be read because others have accepted it.
    pub(super) fn next_to_follow(&self) -> Option<MessageId> {
        let state = self.lock();
        let term = state.term.as_ref()?;
        let behind = term.followed < term.newest && !term.is_full;
        let behind = behind && state.standing == Standing::Here;
        behind.then(|| MessageId { stream: self.instance, number: term.followed + 1 })
    }

    /// Takes note that there was nothing to read. Returns whether there has to be something all the same.
    pub(super) fn found_nothing(&self, first: MessageId) -> bool {
        let mut state = self.lock();
        let Some(term) = &mut state.term else { return false };
        if term.newest == first.number {
            term.newest = term.followed; // it was a guess, or is lost
        }
        term.newest > term.followed
    }

    /// Hands messages to the link that were read.
    pub(super) fn follow(&self, first: MessageId, messages: Vec<Followed>) {
        let mut state = self.lock();
        for (number, message) in (first.number..).zip(messages) {
            let Some(followed) = state.term.as_ref().map(|term| term.followed) else { return };
            if number == followed + 1 && !self.follow_next(&mut state, message) {
                break;
            }
        }
        let waker = state.take_connection_waker();
        drop(state);
        wake(waker);
        self.tell_work();
    }

    /// Goes on with what others have accepted, because the link has room again.
    pub(super) fn go_on_following(&self, state: &mut State) {
        if let Some(term) = state.term.as_mut().filter(|term| term.is_full) {
            term.is_full = false;
            self.tell_work();
        }
    }

    fn follow_next(&self, state: &mut State, message: Followed) -> bool {
        let has_deadline = message.ttl.is_some();
        let followed = state.outbox_mut().follow(&self.shared.room, message, self.now());
        let Some(term) = &mut state.term else { return false };
        let Ok(id) = followed else {
            term.is_full = true;
            return false;
        };
        term.followed = id.number;
        term.newest = term.newest.max(id.number);
        if has_deadline {
            self.shared.deadlines.notify_one();
        }
        true
    }

    /// Keeps fates for those who have accepted the messages, wherever they are.
    pub(super) fn keep_fates(&self, state: &mut State, fates: Vec<Fate>) {
        if let Some(term) = &mut state.term {
            term.fates.extend(fates);
        }
    }

    /// Hands fates to the store that it does not know yet.
    pub(super) fn settle_fates(&self, state: &mut State) -> Option<Answer<()>> {
        let term = self.term()?;
        let fates = std::mem::take(&mut state.term.as_mut()?.fates);
        (!fates.is_empty()).then(|| term.store.settle(&self.mailbox, fates, term.fence))
    }

    /// Enters the lane, with the cursors as they are in the store.
    pub(crate) fn enter_lane(&self, cursors: Vec<StoredCursor>) {
        let mut state = self.lock();
        if let Some(term) = &mut state.term {
            term.has_lane = true;
            if !broken(Fault::HandledElsewhereIgnored) {
                term.elsewhere = cursors.into_iter().map(|it| (it.instance, it)).collect();
            }
        }
        drop(state);
        self.wake_workers();
    }

    /// Lets workers look again whether they may call the handler.
    pub(crate) fn wake_workers(&self) {
        let wakers = self.lock_if_active().map(|mut state| state.workers_mut().wakers());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Returns whether this replica may call the handler for the peer's messages, once it lives.
    pub(crate) fn has_lane(&self) -> bool {
        self.lock().term.as_ref().is_some_and(|term| term.has_lane)
    }

    /// Ends the term at once: the link is another replica's by now, or may be. Whatever runs for it comes
    /// to nothing. Returns whether it had not ended before.
    pub(crate) fn depose(self: &Arc<Self>) -> bool {
        let Some(term) = self.term() else { return false };
        let has_lane = self.has_lane();
        if !self.end_term() {
            return false;
        }
        term.ended.cancel();
        if has_lane {
            tokio::spawn(leave_lane(Arc::clone(self)));
        }
        true
    }

    /// Takes the answer of the store to a write of the owner: a stale one ends the term (S2).
    pub(crate) fn note_stale(self: &Arc<Self>, cause: &StoreError) -> bool {
        if !cause.is_stale() {
            return false;
        }
        let owns = self.lock().standing == Standing::Here && !broken(Fault::StaleIgnored);
        if owns && self.depose() {
            warn!(peer = %self.name, "another replica has become the owner of the link");
            self.shared.tell(Event::Deposed { peer: self.name.clone() });
        }
        true
    }

    /// Gives the link up in order (S10): no further call begins, everything that has ended is durable,
    /// and then the link is released. A call that runs keeps the lane until it has ended. Returns what the
    /// store has answered to that, with which the rest is to be [finished](Self::finish_yield); `None` if
    /// this replica did not own the link, or gives it up already.
    pub(crate) async fn begin_yield(&self) -> Option<Result<LaneLeft, StoreError>> {
        let term = self.term()?;
        let waker = {
            let mut state = self.lock();
            if state.standing != Standing::Here {
                return None;
            }
            state.standing = Standing::Yielding;
            state.end_requests(); // their answers come to nobody any more
            state.close_session(CloseCode::SessionAge)
        };
        wake(waker);
        self.write_out().await;
        let answer = self.release(term).await;
        info!(peer = %self.name, lane = ?answer.as_ref().ok(), "given up to another replica");
        Some(answer)
    }

    /// Hands the store the end of each call that has ended, which it writes before a release, and returns what
    /// becomes of the lane then: a call that runs keeps it (S10).
    pub(crate) fn prepare_release(&self) -> LaneLeft {
        let mut state = self.lock();
        let runs = state.workers_mut().is_running();
        let has_lane = state.term.as_ref().is_some_and(|term| term.has_lane);
        drop(self.commit_cursors_of(&mut state));
        if runs && has_lane && !broken(Fault::LaneNotKept) {
            LaneLeft::Kept
        } else {
            LaneLeft::Free
        }
    }

    /// Releases the link.
    async fn release(&self, term: &Term) -> Result<LaneLeft, StoreError> {
        let lane = self.prepare_release();
        let released = vec![(self.mailbox.clone(), term.fence, lane)];
        let answer = term.store.release(released).await.map(|()| lane);
        if answer == Ok(LaneLeft::Free) {
            self.forget_lane();
        }
        answer
    }

    /// Makes durable what was done for the peer so far.
    pub(crate) async fn write_out(&self) {
        let Some(term) = self.term() else { return };
        let answers = {
            let mut state = self.lock();
            let cursors = self.commit_cursors_of(&mut state);
            let Removals { settled, trims } = self.remove_ended(&mut state);
            let trims = trims.into_iter().map(|(_, trim)| trim);
            cursors.into_iter().chain(settled).chain(trims).collect::<Vec<_>>()
        };
        drop(term.store.sync(&self.mailbox));
        for cause in join_all(answers).await.into_iter().filter_map(Result::err) {
            debug!(peer = %self.name, %cause, "not all that was done for a peer could be stored");
        }
    }

    /// Returns whether a call of the handler runs.
    fn runs(&self) -> bool {
        self.lock().workers_mut().is_running()
    }

    /// Makes no request any more, because this replica ends.
    pub(crate) fn stop_asking(&self) {
        let mut state = self.lock();
        if state.standing == Standing::Here {
            state.standing = Standing::Yielding;
            state.end_requests();
        }
    }

    /// Returns whether this replica owns the link, while it ends.
    pub(crate) fn owns_at_end(&self) -> bool {
        let owns = !self.lock().has_ended();
        owns && self.term().is_some()
    }

    /// Ends the term after the link was released, as soon as no call runs any more.
    pub(crate) async fn finish_yield(self: &Arc<Self>, mut released: Result<LaneLeft, StoreError>) {
        let Some(term) = self.term() else { return };
        while let Err(cause) = &released {
            warn!(peer = %self.name, %cause, "the link could not be given up in time");
            if self.shared.stopping.is_cancelled() {
                break;
            }
            sleep(AGAIN).await;
            released = self.release(term).await;
        }
        if released == Ok(LaneLeft::Kept) {
            self.no_call_runs().await;
            let written = join_all(self.commit_cursors()).await;
            for cause in written.into_iter().filter_map(Result::err).filter(|it| !it.is_stale()) {
                warn!(peer = %self.name, %cause, "the end of a call could not be stored in time");
            }
            self.forget_lane(); // which is left below, after the handler was told
            self.depose();
            self.workers_have_ended().await; // the handler is told that the peer is not here any more
            self.leave_lane(term).await;
        }
        self.depose();
    }

    /// Takes note that the lane is not this term's any more.
    fn forget_lane(&self) {
        self.lock().term.iter_mut().for_each(|term| term.has_lane = false);
    }

    /// Leaves the lane that a call has kept. Nobody else enters it before, so this is tried until it
    /// succeeds, or this replica ends.
    async fn leave_lane(&self, term: &Term) {
        while let Err(cause) = term.store.free_lane(&self.mailbox, term.fence).await {
            if cause.is_stale() || self.shared.stopping.is_cancelled() {
                return;
            }
            warn!(peer = %self.name, %cause, "the end of a call cannot be told yet");
            sleep(AGAIN).await;
        }
    }

    /// Waits until nothing runs for the peer any more, after its term has ended.
    pub(crate) async fn workers_have_ended(&self) {
        loop {
            let progress = self.progress();
            if !self.has_workers() {
                return;
            }
            progress.await;
        }
    }

    async fn no_call_runs(&self) {
        loop {
            let progress = self.progress();
            if !self.runs() {
                return;
            }
            progress.await;
        }
    }

    /// Resolves when the lane may be free.
    pub(crate) async fn lane_may_be_free(&self) {
        self.heard().await;
    }

    /// Says that the lane may be free.
    pub(crate) fn tell_lane_free(&self) {
        self.tell_heard();
    }

    /// Takes over what is known of the peer from an earlier term.
    pub(crate) fn go_on_from(&self, before: &Self) {
        let before = before.lock();
        let mut state = self.lock();
        state.counters = before.counters;
        state.handshakes.clone_from(&before.handshakes);
        let concurrency = before.workers.concurrency();
        state.workers_mut().set_concurrency(concurrency);
        state.attempts.clone_from(&before.attempts);
        state.software.clone_from(&before.software);
    }
}

/// Leaves the lane of a term that has ended, as soon as no call runs any more: whoever owns the link by now
/// may wait for that.
async fn leave_lane(peer: Arc<Peer>) {
    peer.no_call_runs().await;
    if let Some(term) = peer.term() {
        peer.leave_lane(term).await;
    }
}
