//! Telling other replicas something, after the commit and many at once (S6).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington_exchange::store::{ReplicaId, Signal};
use paddington_wire::{Instance, LinkId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::connect::Connection;
use crate::inbox::Inbox;
use crate::signal;

/// Number of signals to one replica that wait; beyond that it is told that some are lost.
const ROOM: usize = 16_384;

const NOTIFY: &str = "SELECT pg_notify(u.channel, u.payload) FROM unnest($1::text[], $2::text[]) u(channel, payload)";

/// What this replica has to tell others, and itself.
#[derive(Debug)]
pub(crate) struct Notifier {
    own: ReplicaId,
    /// The number of the schema in the names of channels.
    lock: i32,
    inbox: Inbox,
    pending: Mutex<HashMap<ReplicaId, Pending>>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    signals: Vec<Signal>,
    /// Where in `signals` each stream is, of which only the newest number counts.
    appended: HashMap<(LinkId, Instance), usize>,
    /// Signals of which one says as much as many.
    once: HashSet<Signal>,
}

impl Pending {
    fn add(&mut self, signal: Signal) {
        match signal {
            Signal::Appended { link, stream, number } => {
                if let Some(at) = self.appended.get(&(link, stream)) {
                    if let Some(Signal::Appended { number: known, .. }) = self.signals.get_mut(*at)
                    {
                        *known = number.max(*known);
                    }
                    return;
                }
                self.appended.insert((link, stream), self.signals.len());
            }
            Signal::Settled { .. } | Signal::Asked { .. } | Signal::Answered { .. }
                if !self.once.insert(signal) =>
            {
                return;
            }
            _ => {}
        }
        if self.signals.len() >= ROOM {
            *self = Self::default();
            self.signals.push(Signal::Lost);
        } else {
            self.signals.push(signal);
        }
    }
}

impl Notifier {
    pub(crate) fn new(own: ReplicaId, lock: i32, inbox: Inbox) -> Self {
        Self { own, lock, inbox, pending: Mutex::default(), wake: Notify::new() }
    }

    /// The channel on which a replica listens.
    pub(crate) fn channel(&self, replica: ReplicaId) -> String {
        format!("paddington_{:x}_{replica}", self.lock)
    }

    pub(crate) fn tell(&self, to: ReplicaId, signal: Signal) {
        if to == self.own {
            self.inbox.deliver(signal);
            return;
        }
        self.lock().entry(to).or_default().add(signal);
        self.wake.notify_one();
    }

    /// Sends what is to be told, whenever there is a connection. What is not sent because that
    /// breaks is lost (S5).
    pub(crate) async fn run(
        &self,
        mut connection: watch::Receiver<Option<Arc<Connection>>>,
        stop: CancellationToken,
    ) {
        let work = async {
            loop {
                self.wake.notified().await;
                let Ok(present) = connection.wait_for(Option::is_some).await.map(|it| it.clone())
                else {
                    return;
                };
                if let Some(present) = present {
                    self.send(&present).await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }

    async fn send(&self, connection: &Connection) {
        let pending = std::mem::take(&mut *self.lock());
        let (mut channels, mut payloads) = (Vec::new(), Vec::new());
        for (to, pending) in pending {
            for payload in signal::pack(&pending.signals) {
                channels.push(self.channel(to));
                payloads.push(payload);
            }
        }
        if channels.is_empty() {
            return;
        }
        if let Err(fault) = connection.rows(NOTIFY, &[&channels, &payloads]).await {
            tracing::debug!(why = fault.why(), "signals to other replicas are lost");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReplicaId, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_number_of_a_stream_is_told_and_too_many_become_lost() {
        let mut pending = Pending::default();
        let stream = Instance::from([1; 16]);
        let link = |at: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(at as u64).to_be_bytes());
            LinkId::from(bytes)
        };
        for number in [3, 9, 5] {
            pending.add(Signal::Appended { link: link(0), stream, number });
            pending.add(Signal::Settled { link: link(0) });
        }
        let newest = Signal::Appended { link: link(0), stream, number: 9 };
        assert_eq!(pending.signals, [newest, Signal::Settled { link: link(0) }]);
        for at in 0..ROOM {
            pending.add(Signal::LaneFree { link: link(at) });
        }
        assert_eq!(pending.signals[0], Signal::Lost);
        assert!(pending.signals.len() < 10);
    }
}
