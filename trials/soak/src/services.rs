//! Parts that the trials with services in this process share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, ensure};
use paddington::{Handler, Invite, Message, Service, ServiceConfig};
use tokio::time::sleep;

/// The longest time until everything is acknowledged.
const PATIENCE: Duration = Duration::from_secs(300);

/// A handler that does nothing.
pub(crate) async fn nothing(_: Message) -> Result<(), Error> {
    Ok(())
}

/// The configuration of a client of a server whose port was chosen by the operating system.
pub(crate) fn client_of(
    server: &Service,
    name: &str,
    invite: Invite,
) -> Result<ServiceConfig, Error> {
    let mut config = ServiceConfig::new(name, "ws://localhost:1", "127.0.0.1", &0)?;
    let address = server.address().context("a server listens")?;
    config.add_server(invite.at(&format!("ws://{address}"))?)?;
    Ok(config)
}

/// Waits until every message is acknowledged, and checks that each is accounted for.
pub(crate) async fn settle(services: &[&Service]) -> Result<(), Error> {
    let begun = Instant::now();
    let peers = || services.iter().flat_map(|service| service.peers());
    while peers().any(|peer| peer.outbox_messages > 0) {
        ensure!(begun.elapsed() < PATIENCE, "messages are not acknowledged");
        sleep(Duration::from_millis(20)).await;
    }
    ensure!(peers().all(|peer| peer.is_conserved()), "a message is not accounted for");
    Ok(())
}

/// Times that messages take from `send` to the handler.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    begun: Instant,
    /// The length of a message.
    len: usize,
    times: Arc<Mutex<Vec<Duration>>>,
}

impl Arrivals {
    pub(crate) fn new(len: usize) -> Self {
        Self { begun: Instant::now(), len, times: Arc::default() }
    }

    /// A message that says when it was sent.
    pub(crate) fn message(&self, to: &str) -> Message {
        let (sent, len) = (self.begun.elapsed().as_nanos().to_string(), self.len);
        Message::new(to, format!("{sent:<len$}"))
    }

    pub(crate) fn handler(&self) -> impl Handler + use<> {
        let arrivals = self.clone();
        move |message: Message| std::future::ready(arrivals.note(&message))
    }

    fn note(&self, message: &Message) -> Result<(), Error> {
        if !message.is_control() {
            let sent = Duration::from_nanos(message.payload().trim_end().parse()?);
            self.times().push(self.begun.elapsed().saturating_sub(sent));
        }
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.times().len()
    }

    /// Takes the times since the last call.
    pub(crate) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.times())
    }

    fn times(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
