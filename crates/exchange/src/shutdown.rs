//! The orderly end. Implements "Shutdown" of `docs/delivery.md`.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use paddington_wire::CloseCode;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::peer::PeerLink;
use crate::peer::{Peer, wake};
use crate::{Exchange, ShutdownReport};

/// How far the end has come.
#[derive(Debug)]
pub(crate) struct Shutdown {
    asked: CancellationToken,
    phase: AtomicU8,
    report: watch::Sender<Option<ShutdownReport>>,
}

/// How often connections are asked to close.
const CLOSING_ROUNDS: usize = 3;

/// Everybody may send.
const OPEN: u8 = 0;
/// Handlers that run may still send.
const DRAINING: u8 = 1;
/// Nobody may send.
const CLOSED: u8 = 2;

impl Shutdown {
    /// An end that begins when `asked` is cancelled.
    pub(crate) fn new(asked: CancellationToken) -> Self {
        Self { asked, phase: AtomicU8::new(OPEN), report: watch::Sender::new(None) }
    }

    pub(crate) fn ask(&self) {
        let _ = self.phase.compare_exchange(OPEN, DRAINING, Ordering::Relaxed, Ordering::Relaxed);
        self.asked.cancel();
    }

    pub(crate) fn accepts(&self, by_handler: impl FnOnce() -> bool) -> bool {
        match self.phase.load(Ordering::Relaxed) {
            OPEN => true,
            DRAINING => by_handler(),
            _ => false,
        }
    }

    pub(crate) async fn finished(&self) -> ShutdownReport {
        let mut report = self.report.subscribe();
        let finished = report.wait_for(Option::is_some).await;
        finished.ok().and_then(|report| report.clone()).unwrap_or_default()
    }

    /// What stops the listener.
    pub(crate) fn listener(&self) -> CancellationToken {
        self.asked.child_token()
    }

    fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }
}

impl Exchange {
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.inner().shutdown.is_asked()
    }

    /// Waits until somebody asks, then ends the exchange step by step.
    pub(crate) async fn close_when_asked(self) {
        let inner = self.inner();
        let limit = inner.shared.config.drain;
        inner.shutdown.asked.cancelled().await;
        info!(service = %self.name(), "shutting down");
        inner.watchdog.cancel();
        self.stop_dialing(|peer| peer.store().is_some() || peer.lock().link.messages() == 0);
        for peer in inner.peers.values() {
            peer.hold_back();
            peer.stop_handling();
        }
        inner.workers.close();
        let finished = timeout(limit, inner.workers.wait()).await.is_ok();
        inner.shutdown.phase.store(CLOSED, Ordering::Relaxed);
        let unfinished = if finished { Vec::new() } else { self.abort_handling() };

        let flushed = join_all(inner.peers.keys().map(|name| self.flush(name.as_str())));
        let _ = timeout(limit, flushed).await;
        self.close_connections().await;
        let store = self.close_store().await;
        let mut report = ShutdownReport { unfinished, store, ..self.abandon() };
        report.unsent.sort();
        report.left_in_store.sort();
        if !report.is_clean() {
            warn!(service = %self.name(), ?report, "not everything could be delivered");
        }
        inner.shutdown.report.send_replace(Some(report));
    }

    fn stop_dialing(&self, which: impl Fn(&Peer) -> bool) {
        for (name, stop) in &self.inner().dialers {
            if self.peer(name.as_str()).is_none_or(|peer| which(peer)) {
                stop.cancel();
            }
        }
    }

    fn abort_handling(&self) -> Vec<paddington_wire::PeerName> {
        let peers = self.inner().peers.values();
        peers.filter(|peer| peer.abort_handling()).map(|peer| peer.name.clone()).collect()
    }

    /// Waits until nothing is left that can reach a peer. Where both shut down, each may wait for
    /// what the other will not do any more, acknowledge or (on a `hex` link) read: then it is
    /// enough that nothing moved for a moment.
    async fn flush(&self, name: &str) {
        let Some(peer) = self.peer(name) else { return };
        let dialled = self.inner().dialers.get(name).is_some_and(|stop| !stop.is_cancelled());
        let config = &self.inner().shared.config.transport;
        let (moment, absence) =
            (config.timeouts.close, config.retry.interval + config.timeouts.close);
        loop {
            let progress = peer.progress.notified();
            let patience = match peer.prospect(dialled) {
                Prospect::None => return,
                Prospect::Good => {
                    progress.await;
                    continue;
                }
                Prospect::Doubtful => moment,
                Prospect::Left => absence,
            };
            if timeout(patience, progress).await.is_err() {
                return;
            }
        }
    }

    async fn close_connections(&self) {
        let inner = self.inner();
        self.stop_dialing(|_| true);
        for peer in inner.peers.values() {
            peer.close(CloseCode::Shutdown);
        }
        inner.tasks.close();
        // Closing has its own deadline; this one only catches a connection that was just made.
        let limit = inner.shared.config.transport.timeouts.close + Duration::from_secs(1);
        for _ in 0..CLOSING_ROUNDS {
            if timeout(limit, inner.tasks.wait()).await.is_ok() {
                return;
            }
            for peer in inner.peers.values() {
                peer.close(CloseCode::Shutdown);
            }
        }
        warn!(service = %self.name(), tasks = inner.tasks.len(), "connections did not end in time");
    }

    /// Lets the store remember what is to be remembered, and closes it. Says why it could not.
    async fn close_store(&self) -> Option<String> {
        let inner = self.inner();
        let store = inner.store.as_ref()?;
        inner.store_tasks_stop.cancel();
        inner.store_tasks.close();
        let kept = async {
            inner.store_tasks.wait().await;
            store.close().await
        };
        match timeout(inner.shared.config.drain, kept).await {
            Ok(Ok(())) => None,
            Ok(Err(cause)) => Some(cause.to_string()),
            Err(_) => Some("the store did not answer in time".to_owned()),
        }
    }

    /// Gives up what is left, where no store keeps it.
    fn abandon(&self) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        for peer in self.inner().peers.values() {
            let mut state = peer.lock();
            state.abandoned = true;
            let messages = state.link.messages();
            if peer.store().is_none() {
                state.link.abandon();
            }
            drop(state);
            peer.progress.notify_waiters();
            if messages > 0 {
                let stored = peer.store().is_some();
                let list = if stored { &mut report.left_in_store } else { &mut report.unsent };
                list.push((peer.name.clone(), messages));
            }
        }
        report
    }
}

impl Peer {
    /// Asks the peer to hold back new messages.
    fn hold_back(&self) {
        let mut state = self.lock();
        if let PeerLink::Sealed(link) = &mut state.link {
            link.drain();
        }
        let writer = state.take_connection_waker();
        drop(state);
        wake(writer);
    }

    /// Whether what waits can still be delivered.
    fn prospect(&self, dialled: bool) -> Prospect {
        let state = self.lock();
        if state.link.messages() == 0 {
            return Prospect::None;
        }
        match (&state.live, &state.link) {
            (Some(_), PeerLink::Sealed(link)) if !link.peer_drains() => Prospect::Good,
            (Some(_), PeerLink::Sealed(link)) if link.in_flight() > 0 => Prospect::Doubtful,
            (Some(_), PeerLink::Hex(_)) => Prospect::Doubtful,
            (None, _) if dialled && state.peer_left => Prospect::Left,
            (None, _) if dialled => Prospect::Good,
            _ => Prospect::None,
        }
    }
}

/// What is to be hoped for what waits for a peer.
enum Prospect {
    /// The peer takes messages, or is being dialled.
    Good,
    /// The peer may shut down too, and take what is under way, or not.
    Doubtful,
    /// The peer has shut down, and may come back at once or never.
    Left,
    /// Nothing waits, or nothing of it can reach the peer.
    None,
}
