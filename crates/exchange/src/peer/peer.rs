//! One peer of a service: its state behind a lock, and the notifications of its changes.

use std::fmt;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, MutexGuard, OnceLock};
use std::task::Waker;
use std::time::Duration;

use paddington_wire::link::{Millis, Outcome};
use paddington_wire::{
    CloseCode, Encoding, Features, Frame, Instance, PeerName, Ready, SessionId, Violation,
};
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info};

use super::active::Active;
use super::asked::Needed;
use super::keys::Asked;
use super::keys_place::KeysPlace;
use super::presence::{Absence, Probed};
use super::prospect::Prospect;
use super::standing::Standing;
use super::state::{Probing, State};
use super::term_state::TermState;
use super::{Keeping, Number, PeerLink, Shared};
use crate::store::Mailbox;
use crate::{Event, PeerStatus};

/// The longest time that a successor waits for the process that holds the slot to shut down. It is
/// at most half of the time that a client waits for REPLY.
const SUCCESSION: Duration = Duration::from_secs(7);

/// The slot is held by a live connection of another process.
#[derive(Debug)]
pub(crate) struct SlotInUse;

/// A function that starts a task for the requests of a peer.
pub(crate) type RunRequests = dyn Fn(&Arc<Peer>, Needed) + Send + Sync;

/// One peer.
pub(crate) struct Peer {
    pub(crate) name: PeerName,
    /// The mailbox of its link, which has its name.
    pub(crate) mailbox: Mailbox,
    /// This side's instance on the link: one that is removed and added again begins anew, as if this
    /// side had been restarted.
    pub(crate) instance: Instance,
    pub(crate) shared: Arc<Shared>,
    encoding: Encoding,
    /// What most peers of a large server do without: `None` until something happens to the peer.
    active: OnceLock<Box<Active>>,
    /// Where its messages are kept.
    pub(super) keeping: Keeping,
    requests: OnceLock<Arc<RequestHandler>>,
    pub(super) keys: KeysPlace,
}

/// How the peer's requests are handled.
pub(crate) struct RequestHandler {
    /// Starts a task that takes requests, or looks after those that do.
    pub(crate) run: Box<RunRequests>,
    /// Whether the handler takes bytes.
    pub(crate) takes_bytes: bool,
}

impl Peer {
    /// Creates a peer on whose link nothing has happened.
    pub(crate) fn new(
        mailbox: Mailbox,
        instance: Instance,
        encoding: Encoding,
        shared: Arc<Shared>,
        keeping: Keeping,
    ) -> Self {
        Self {
            name: mailbox.peer.clone(),
            mailbox,
            instance,
            encoding,
            shared,
            keeping,
            active: OnceLock::new(),
            requests: OnceLock::new(),
            keys: KeysPlace::default(),
        }
    }

    /// Creates a peer with what is known of its link.
    pub(crate) fn with_link(self, link: PeerLink) -> Self {
        let state = self.state_of(link);
        Self { active: OnceLock::from(Box::new(Active::new(state))), ..self }
    }

    /// Locks its state, which begins with the first call.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.active().lock()
    }

    /// Locks its state, if anything has happened to the peer.
    pub(super) fn lock_if_active(&self) -> Option<MutexGuard<'_, State>> {
        self.active.get().map(|active| active.lock())
    }

    fn active(&self) -> &Active {
        match self.active.get() {
            Some(active) => active,
            None => self.activate(),
        }
    }

    #[cold]
    fn activate(&self) -> &Active {
        let division = self.shared.division();
        let active = self.active.get_or_init(|| Box::new(Active::new(self.fresh())));
        // Whoever divides either sees the state here, or is seen here.
        fence(Ordering::SeqCst);
        if self.shared.division() != division {
            self.divide();
        }
        active
    }

    /// Returns the state of a peer to which nothing has happened.
    fn fresh(&self) -> State {
        let config = self.shared.link(self.store().is_some());
        self.state_of(PeerLink::new(self.encoding, config, self.instance))
    }

    /// Returns the state of a peer with this link.
    fn state_of(&self, link: PeerLink) -> State {
        let term = self.term();
        let begun = term.map(|term| TermState::new(Arc::clone(&term.store), self.mailbox.link));
        let mut state = State::new(link, &self.shared, begun);
        if term.is_some_and(|term| term.ended.is_cancelled()) {
            state.standing = Standing::Away;
        }
        state
    }

    /// Sets how requests are handled.
    pub(crate) fn set_request_handler(&self, handler: Arc<RequestHandler>) {
        let _ = self.requests.set(handler); // it is set once, before anything arrives
    }

    /// Returns whether the handler takes bytes.
    pub(super) fn takes_bytes(&self) -> bool {
        self.requests.get().is_some_and(|handler| handler.takes_bytes)
    }

    /// Starts a task that requests need.
    pub(super) fn run_requests(self: &Arc<Self>, needed: Option<Needed>) {
        if let (Some(handler), Some(needed)) = (self.requests.get(), needed) {
            (handler.run)(self, needed);
        }
    }

    /// Milliseconds since this exchange was started.
    pub(super) fn now(&self) -> Millis {
        self.shared.now()
    }

    /// Returns the queue of the senders that wait for room.
    pub(super) fn turn(&self) -> &AsyncMutex<()> {
        &self.active().turn
    }

    /// Resolves when a message that waits here has its outcome.
    pub(crate) fn progress(&self) -> Notified<'_> {
        self.active().progress.notified()
    }

    /// Notifies those who wait, of whom there are none before anything has happened.
    fn tell(&self, tell: impl FnOnce(&Active)) {
        if let Some(active) = self.active.get() {
            tell(active);
        }
    }

    pub(super) fn tell_progress(&self) {
        self.tell(|active| active.progress.notify_waiters());
    }

    /// Resolves when there is something for the store task to do.
    pub(super) fn work(&self) -> Notified<'_> {
        self.active().work.notified()
    }

    pub(super) fn tell_work(&self) {
        self.tell(|active| active.work.notify_one());
    }

    /// Resolves when the connection that holds the slot has shown a sign of life or is gone, or somebody
    /// has left the lane.
    pub(super) fn heard(&self) -> Notified<'_> {
        self.active().heard.notified()
    }

    pub(super) fn tell_heard(&self) {
        self.tell(|active| active.heard.notify_waiters());
    }

    pub(super) fn tell_ended(&self) {
        self.tell(|active| active.ended.notify_waiters());
        self.shared.absences.notify_one();
    }

    /// Notifies the store task that cursors have moved, or messages may be removed.
    pub(super) fn note_store_work(&self, state: &mut State) {
        if self.store().is_some() && state.note_store_work() {
            self.tell_work();
        }
    }

    /// Notifies the store task and the receipts that room was freed, if it was.
    pub(super) fn note_freed(&self, state: &mut State, freed: bool) {
        if freed {
            self.note_store_work(state);
            self.go_on_following(state);
            if state.outbox_mut().has_outcomes() {
                self.report_outcomes(state);
            }
            self.tell_progress();
        }
    }

    /// Tells the handler that the peer is gone, if it has been absent for long enough. Returns the
    /// time until then.
    pub(crate) fn note_absence(&self) -> Option<Duration> {
        let grace = self.shared.config.absence;
        let mut state = self.lock_if_active()?;
        match state.note_absence(&self.name, grace) {
            Absence::None => None,
            Absence::Brief(left) => Some(left),
            Absence::Told => {
                let worker = state.take_worker_waker();
                drop(state);
                wake(worker);
                info!(peer = %self.name, for = ?grace, "absent: the peer has not come back");
                None
            }
        }
    }

    /// Counts an authenticated handshake. Returns whether it is one too many.
    pub(crate) fn is_overloaded(&self, instance: Option<Instance>) -> bool {
        self.lock().count_handshake(instance, Instant::now(), self.shared.config.handshakes)
    }

    /// Finds out whether a live connection of another process holds the slot, by asking it for a
    /// sign of life. Returns that connection if it gives none.
    ///
    /// # Errors
    ///
    /// [`SlotInUse`] if it is alive.
    pub(crate) async fn probe(
        &self,
        newcomer: Option<Instance>,
    ) -> Result<Option<Probed>, SlotInUse> {
        let probing = self.lock().probe(newcomer, &self.shared);
        let (probed, waker) = match probing {
            Probing::Free => return Ok(None),
            Probing::InUse => return Err(self.refuse_duplicate()),
            Probing::Asked(probed, waker) => (probed, waker),
        };
        wake(waker);
        let begun = Instant::now();
        match timeout(self.shared.config.probe, self.is_alive(probed)).await {
            Ok(true) if newcomer.is_some() && self.hands_over(begun).await => Ok(None),
            Ok(true) => Err(self.refuse_duplicate()),
            Ok(false) => Ok(None),
            Err(_) => Ok(Some(probed)),
        }
    }

    /// Waits whether the process that holds the slot shuts down in order: then its successor, which
    /// has been waiting since `begun`, is connected at once. One that has only lost its connection
    /// may be back soon.
    async fn hands_over(&self, begun: Instant) -> bool {
        let timeouts = &self.shared.config.transport.timeouts;
        let patience = SUCCESSION.min(timeouts.establish / 2).min(timeouts.reply / 2);
        let left = async {
            loop {
                let ended = self.active().ended.notified();
                if let Some(left) = self.lock().holder_has_left() {
                    return left;
                }
                ended.await;
            }
        };
        timeout_at(begun + patience, left).await.unwrap_or(false)
    }

    fn refuse_duplicate(&self) -> SlotInUse {
        let mut state = self.lock();
        if state.has_ended() {
            return SlotInUse; // the connection that holds it is about to end
        }
        state.counters_mut().refused_duplicate += 1;
        drop(state);
        self.shared.tell(Event::Duplicate { peer: self.name.clone() });
        SlotInUse
    }

    /// Waits until a probed connection has shown a sign of life, or is gone.
    async fn is_alive(&self, probed: Probed) -> bool {
        loop {
            let told = self.active().heard.notified();
            match self.lock().is_alive(probed) {
                None => return false,
                Some(true) => return true,
                Some(false) => {}
            }
            told.await;
        }
    }

    /// Lets the connection close, for a new one, if the link wants a new session.
    pub(super) fn renew_session_if_wanted(&self, state: &mut State) {
        if state.sealed_link().is_some_and(|link| link.wants_new_session()) {
            debug!(peer = %self.name, "closing the session: the link wants a new one");
            wake(state.close(CloseCode::SessionAge));
        }
    }

    /// Asks the connection to close, if there is one.
    pub(crate) fn close(&self, code: CloseCode) {
        let waker = self.lock().close(code);
        wake(waker);
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the outcome of a message that this instance accepted, and the standing of the peer,
    /// which may mean that it can no longer change.
    pub(crate) fn outcome(&self, number: Number) -> (Outcome, Standing) {
        let state = self.lock();
        (state.outcome(number, self.instance), state.standing)
    }

    /// Returns the number of messages that wait for this peer.
    pub(crate) fn outbox_messages(&self) -> usize {
        self.lock_if_active().map_or(0, |state| state.outbox_messages())
    }

    /// Returns whether messages that wait can still be delivered.
    pub(crate) fn prospect(&self, dialled: bool) -> Prospect {
        self.lock().prospect(dialled)
    }

    /// Returns this side's READY as of now.
    pub(super) fn ready(&self) -> Ready {
        let software = self.shared.config.software.clone();
        let ready = self.lock().ready();
        let renewal = self.keys().map_or(Features::NONE, |keys| keys.features());
        Ready { software, features: ready.features.with(renewal), ..ready }
    }

    /// Takes a frame about keys that has arrived in `session`.
    pub(super) fn receive_keys(
        self: &Arc<Self>,
        session: SessionId,
        frame: &Frame,
    ) -> Result<(), Violation> {
        let keys = self.keys().ok_or(Violation::BadRenewal("it was not offered"))?;
        keys.receive(self, session, frame)?;
        self.attend_keys();
        Ok(())
    }

    /// Has the connection of `session` send a frame about keys.
    pub(super) fn say(&self, session: SessionId, frame: Frame) {
        let waker = self.lock().say(session, frame);
        wake(waker);
    }

    /// Wants new keys for the link, for which the present session ends if it has brought some already.
    /// Returns when they come.
    pub(crate) fn renew_keys(self: &Arc<Self>) -> Asked {
        let asked = self.keys().map_or(Asked::NotOffered, |keys| keys.ask());
        match asked {
            Asked::NotOffered | Asked::WithInvitation => {}
            Asked::Now => self.attend_keys(),
            Asked::InNextSession => self.close(CloseCode::SessionAge),
        }
        asked
    }

    /// Asks the peer to hold back new messages.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        if let Some(link) = state.sealed_link() {
            link.drain();
        }
        if let Some(keys) = self.keys() {
            keys.drain(self);
        }
        let waker = state.take_connection_waker();
        drop(state);
        wake(waker);
    }

    /// Accepts nothing any more. Returns the number of messages that wait; they are abandoned
    /// unless a store keeps them.
    pub(crate) fn abandon(&self) -> usize {
        let messages = self.lock().abandon(&self.shared.room, self.store().is_some());
        self.tell_progress();
        messages
    }

    /// Returns the status of the peer, which this side dials or not.
    pub(crate) fn status(&self, dialled: bool) -> PeerStatus {
        let status = |state: &State| {
            state.status(self.name.clone(), self.store().is_some(), dialled, self.now())
        };
        match self.lock_if_active() {
            Some(state) => status(&state),
            None => status(&self.fresh()),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
