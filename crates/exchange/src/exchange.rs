//! The handle of an exchange: what users call.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use paddington_wire::PeerName;
use tokio::sync::broadcast;

use crate::core::Core;
use crate::current::{self, is_handler_of};
use crate::peer::Peer;
use crate::store::Store;
use crate::{AlreadyRunning, Event, NoExchange, PeerStatus, SendError, ShutdownReport};

/// A service's exchange: a handle, cheap to copy.
///
/// It lives until [`shutdown`](Self::shutdown), however many handles there are.
#[derive(Clone)]
pub struct Exchange {
    core: Arc<Core>,
}

impl Exchange {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The service's own name.
    #[must_use]
    pub fn name(&self) -> &PeerName {
        &self.core.shared.name
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.core.address
    }

    /// What happens to the links from now on. Whoever looks too rarely misses the oldest events.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.core.shared.events()
    }

    /// Lets up to `concurrency` messages of a peer be handled at the same time, in any order.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] if there is no such peer.
    pub fn set_concurrency(&self, peer: &str, concurrency: usize) -> Result<(), SendError> {
        let peer = self.known(peer)?;
        for _ in 0..peer.set_concurrency(concurrency) {
            self.core.add_worker(peer);
        }
        Ok(())
    }

    /// Goes on with the messages of a peer whose handler has failed, where the policy is
    /// [`OnError::Stop`](crate::OnError::Stop).
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] if there is no such peer.
    pub fn resume_handling(&self, peer: &str) -> Result<(), SendError> {
        self.known(peer)?.resume_handling();
        Ok(())
    }

    /// Where messages are kept, if they are: its dead letters, its health.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<dyn Store>> {
        self.core.store.as_ref()
    }

    /// How all peers are doing, by name.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.core.peers.values().map(|peer| peer.status()).collect()
    }

    /// Asks the exchange to shut down and returns at once; handlers may call it.
    ///
    /// No message is accepted any more except from handlers that run. The listener closes, handlers
    /// finish, what waits for connected peers is delivered, and connections are closed, all within
    /// the limits of [`Config::drain`].
    pub fn ask_to_shut_down(&self) {
        self.core.lifecycle.ask();
    }

    /// Waits until the exchange has shut down.
    pub async fn finished(&self) -> ShutdownReport {
        self.core.lifecycle.finished().await
    }

    /// Shuts down and waits for the end. A handler would wait for itself: it
    /// [asks](Self::ask_to_shut_down) instead.
    pub async fn shutdown(&self) -> ShutdownReport {
        self.ask_to_shut_down();
        self.finished().await
    }

    /// Whether the caller is one of this exchange's handlers.
    #[must_use]
    pub fn is_called_from_handler(&self) -> bool {
        is_handler_of(&self.core)
    }

    pub(crate) fn known(&self, name: &str) -> Result<&Arc<Peer>, SendError> {
        self.core.peer(name).ok_or_else(|| SendError::UnknownPeer(name.chars().take(80).collect()))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("name", self.name()).finish_non_exhaustive()
    }
}

/// The exchange in whose handler the caller runs, or the process's.
///
/// # Errors
///
/// [`NoExchange`] if there is neither. A task that a handler spawns has to bring its [`Exchange`].
pub fn current() -> Result<Exchange, NoExchange> {
    current::current().map(Exchange::new).ok_or(NoExchange)
}

/// Makes `exchange` the process's.
///
/// # Errors
///
/// [`AlreadyRunning`] if there is one.
pub fn install(exchange: Exchange) -> Result<(), AlreadyRunning> {
    if current::install(exchange.core) { Ok(()) } else { Err(AlreadyRunning) }
}
