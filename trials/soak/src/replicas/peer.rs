//! A peer of the replicas, in this process: it lives all the time, and reaches one of them through a proxy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Error, ensure};
use paddington::{Message, Service, ServiceConfig};
use paddington_test_support::FaultyProxy;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::journal::Journal;

/// The most messages that wait: more than may be handled again after a loss, so that too many would be seen.
const MOST_WAITING: u64 = 100;
/// Time between two looks at what is acknowledged.
const LOOK: Duration = Duration::from_millis(2);
/// The longest wait until everything is acknowledged.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Peer {
    name: String,
    service: Service,
    proxy: FaultyProxy,
    /// The index of the replica that it reaches.
    pub(super) at: usize,
    progress: Arc<Progress>,
    sending: JoinHandle<Result<(), Error>>,
}

/// How far a peer has come.
#[derive(Debug, Default)]
struct Progress {
    /// The last number that was sent, and the last one that was acknowledged.
    sent: AtomicU64,
    acknowledged: AtomicU64,
    is_quiet: AtomicBool,
    /// The last number of each instance of a replica that was handled here.
    handled: Mutex<HashMap<u64, u64>>,
}

/// How far a peer had come at one moment.
pub(super) struct Mark {
    sent: u64,
    handled: HashMap<u64, u64>,
}

impl Peer {
    pub(super) async fn start(
        config: &ServiceConfig,
        proxy: FaultyProxy,
        log: &Arc<Journal>,
    ) -> Result<Self, Error> {
        let name = config.name().to_owned();
        let progress = Arc::<Progress>::default();
        let handler = {
            let (name, progress, log) = (name.clone(), Arc::clone(&progress), Arc::clone(log));
            move |message: Message| std::future::ready(progress.handle(&name, &log, &message))
        };
        let service = Service::start(config, handler).await?;
        let sending = tokio::spawn(send(
            service.clone(),
            name.clone(),
            Arc::clone(&progress),
            Arc::clone(log),
        ));
        Ok(Self { name, service, proxy, at: 0, progress, sending })
    }

    /// Lets it reach another replica from now on, or the same one anew.
    pub(super) fn lead_to(&mut self, at: usize, address: SocketAddr) {
        self.at = at;
        self.proxy.forward_to(address);
        self.proxy.cut();
    }

    pub(super) fn cut(&self) {
        self.proxy.cut();
    }

    pub(super) fn mark(&self) -> Mark {
        let sent = self.progress.sent.load(Ordering::Relaxed);
        Mark { sent, handled: self.progress.handled().clone() }
    }

    /// Checks that since a mark a message was acknowledged that was sent after it, and that one of each of these
    /// instances was handled here.
    pub(super) fn goes_on(&self, since: &Mark, instances: &[u64]) -> Result<bool, Error> {
        ensure!(!self.sending.is_finished(), "{} cannot send any more", self.name);
        let acknowledged = self.progress.acknowledged.load(Ordering::Relaxed);
        let handled = self.progress.handled();
        let is_behind = |instance: &u64| handled.get(instance) <= since.handled.get(instance);
        Ok(acknowledged > since.sent && !instances.iter().any(is_behind))
    }

    /// Sends nothing new.
    pub(super) fn fall_silent(&self) {
        self.progress.is_quiet.store(true, Ordering::Relaxed);
    }

    /// Waits until everything is acknowledged, after it was told to send nothing new.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        let settled = timeout(PATIENCE, &mut self.sending).await;
        settled.with_context(|| format!("messages of {} are not acknowledged", self.name))??
    }

    pub(super) async fn end(&self) {
        self.service.shutdown().await;
    }
}

impl Progress {
    /// Writes a message of a replica down, whose text is the instance of that and a number.
    fn handle(&self, name: &str, log: &Journal, message: &Message) -> Result<(), Error> {
        if message.is_control() {
            return Ok(());
        }
        let text = message.payload();
        log.append(&format!("got {name} {text}"))?;
        let (instance, number) = text.split_once(' ').context("not an instance and a number")?;
        self.handled().insert(instance.parse()?, number.parse()?);
        Ok(())
    }

    fn handled(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps messages waiting, and writes down how far they are acknowledged, until it is told to be quiet and all
/// of them are.
async fn send(
    service: Service,
    name: String,
    progress: Arc<Progress>,
    log: Arc<Journal>,
) -> Result<(), Error> {
    let (mut sent, mut told) = (0_u64, 0);
    loop {
        let waiting: usize = service.peers().iter().map(|peer| peer.outbox_messages).sum();
        let waiting = waiting as u64;
        let acknowledged = sent - waiting;
        if acknowledged > told {
            told = acknowledged;
            log.append(&format!("acked {name} {told}"))?;
            progress.acknowledged.store(told, Ordering::Relaxed);
        }
        let is_quiet = progress.is_quiet.load(Ordering::Relaxed);
        if is_quiet && waiting == 0 {
            return Ok(());
        }
        if is_quiet || waiting >= MOST_WAITING {
            sleep(LOOK).await;
            continue;
        }
        sent += 1;
        service.send(Message::new("hub", sent.to_string())).await?;
        log.append(&format!("sent {name} {sent}"))?;
        progress.sent.store(sent, Ordering::Relaxed);
    }
}
