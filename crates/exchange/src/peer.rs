//! One peer: what waits for it, what it has sent, which connection is its own. All events of one
//! peer go through one lock, one at a time (rule R1).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use paddington_wire::link::{Millis, Outcome, SessionId, Slot, Verdict};
use paddington_wire::{
    CloseCode, Control, Data, Encoding, Instance, Message, MessageId, PeerName, Text, hex,
};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::budget::Budget;
use crate::config::HANDSHAKE_PERIOD;
use crate::courier::{Courier, Number};
use crate::inbox::{Inbox, Item};
use crate::{Config, PeerStatus, SendError, StartError};

/// How often those who wait for room look whether something has expired.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);

/// What all peers of an exchange share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: PeerName,
    pub(crate) instance: Instance,
    pub(crate) config: Config,
    pub(crate) budget: Budget,
    pub(crate) started: Instant,
    /// Told whenever an outbox has room again.
    pub(crate) room: Notify,
}

impl Shared {
    pub(crate) fn new(name: PeerName, config: Config) -> Result<Self, StartError> {
        Ok(Self {
            instance: Instance::random().map_err(|_| StartError::Random)?,
            budget: Budget::new(config.outbox_bytes_total),
            started: Instant::now(),
            room: Notify::new(),
            name,
            config,
        })
    }
}

/// One peer.
pub(crate) struct Peer {
    pub(crate) name: PeerName,
    pub(crate) shared: Arc<Shared>,
    state: Mutex<State>,
    /// Told whenever something that waits here has met its fate.
    pub(crate) progress: Notify,
    /// Told whenever the holder of the slot has shown a sign of life, or is gone.
    heard: Notify,
    /// Those who wait for room queue here, so that they get it in the order in which they came.
    turn: AsyncMutex<()>,
}

pub(crate) struct State {
    pub(crate) courier: Courier,
    pub(crate) slot: Slot,
    pub(crate) live: Option<Live>,
    pub(crate) inbox: Inbox,
    lane: Lane,
    /// The life of the peer that the handler was told is connected; of a `hex` peer, `Some(None)`.
    announced: Option<Option<Instance>>,
    handshakes: VecDeque<Instant>,
    handled: u64,
    failed: u64,
    /// What this peer has taken from the common budget.
    charged: u64,
    /// The exchange is over; what waits is lost.
    pub(crate) abandoned: bool,
}

/// The connection that holds the slot.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) session: SessionId,
    pub(crate) waker: Option<Waker>,
    /// The connection is to close with this code.
    pub(crate) closing: Option<CloseCode>,
    /// The connection is to ask for a sign of life.
    pub(crate) probe: bool,
    /// The connection waits with an acknowledgement already.
    pub(crate) ack_armed: bool,
    /// How many frames have arrived.
    pub(crate) heard: u64,
    since: Instant,
}

/// Where the handler of this peer stands.
#[derive(Debug, Default)]
struct Lane {
    waker: Option<Waker>,
    task: Option<AbortHandle>,
    busy: bool,
    stopping: bool,
}

/// A call of the handler.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) message: Message,
    id: Option<MessageId>,
}

impl Peer {
    pub(crate) fn new(name: PeerName, encoding: Encoding, shared: Arc<Shared>) -> Self {
        let state = State {
            courier: Courier::new(encoding, shared.config.link(), shared.instance),
            slot: Slot::default(),
            live: None,
            inbox: Inbox::default(),
            lane: Lane::default(),
            announced: None,
            handshakes: VecDeque::new(),
            handled: 0,
            failed: 0,
            charged: 0,
            abandoned: false,
        };
        Self {
            name,
            shared,
            state: Mutex::new(state),
            progress: Notify::new(),
            heard: Notify::new(),
            turn: AsyncMutex::new(()),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since this exchange was started.
    pub(crate) fn now(&self) -> Millis {
        u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Accepts a message for this peer.
    pub(crate) fn accept(&self, text: Text, ttl: Option<Duration>) -> Result<Number, SendError> {
        let cost = Data::cost(text.len());
        let now = self.now();
        let deadline = ttl.map(|ttl| now.saturating_add(millis(ttl)));
        let mut state = self.lock();
        self.check_length(&text, state.courier.encoding())?;
        if !self.shared.budget.take(cost) {
            return Err(self.full(&state, now));
        }
        let mut accepted = state.courier.enqueue(text.clone(), now, deadline);
        if accepted.is_err() && state.courier.expire(now) {
            accepted = state.courier.enqueue(text, now, deadline);
        }
        let Ok(number) = accepted else {
            self.shared.budget.give(cost);
            return Err(self.full(&state, now));
        };
        state.charged += cost;
        self.settle(&mut state);
        let waker = state.writer();
        drop(state);
        wake(waker);
        Ok(number)
    }

    fn check_length(&self, text: &Text, encoding: Encoding) -> Result<(), SendError> {
        let max = self.shared.config.transport.limits.max_payload;
        let fits = text.len() <= max as usize && (encoding != Encoding::Hex || hex::fits(text));
        if fits { Ok(()) } else { Err(SendError::TooLong { len: text.len(), max }) }
    }

    fn full(&self, state: &State, now: Millis) -> SendError {
        let oldest = state.courier.oldest().map_or(0, |oldest| now.saturating_sub(oldest));
        SendError::Full {
            peer: self.name.clone(),
            messages: state.courier.messages(),
            oldest: Duration::from_millis(oldest),
        }
    }

    /// Gives back to the common budget what no longer waits, and tells those who wait for it.
    pub(crate) fn settle(&self, state: &mut State) {
        let waiting = state.courier.bytes();
        if waiting < state.charged {
            self.shared.budget.give(state.charged - waiting);
            state.charged = waiting;
            self.progress.notify_waiters();
            self.shared.room.notify_waiters();
        }
    }

    /// Accepts a message as soon as there is room for it.
    pub(crate) async fn accept_when_ready(&self, text: Text) -> Result<Number, SendError> {
        let _turn = self.turn.lock().await;
        loop {
            let room = self.shared.room.notified();
            match self.accept(text.clone(), None) {
                Err(SendError::Full { .. }) => {}
                answered => return answered,
            }
            // What expires makes room without anybody saying so.
            let _ = timeout(EXPIRY_CHECK, room).await;
        }
    }

    /// Counts an authenticated handshake. Returns whether it is one too many.
    pub(crate) fn is_overloaded(&self) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        while state.handshakes.front().is_some_and(|first| *first + HANDSHAKE_PERIOD <= now) {
            state.handshakes.pop_front();
        }
        if state.handshakes.len() >= self.shared.config.handshakes {
            return true;
        }
        state.handshakes.push_back(now);
        false
    }

    /// Whether a live connection of another process holds the slot. To find out, it is asked for a
    /// sign of life.
    pub(crate) async fn is_busy(&self, newcomer: Option<Instance>) -> bool {
        let (session, heard, waker) = {
            let mut state = self.lock();
            let Verdict::Probe(session) = state.slot.judge(newcomer) else { return false };
            let Some(live) = &mut state.live else { return false };
            live.probe = true;
            (session, live.heard, live.waker.take())
        };
        wake(waker);
        let lives = timeout(self.shared.config.probe, self.hears(session, heard)).await;
        lives.unwrap_or(false)
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

    /// The next call of the handler; `None` once the lane is to stop.
    pub(crate) fn poll_job(&self, cx: &mut Context<'_>) -> Poll<Option<Job>> {
        let mut state = self.lock();
        state.lane.busy = false;
        let finished = match state.courier {
            // What is not handled is not acknowledged, so it comes again later.
            Courier::Sealed(_) => state.lane.stopping,
            Courier::Hex(_) => state.lane.stopping && state.inbox.is_empty(),
        };
        if finished {
            return Poll::Ready(None);
        }
        let Some(item) = state.inbox.pop() else {
            state.lane.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.lane.busy = true;
        let writer = match state.courier {
            Courier::Hex(_) => state.writer(),
            Courier::Sealed(_) => None,
        };
        drop(state);
        wake(writer);
        Poll::Ready(Some(self.job(item)))
    }

    fn job(&self, item: Item) -> Job {
        let us = &self.shared.name;
        match item {
            Item::Control(control) => Job { message: Message::from_control(us, control), id: None },
            Item::Message(received) => {
                let delivery = paddington_wire::Delivery {
                    id: received.id,
                    redelivered: received.again,
                    attempt: 1,
                };
                let message = Message::received(self.name.clone(), us, received.text, delivery);
                Job { message, id: received.id }
            }
        }
    }

    /// The handler is done with a message.
    pub(crate) fn finish(&self, id: Option<MessageId>, outcome: Outcome) {
        let mut state = self.lock();
        match outcome {
            Outcome::Done => state.handled += 1,
            Outcome::Rejected(_) => state.failed += 1,
        }
        if let (Courier::Sealed(link), Some(id)) = (&mut state.courier, id) {
            link.handled(id, outcome);
        }
        let waker = state.writer_for_ack();
        drop(state);
        wake(waker);
    }

    pub(crate) fn set_lane_task(&self, task: AbortHandle) {
        self.lock().lane.task = Some(task);
    }

    /// Ends the lane whatever it does. Returns whether a handler was running.
    pub(crate) fn abort_lane(&self) -> bool {
        let state = self.lock();
        if let Some(task) = &state.lane.task {
            task.abort();
        }
        state.lane.busy
    }

    /// Stops the lane after the call that runs, or, where nothing comes again, after the last one.
    pub(crate) fn stop_lane(&self) {
        let mut state = self.lock();
        state.lane.stopping = true;
        let waker = state.lane.waker.take();
        drop(state);
        wake(waker);
    }

    pub(crate) fn status(&self) -> PeerStatus {
        let now = self.now();
        let state = self.lock();
        let oldest = state.courier.oldest().map_or(0, |oldest| now.saturating_sub(oldest));
        PeerStatus {
            name: self.name.clone(),
            encoding: state.courier.encoding(),
            connected_for: state.live.as_ref().map(|live| live.since.elapsed()),
            outbox_messages: state.courier.messages(),
            outbox_bytes: state.courier.bytes(),
            oldest: Duration::from_millis(oldest),
            inbox_messages: state.inbox.messages(),
            handled: state.handled,
            failed: state.failed,
        }
    }
}

impl Job {
    pub(crate) fn id(&self) -> Option<MessageId> {
        self.id
    }
}

impl State {
    /// The connection of `session`, if it holds the slot.
    pub(crate) fn live_mut(&mut self, session: SessionId) -> Option<&mut Live> {
        self.live.as_mut().filter(|live| live.session == session)
    }

    /// A new connection holds the slot. Returns the waker of the one that it replaces, which is to
    /// find out.
    pub(crate) fn go_live(&mut self, session: SessionId) -> Option<Waker> {
        let live = Live {
            session,
            waker: None,
            closing: None,
            probe: false,
            ack_armed: false,
            heard: 0,
            since: Instant::now(),
        };
        self.live.replace(live).and_then(|old| old.waker)
    }

    /// Tells the handler that the peer is there: of a `sealed` peer once for each of its lives, of
    /// a `hex` peer once for each connection.
    pub(crate) fn announce(&mut self, agent: &PeerName, life: Option<Instance>) {
        if life.is_some() && self.announced == Some(life) {
            return;
        }
        self.withdraw(agent);
        self.announced = Some(life);
        self.inbox.push_control(Control::Connected { agent: agent.clone() });
    }

    /// Tells the handler that the peer is gone, if it was told that it is there.
    pub(crate) fn withdraw(&mut self, agent: &PeerName) {
        if self.announced.take().is_some() {
            self.inbox.push_control(Control::Disconnected { agent: agent.clone() });
        }
    }

    /// The waker of the connection.
    pub(crate) fn writer(&mut self) -> Option<Waker> {
        self.live.as_mut().and_then(|live| live.waker.take())
    }

    /// The waker of the lane.
    pub(crate) fn lane(&mut self) -> Option<Waker> {
        self.lane.waker.take()
    }

    /// Whether the lane takes no more than it has.
    pub(crate) fn is_stopping(&self) -> bool {
        self.lane.stopping
    }

    /// The waker of the connection, if there is something to acknowledge at once, or something of
    /// which it does not know yet.
    fn writer_for_ack(&mut self) -> Option<Waker> {
        use paddington_wire::link::AckDue;
        let Courier::Sealed(link) = &self.courier else { return None };
        let live = self.live.as_mut()?;
        match link.ack_due() {
            AckDue::Now => live.waker.take(),
            AckDue::Soon if link.is_idle() || !live.ack_armed => {
                live.ack_armed = true;
                live.waker.take()
            }
            _ => None,
        }
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

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
