//! A running service.

use std::net::SocketAddr;
use std::sync::Arc;

use paddington_exchange::store::Store;
use paddington_exchange::{
    Exchange, Handler, PeerStatus, Receipt, SendError, ShutdownReport, StartError,
};
use paddington_transport::Network;
use paddington_wire::Message;
use thiserror::Error;

use crate::outbox::{self, OutboxError};
use crate::{ConfigError, ServiceConfig};

/// A running service. Several of them live in one process.
///
/// It runs until [`shutdown`](Self::shutdown) is called, by whoever has a handle: copies of it are
/// cheap and mean the same service.
#[derive(Clone, Debug)]
pub struct Service {
    exchange: Exchange,
}

/// Why a service could not be started. Nothing runs then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Its configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Service {
    /// Starts a service whose messages `handler` handles.
    ///
    /// # Errors
    ///
    /// [`ServiceError`] if it cannot listen, or its configuration makes no sense.
    pub async fn start(
        config: &ServiceConfig,
        handler: impl Handler,
    ) -> Result<Self, ServiceError> {
        Self::start_on(paddington_transport::system(), config, handler).await
    }

    /// As [`start`](Self::start), on a network of one's own: a simulation, or a tunnel.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_on(
        network: Arc<dyn Network>,
        config: &ServiceConfig,
        handler: impl Handler,
    ) -> Result<Self, ServiceError> {
        let store = config.outbox().map(outbox::open).transpose()?;
        Self::start_with(network, store, config, handler).await
    }

    /// As [`start_on`](Self::start_on), with a store of one's own in place of the configured file.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_with(
        network: Arc<dyn Network>,
        store: Option<Arc<dyn Store>>,
        config: &ServiceConfig,
        handler: impl Handler,
    ) -> Result<Self, ServiceError> {
        let exchange = Exchange::start(config.setup(network, store)?, handler).await?;
        Ok(Self { exchange })
    }

    /// The service's exchange.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.exchange.name().as_str()
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.exchange.address()
    }

    /// Queues a message; see [`Exchange::send`].
    ///
    /// # Errors
    ///
    /// [`SendError`] if it is not accepted.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        self.exchange.send(message).await
    }

    /// How all peers are doing.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.exchange.peers()
    }

    /// Shuts down and waits for the end; see [`Exchange::shutdown`].
    pub async fn shutdown(&self) -> ShutdownReport {
        self.exchange.shutdown().await
    }

    /// Waits until the service has shut down.
    pub async fn finished(&self) -> ShutdownReport {
        self.exchange.finished().await
    }
}
