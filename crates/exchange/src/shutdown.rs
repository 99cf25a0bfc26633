//! The steps of an orderly shutdown. Implements "Shutdown" of `docs/delivery.md`.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use paddington_wire::{CloseCode, PeerName};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::ShutdownReport;
use crate::core::Core;
use crate::peer::{Peer, Prospect};
use crate::registry::{Entry, Role};

/// Number of times that connections are asked to close.
const CLOSING_ROUNDS: usize = 3;

/// Time for what is nearly done, when a shutdown is not to wait any longer.
const LAST_MOMENT: Duration = Duration::from_millis(250);

/// Starts the task that waits for the request to shut down, and then shuts down step by step.
pub(crate) fn spawn(core: &Arc<Core>) {
    let core = Arc::clone(core);
    tokio::spawn(async move {
        core.lifecycle.asked().await;
        core.shut_down().await;
    });
}

impl Core {
    async fn shut_down(&self) {
        let limit = self.shared.config.drain;
        info!(service = %self.shared.name, "shutting down");
        // A change of the peers that was begun is made. No other one is begun.
        drop(self.within(limit, self.changes.lock()).await);
        self.watchers.cancel();
        self.stop_dialing(|peer| peer.store().is_some() || peer.outbox_messages() == 0);
        let peers = self.peers.peers();
        for peer in &peers {
            peer.drain();
            peer.stop_handling();
        }
        self.workers.close();
        let finished = self.within(limit, self.workers.wait()).await.is_some();
        self.lifecycle.close();
        let unfinished = if finished { Vec::new() } else { self.abort_handling() };

        if self.cluster.is_none() {
            // Else the other replicas deliver what waits.
            let flushed = join_all(peers.iter().map(|peer| self.flush(peer)));
            self.within(limit, flushed).await;
        }
        self.close_connections().await;
        self.shared.key_tasks.close();
        self.within(limit, self.shared.key_tasks.wait()).await;
        self.keys.close();
        if let Some(cluster) = &self.cluster {
            let peers = self.peers.peers();
            self.within(limit, cluster.end_requests(&peers)).await;
            self.within(limit, cluster.release(&peers)).await;
            cluster.receipts().end();
        }
        let store = self.close_store().await;
        let mut report = ShutdownReport { unfinished, store, ..self.abandon() };
        report.unsent.sort();
        report.left_in_store.sort();
        if !report.is_clean() {
            warn!(service = %self.shared.name, ?report, "not everything could be delivered");
        }
        self.lifecycle.finish(report);
    }

    fn stop_dialing(&self, which: impl Fn(&Peer) -> bool) {
        for (_, dialing) in self.peers.servers().iter().filter(|(peer, _)| which(peer)) {
            dialing.stop.cancel();
        }
    }

    fn abort_handling(&self) -> Vec<PeerName> {
        let peers = self.peers.peers_with_calls();
        let running = peers.iter().filter(|peer| peer.abort_handling());
        running.map(|peer| peer.name.clone()).collect()
    }

    /// Waits until no message is left that can reach the peer. If both sides shut down, each may
    /// wait for something that the other no longer does, such as acknowledging or (on a `hex` link)
    /// reading; then a moment without progress is enough.
    async fn flush(&self, peer: &Peer) {
        let dialled = match self.peers.entry(peer.name.as_str()) {
            Some(Entry { role: Role::Server(dialing), .. }) => !dialing.stop.is_cancelled(),
            _ => false,
        };
        let config = &self.shared.config.transport;
        let (moment, absence) =
            (config.timeouts.close, config.retry.interval + config.timeouts.close);
        loop {
            let progress = peer.progress();
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
        self.stop_dialing(|_| true);
        for peer in self.peers.peers() {
            peer.close(CloseCode::Shutdown);
        }
        self.tasks.close();
        // Closing has its own deadline; this one only catches a connection that was just made.
        let limit = self.shared.config.transport.timeouts.close + Duration::from_secs(1);
        for _ in 0..CLOSING_ROUNDS {
            if self.within(limit, self.tasks.wait()).await.is_some() {
                return;
            }
            if self.lifecycle.is_hurried() {
                // A moment to tell those peers that still listen.
                let _ = timeout(LAST_MOMENT, self.tasks.wait()).await;
                return;
            }
            for peer in self.peers.peers() {
                peer.close(CloseCode::Shutdown);
            }
        }
        let tasks = self.tasks.len();
        warn!(service = %self.shared.name, tasks, "connections did not end in time");
    }

    /// Lets the store write what is left, and closes it. Returns the cause if that failed.
    async fn close_store(&self) -> Option<String> {
        let store = self.store()?;
        self.store_tasks_stop.cancel();
        self.store_tasks.close();
        let closed = async {
            self.store_tasks.wait().await;
            store.close().await
        };
        let mut closed = pin!(closed);
        let mut done = self.within(self.shared.config.drain, &mut closed).await;
        if done.is_none() && self.lifecycle.is_hurried() {
            done = timeout(LAST_MOMENT, closed).await.ok();
        }
        match done {
            Some(Ok(())) => None,
            Some(Err(cause)) => Some(cause.to_string()),
            None => Some("the store did not answer in time".to_owned()),
        }
    }

    /// Waits for `work` up to `limit`, or until the shutdown is not to wait any longer.
    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = timeout(limit, work) => done.ok(),
            () = self.lifecycle.hurried() => None,
        }
    }

    /// Abandons the messages that are left. Those in a store stay there.
    fn abandon(&self) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        for peer in self.peers.peers() {
            let messages = peer.abandon();
            peer.finish_reports();
            if messages > 0 {
                let stored = peer.store().is_some();
                let list = if stored { &mut report.left_in_store } else { &mut report.unsent };
                list.push((peer.name.clone(), messages));
            }
        }
        report
    }
}
