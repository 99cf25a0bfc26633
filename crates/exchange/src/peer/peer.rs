//! One peer: what waits for it, what it has sent, which connection is its own. All events of one
//! peer go through one lock, one at a time (rule R1).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use paddington_wire::link::{Millis, SessionId, Verdict};
use paddington_wire::{CloseCode, Encoding, Instance, PeerName};
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore, broadcast};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::PeerLink;
use super::send::UNSTORED_BYTES;
use super::state::{State, Unresponsive};
use crate::budget::Budget;
use crate::config::HANDSHAKE_PERIOD;
use crate::store::Store;
use crate::{Config, Event, PeerStatus, StartError};

/// How many events wait for one who is slow to look at them.
const EVENTS: usize = 256;

/// What all peers of an exchange share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: PeerName,
    pub(crate) instance: Instance,
    pub(crate) config: Config,
    pub(crate) budget: Budget,
    pub(crate) started: Instant,
    /// The service shuts down.
    pub(crate) stopping: CancellationToken,
    /// Told whenever a message that may expire was accepted.
    pub(crate) deadlines: Notify,
    /// Told whenever an outbox has room again.
    pub(crate) room: Notify,
    /// Room for bytes that are on their way into the store.
    pub(super) unstored: Semaphore,
    events: broadcast::Sender<Event>,
}

impl Shared {
    pub(crate) fn new(name: PeerName, config: Config, stored: bool) -> Result<Self, StartError> {
        let total = if stored { config.stored_bytes_total } else { config.outbox_bytes_total };
        Ok(Self {
            instance: Instance::random().map_err(|_| StartError::Random)?,
            budget: Budget::new(total),
            started: Instant::now(),
            stopping: CancellationToken::new(),
            deadlines: Notify::new(),
            room: Notify::new(),
            unstored: Semaphore::new(UNSTORED_BYTES),
            events: broadcast::Sender::new(EVENTS),
            name,
            config,
        })
    }

    /// Milliseconds since this exchange was started.
    pub(crate) fn now(&self) -> Millis {
        millis(self.started.elapsed())
    }

    pub(crate) fn tell(&self, event: Event) {
        let _ = self.events.send(event); // nobody may be watching
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

/// A live connection of another process holds the slot.
pub(crate) struct InUse;

/// One peer.
pub(crate) struct Peer {
    pub(crate) name: PeerName,
    pub(crate) shared: Arc<Shared>,
    pub(super) state: Mutex<State>,
    pub(super) store: Option<Arc<dyn Store>>,
    /// Told whenever something that waits here has met its fate.
    pub(crate) progress: Notify,
    /// Told whenever there is something for the task to do.
    pub(crate) work: Notify,
    /// Told whenever the holder of the slot has shown a sign of instance, or is gone.
    pub(super) heard: Notify,
    /// Those who wait for room queue here, so that they get it in the order in which they came.
    pub(super) turn: AsyncMutex<()>,
}

impl Peer {
    pub(crate) fn new(
        name: PeerName,
        link: PeerLink,
        shared: Arc<Shared>,
        store: Option<Arc<dyn Store>>,
    ) -> Self {
        let charged = link.bytes();
        shared.budget.force(charged);
        Self {
            name,
            shared,
            state: Mutex::new(State::new(link, charged)),
            store,
            progress: Notify::new(),
            work: Notify::new(),
            heard: Notify::new(),
            turn: AsyncMutex::new(()),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since this exchange was started.
    pub(crate) fn now(&self) -> Millis {
        self.shared.now()
    }

    /// Counts an authenticated handshake. Returns whether it is one too many.
    pub(crate) fn is_overloaded(&self) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        while state.handshakes.front().is_some_and(|first| *first + HANDSHAKE_PERIOD <= now) {
            state.handshakes.pop_front();
        }
        if state.handshakes.len() >= self.shared.config.handshakes {
            state.counters.refused_overload += 1;
            return true;
        }
        state.handshakes.push_back(now);
        false
    }

    /// Finds out whether a live connection of another process holds the slot: it is asked for a sign
    /// of life. If there was one that gives none, says which.
    ///
    /// # Errors
    ///
    /// [`InUse`] if it lives.
    pub(crate) async fn probe(
        &self,
        newcomer: Option<Instance>,
    ) -> Result<Option<Unresponsive>, InUse> {
        let (silent, waker) = {
            let mut state = self.lock();
            let Verdict::Probe(session) = state.slot.judge(newcomer) else { return Ok(None) };
            if state.takes_no_more(&self.shared.config) {
                return Err(self.duplicate(&mut state)); // it is not listened to at the moment
            }
            let Some(live) = &mut state.live else { return Ok(None) };
            live.probe = true;
            (Unresponsive { session, heard: live.heard }, live.waker.take())
        };
        wake(waker);
        let lives = self.hears(silent.session, silent.heard);
        match timeout(self.shared.config.probe, lives).await {
            Ok(true) => Err(self.duplicate(&mut self.lock())),
            Ok(false) => Ok(None),
            Err(_) => Ok(Some(silent)),
        }
    }

    fn duplicate(&self, state: &mut State) -> InUse {
        state.counters.refused_duplicate += 1;
        self.shared.tell(Event::Duplicate { peer: self.name.clone() });
        InUse
    }

    /// Waits until `session` has shown a sign of life since `heard`, or is gone.
    async fn hears(&self, session: SessionId, heard: u64) -> bool {
        loop {
            let told = self.heard.notified();
            match self.lock().live_mut(session) {
                None => return false,
                Some(live) if live.heard > heard => return true,
                Some(_) => {}
            }
            told.await;
        }
    }

    pub(crate) fn tell_heard(&self) {
        self.heard.notify_waiters();
    }

    /// Asks the connection to close, if there is one.
    pub(crate) fn close(&self, code: CloseCode) {
        let mut state = self.lock();
        let waker = state.live.as_mut().and_then(|live| {
            live.closing = Some(code);
            live.waker.take()
        });
        drop(state);
        wake(waker);
    }

    pub(crate) fn status(&self) -> PeerStatus {
        let state = self.lock();
        let (in_flight, held, counts) = match &state.link {
            PeerLink::Sealed(link) => (link.in_flight(), link.held(), Some(link.counts())),
            PeerLink::Hex(_) => (0, state.inbox.bytes() as u64, None),
        };
        PeerStatus {
            name: self.name.clone(),
            encoding: state.link.encoding(),
            stored: self.store.is_some(),
            connected_for: state.live.as_ref().map(|live| live.since.elapsed()),
            instance: state.peer_instance(),
            outbox_messages: state.link.messages(),
            outbox_bytes: state.link.bytes(),
            oldest: self.oldest(&state),
            in_flight,
            inbox_messages: state.inbox.messages(),
            inbox_bytes: held,
            halted: state.handling.halted,
            handled: state.counters.handled,
            failed: state.counters.failed,
            counts,
            counters: state.counters,
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.lock().link.encoding()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

pub(crate) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
