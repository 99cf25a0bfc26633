//! The keys of a peer's link: one change at a time, each durable before it counts and before the other
//! side is told. Implements `docs/protocol.md` §3.6 and §5.5.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use futures_util::future::BoxFuture;
use paddington_transport::{Network, SessionKeys};
use paddington_wire::keys::{
    Draft, Generation, KeyRing, Pace, Renewal, Role, Seconds, Step, Storing,
};
use paddington_wire::{Features, Frame, KeyError, PeerName, SessionId, Violation};
use tokio::sync::Notify;
use tracing::error;

use super::Peer;
use crate::{HandlerError, KeyStore};

/// The time after which storing is tried again, in seconds.
const RETRY: Seconds = 10;

/// Is told of the keys of a peer's link that are in use from now on.
pub(crate) type OnChange = dyn Fn(&Peer, &Arc<KeyRing>) + Send + Sync;

/// What the keys of all links of an exchange have in common.
pub(crate) struct KeyMatters {
    /// The age at which they are renewed, in seconds.
    pub(crate) interval: Seconds,
    pub(crate) store: Option<Arc<dyn KeyStore>>,
    pub(crate) network: Arc<dyn Network>,
    /// Set before anything happens.
    pub(crate) on_change: OnceLock<Box<OnChange>>,
}

/// The keys of one link. All terms of it share them.
pub(crate) struct LinkKeys {
    pub(super) role: Role,
    common: Arc<KeyMatters>,
    state: Mutex<State>,
    /// Told when a change has ended.
    settled: Notify,
    /// Told when there is something to do.
    news: Notify,
}

struct State {
    ring: Arc<KeyRing>,
    /// Whether a change is being stored.
    changing: bool,
    /// A generation that a handshake has used, which is not durable yet.
    used: Option<u64>,
    session: Option<Box<InSession>>,
    /// What the next session goes on from.
    pace: Pace,
    /// Whether somebody waits for new keys, which the next session is to bring.
    wanted: bool,
    /// Whether a task looks after the keys.
    attended: bool,
    /// Whether something has happened since the task has looked.
    poked: bool,
    /// When storing has failed last.
    failed: Option<Seconds>,
}

struct InSession {
    /// Whose session it is.
    peer: Weak<Peer>,
    id: SessionId,
    /// The generation of its keys.
    generation: u64,
    renewal: Renewal,
}

/// When new keys come that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Never: there is no session in which both sides can renew them.
    NotOffered,
    /// With an invitation that was written to replace those in use: until then, there are no others.
    WithInvitation,
    /// In this session.
    Now,
    /// In the next session, as soon as this one has ended.
    InNextSession,
}

/// What is to be done about the keys.
pub(super) enum Next {
    /// Store this.
    Store(Change),
    /// Send this in a session.
    Say(Saying),
    /// Look again at this time, in seconds since 1970, or when something happens.
    Wait(Seconds),
    /// Nothing, until something happens.
    Nothing,
}

/// A frame for a session.
pub(super) struct Saying {
    peer: Weak<Peer>,
    session: SessionId,
    frame: Frame,
}

/// A change of the keys that is being stored.
pub(super) struct Change {
    pub(super) ring: Arc<KeyRing>,
    cause: Cause,
}

/// The cause of a change.
enum Cause {
    /// A session, which says something about it.
    Session(Weak<Peer>, SessionId, Draft),
    /// Keys that were used, or whose time is over.
    Time,
    /// A person, who is told whether it was stored.
    Person,
}

impl LinkKeys {
    pub(crate) fn new(role: Role, ring: Arc<KeyRing>, common: Arc<KeyMatters>) -> Self {
        let state = State {
            ring,
            changing: false,
            used: None,
            session: None,
            pace: Pace::default(),
            wanted: false,
            attended: false,
            poked: false,
            failed: None,
        };
        Self { role, common, state: Mutex::new(state), settled: Notify::new(), news: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the present time, in seconds since 1970.
    pub(super) fn now(&self) -> Seconds {
        self.common.network.unix_time()
    }

    /// Returns the keys in use and to come.
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.lock().ring)
    }

    /// Returns what this side offers in READY.
    pub(super) fn features(&self) -> Features {
        if self.common.store.is_some() { Features::RENEW } else { Features::NONE }
    }

    /// Resolves with the keys once none are being stored, nor are about to be because of the last
    /// handshake.
    pub(crate) async fn quiet(&self) -> Arc<KeyRing> {
        loop {
            let settled = self.settled.notified();
            {
                let state = self.lock();
                let is_noted = state.used.is_none() || state.failed.is_some();
                if !state.changing && is_noted {
                    return Arc::clone(&state.ring);
                }
            }
            settled.await;
        }
    }

    /// Begins a session: a handshake has used a generation. Returns whether it is still valid.
    pub(super) fn begin(
        &self,
        peer: &Arc<Peer>,
        id: SessionId,
        keys: SessionKeys,
        features: [Features; 2],
    ) -> bool {
        let mut state = self.lock();
        let SessionKeys { generation, exporter } = keys;
        if state.ring.generation(generation).is_none() {
            return false;
        }
        state.used = Some(generation);
        let (role, interval) = (self.role, self.common.interval);
        state.session = exporter.map(|exporter| {
            let mut renewal = Renewal::new(role, generation, exporter, features, interval);
            renewal.keep_pace(&state.ring, state.pace);
            if state.wanted && renewal.is_offered() {
                state.wanted = false;
                renewal.ask();
            }
            Box::new(InSession { peer: Arc::downgrade(peer), id, generation, renewal })
        });
        true
    }

    /// Ends a session. Nothing of it is stored any more.
    pub(super) fn end(&self, peer: &Peer, id: SessionId) {
        let mut state = self.lock();
        if state.session.as_ref().is_some_and(|session| session.is(peer, id)) {
            state.session = None;
        }
        drop(state);
        self.news.notify_one();
    }

    /// Takes a frame about keys that arrived in a session.
    pub(super) fn receive(
        &self,
        peer: &Peer,
        id: SessionId,
        frame: &Frame,
    ) -> Result<(), Violation> {
        match &mut self.lock().session {
            Some(session) if session.is(peer, id) => session.renewal.receive(frame),
            _ => Err(Violation::BadRenewal("it was not offered")),
        }
    }

    /// Wants new keys.
    pub(super) fn ask(&self) -> Asked {
        let now = self.now();
        let mut state = self.lock();
        let State { ring, session, wanted, .. } = &mut *state;
        let Some(session) = session else { return Asked::NotOffered };
        if !session.renewal.is_offered() {
            return Asked::NotOffered;
        }
        if self.role == Role::Server && ring.is_to_be_replaced(session.generation, now) {
            return Asked::WithInvitation;
        }
        // There is one renewal in a session, and what it has led to is used in the next one.
        if !ring.generations().iter().any(|it| it.number() > session.generation) {
            session.renewal.ask();
            return Asked::Now;
        }
        *wanted = true;
        Asked::InNextSession
    }

    /// Returns whether the present session, if there is one, is with a peer that cannot store new keys.
    pub(crate) fn are_fixed_by_peer(&self) -> bool {
        let state = self.lock();
        let session = state.session.as_ref();
        self.common.store.is_some() && session.is_some_and(|session| !session.renewal.is_offered())
    }

    /// Begins nothing more: one of the two sides is about to end.
    pub(super) fn drain(&self, peer: &Peer) {
        match &mut self.lock().session {
            Some(session) if std::ptr::eq(session.peer.as_ptr(), peer) => session.renewal.drain(),
            _ => {}
        }
    }

    /// Notes that something has happened. Returns whether a task has to be started for it.
    pub(super) fn poke(&self) -> bool {
        let mut state = self.lock();
        state.poked = true;
        let starts = !std::mem::replace(&mut state.attended, true);
        drop(state);
        self.news.notify_one();
        starts
    }

    /// Ends the task if there is nothing to do for it. Returns whether it ends.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.lock();
        state.attended = state.poked;
        !state.attended
    }

    /// Resolves when something has happened.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Returns what is to be done now.
    pub(super) fn next(&self) -> Next {
        let now = self.now();
        let mut state = self.lock();
        state.poked = false;
        if state.changing {
            return Next::Nothing; // its end is told
        }
        if let Some(failed) = state.failed {
            if failed.abs_diff(now) < RETRY {
                return Next::Wait(failed.saturating_add(RETRY));
            }
            state.failed = None;
        }
        let next = match state.step(self.role, now) {
            Ok(next) => next,
            Err(cause) => {
                error!(%cause, "the keys of a link are not renewed in this session");
                state.session = None;
                Next::Nothing
            }
        };
        drop(state);
        self.settled.notify_waiters(); // what was used may be noted already
        next
    }

    /// Makes a change durable, if there is a place for it.
    pub(super) fn store(
        &self,
        peer: &PeerName,
        ring: &Arc<KeyRing>,
    ) -> BoxFuture<'static, Result<(), HandlerError>> {
        match &self.common.store {
            Some(store) => store.store(peer, Arc::clone(ring)),
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }

    /// Ends a change. Returns what is to be said in a session because of it.
    pub(super) fn settle(&self, peer: &Peer, change: Change, storing: Storing) -> Option<Saying> {
        let now = self.now();
        let mut state = self.lock();
        state.changing = false;
        let Change { ring, cause } = change;
        let mut said = None;
        match (cause, &mut state.session) {
            (Cause::Session(of, id, draft), Some(session))
                if session.id == id && session.peer.ptr_eq(&of) =>
            {
                let settled = session.renewal.settle(draft, storing, now);
                state.pace = session.renewal.pace();
                said = settled.frame.map(|frame| Saying { peer: of, session: id, frame });
            }
            (Cause::Time, _) if storing == Storing::Failed => state.failed = Some(now),
            // A session may have ended meanwhile. What was stored counts all the same.
            (Cause::Session(..) | Cause::Time | Cause::Person, _) => {}
        }
        let changed = storing == Storing::Done;
        if changed {
            state.ring = Arc::clone(&ring);
        }
        // Whoever is told sees the keys in the order in which they came.
        if changed && let Some(on_change) = self.common.on_change.get() {
            on_change(peer, &ring);
        }
        drop(state);
        self.settled.notify_waiters();
        self.news.notify_one();
        said
    }

    /// Adds the keys of a newer invitation to those that are not stored anywhere. Nothing changes if it
    /// was seen before, or while the keys change.
    pub(crate) fn accept(&self, newer: &Generation) {
        let mut state = self.lock();
        if state.changing || self.common.store.is_some() {
            return;
        }
        let (keys, number) = (Arc::clone(newer.keys()), newer.number());
        if let Some(ring) = state.ring.accept(keys, number, self.now()) {
            state.ring = Arc::new(ring);
        }
    }

    /// Begins a change that a person has ordered, once no other is under way: `change` makes the new
    /// keys from those in use. Nobody else changes them until it is settled.
    pub(crate) async fn order<'a, E>(
        &'a self,
        peer: &'a Peer,
        change: impl FnOnce(&KeyRing) -> Result<KeyRing, E>,
    ) -> Result<Ordered<'a>, E> {
        loop {
            let settled = self.settled.notified();
            {
                let mut state = self.lock();
                if !state.changing {
                    let ring = Arc::new(change(&state.ring)?);
                    state.changing = true;
                    return Ok(Ordered { keys: self, peer, ring: Some(ring) });
                }
            }
            settled.await;
        }
    }
}

/// A change that a person has ordered. If it is dropped, nothing has changed.
pub(crate) struct Ordered<'a> {
    keys: &'a LinkKeys,
    peer: &'a Peer,
    ring: Option<Arc<KeyRing>>,
}

impl Ordered<'_> {
    /// Returns the new keys.
    pub(crate) fn ring(&self) -> Option<&Arc<KeyRing>> {
        self.ring.as_ref()
    }

    /// Uses the new keys, which are durable by now.
    pub(crate) fn done(mut self) {
        self.settle(Storing::Done);
    }

    fn settle(&mut self, storing: Storing) {
        if let Some(ring) = self.ring.take() {
            let _ = self.keys.settle(self.peer, Change { ring, cause: Cause::Person }, storing);
        }
    }
}

impl Drop for Ordered<'_> {
    fn drop(&mut self) {
        self.settle(Storing::Failed);
    }
}

impl State {
    fn step(&mut self, role: Role, now: Seconds) -> Result<Next, KeyError> {
        if let Some(number) = self.used {
            match self.ring.used(number, now) {
                Some(ring) => return Ok(self.change(ring)),
                None => self.used = None,
            }
        }
        if role == Role::Server
            && let Some(ring) = self.ring.expire(now)
        {
            return Ok(self.change(ring));
        }
        let Some(session) = &mut self.session else { return Ok(Next::Nothing) };
        let InSession { peer, id, renewal, .. } = &mut **session;
        let (peer, id) = (Weak::clone(peer), *id);
        let step = renewal.poll(&self.ring, now)?;
        self.pace = renewal.pace();
        match step {
            Some(Step::Send(frame)) => Ok(Next::Say(Saying { peer, session: id, frame })),
            Some(Step::Store(draft)) => {
                let ring = Arc::new(draft.ring().clone());
                self.changing = true;
                Ok(Next::Store(Change { ring, cause: Cause::Session(peer, id, draft) }))
            }
            None => Ok(renewal.wake_at(&self.ring, now).map_or(Next::Nothing, Next::Wait)),
        }
    }

    fn change(&mut self, ring: KeyRing) -> Next {
        self.changing = true;
        Next::Store(Change { ring: Arc::new(ring), cause: Cause::Time })
    }
}

impl InSession {
    fn is(&self, peer: &Peer, id: SessionId) -> bool {
        self.id == id && std::ptr::eq(self.peer.as_ptr(), peer)
    }
}

impl Saying {
    /// Has the connection of the session send the frame.
    pub(super) fn say(self) {
        if let Some(peer) = self.peer.upgrade() {
            peer.say(self.session, self.frame);
        }
    }
}

impl Change {
    /// Returns whether both sides agree on new keys with it.
    pub(super) fn is_agreed(&self) -> bool {
        matches!(&self.cause, Cause::Session(.., draft) if draft.is_agreed())
    }
}

impl fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkKeys").field("role", &self.role).finish_non_exhaustive()
    }
}
