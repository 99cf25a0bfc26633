//! A running service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington_exchange::{
    Exchange, Handler, PeerStatus, PingError, Receipt, Refusal, Reply, RequestError, SendError,
    ShutdownReport, StartError, Storage,
};
use paddington_transport::{Network, SharedPort};
use paddington_wire::Message;
use thiserror::Error;

use crate::outbox::{self, OutboxError};
use shared::Shared;

mod applying;
mod changes;
mod directory;
mod shared;

pub use changes::{Changes, LinkError};

use crate::{ClusterError, ConfigError, ServiceConfig};

/// A running service. Several of them live in one process.
///
/// It runs until [`shutdown`](Self::shutdown) is called on any of its handles. A clone is cheap and
/// is another handle of the same service.
#[derive(Clone, Debug)]
pub struct Service {
    exchange: Exchange,
    shared: Arc<Shared>,
}

/// The reason why a service could not be started. Nothing runs then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The database that the replicas share cannot be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The configuration has TLS of the service's own, which on a shared port is the port's.
    #[error(
        "{0} shares a port, and TLS there is the port's: take the table [tls] out of its configuration"
    )]
    TlsOnSharedPort(String),
    /// The service could not listen, or its settings or peers are not valid.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Service {
    /// Starts a service, and calls `handler` with each message that arrives.
    ///
    /// ```
    /// use paddington::{Message, Service, ServiceConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut config = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &0)?;
    /// config.add_client("sensor", "127.0.0.1")?;
    /// let service = Service::start(&config, async |message: Message| {
    ///     println!("{message}");
    ///     Ok::<(), std::io::Error>(())
    /// })
    /// .await?;
    /// assert!(service.address().is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ServiceError`] if the service cannot listen, or its configuration is not valid.
    pub async fn start(
        config: &ServiceConfig,
        handler: impl Handler,
    ) -> Result<Self, ServiceError> {
        Self::start_on(paddington_transport::system(), config, handler).await
    }

    /// As [`start`](Self::start), on another network, such as a simulation or a tunnel.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_on(
        network: Arc<dyn Network>,
        config: &ServiceConfig,
        handler: impl Handler,
    ) -> Result<Self, ServiceError> {
        config.check_cluster()?; // an outbox may have been set after it
        let storage = match config.open_cluster().await? {
            Some(store) => Storage::Shared(store),
            None => outbox::open(config)?.into(),
        };
        Self::start_with(network, storage, config, handler).await
    }

    /// As [`start`](Self::start), on a port that several services of this process share: the service gets the
    /// requests for the path of its URL or, where several have the same path, for its name. Where its
    /// configuration says to listen does not count.
    ///
    /// ```
    /// use paddington::{Message, Service, ServiceConfig, SharedPort, TransportConfig, system_network};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let address = "127.0.0.1:0".parse()?;
    /// let port = SharedPort::bind(system_network(), address, None, TransportConfig::default()).await?;
    /// let mut services = Vec::new();
    /// for name in ["weather", "tides"] {
    ///     let url = format!("ws://{}/{name}", port.address());
    ///     let mut config = ServiceConfig::new(name, &url, "127.0.0.1", &0)?;
    ///     config.add_client("sensor", "127.0.0.1")?;
    ///     let handler = async |_: Message| Ok::<(), std::io::Error>(());
    ///     services.push(Service::start_at(&port, &config, handler).await?);
    /// }
    /// assert_eq!(services[0].address(), services[1].address());
    /// # for service in services { service.shutdown().await; }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); or if another service on the port has the URL, or the configuration has
    /// TLS of its own.
    pub async fn start_at(
        port: &SharedPort,
        config: &ServiceConfig,
        handler: impl Handler,
    ) -> Result<Self, ServiceError> {
        if config.tls().is_some() {
            return Err(ServiceError::TlsOnSharedPort(config.name().to_owned()));
        }
        Self::start_on(port.network(config.url()), config, handler).await
    }

    /// As [`start_on`](Self::start_on), with the given storage in place of the configured one.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_with(
        network: Arc<dyn Network>,
        store: impl Into<Storage>,
        config: &ServiceConfig,
        handler: impl Handler,
    ) -> Result<Self, ServiceError> {
        let mut storage = store.into();
        let shared = Arc::new(match &mut storage {
            Storage::Shared(store) => {
                let shared = Shared::over(config, Arc::clone(store) as _).await?;
                let sealed = shared.config().sealed(Arc::clone(store));
                *store = sealed.map_err(ClusterError::from)?;
                shared
            }
            Storage::Memory | Storage::Own(_) => Shared::new(config)?,
        });
        let config = shared.config().clone(); // with the keys that the links have by now
        let setup = config.setup(network, storage, shared.key_store())?;
        let exchange = Exchange::start(setup, handler).await?;
        config.note_missing_peers();
        let service = Self { exchange, shared };
        service.begin_to_follow();
        Ok(service)
    }

    /// Returns the service's exchange, which has more ways to send, and reports events.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use paddington::SendOptions;
    /// # use paddington::{Message, Service, ServiceConfig};
    /// # async fn ignore(_: Message) -> Result<(), paddington::Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &0)?;
    /// # config.add_client("sensor", "127.0.0.1")?;
    /// # let service = Service::start(&config, ignore).await?;
    /// let options = SendOptions { ttl: Some(Duration::from_secs(10)) };
    /// service.exchange().send_with(Message::new("sensor", "report"), options).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Returns the service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.exchange.name().as_str()
    }

    /// Returns the address that the service listens on, if it has clients.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.exchange.address()
    }

    /// Queues a message and returns at once; see [`Exchange::send`].
    ///
    /// ```
    /// # use paddington::{Message, Service, ServiceConfig};
    /// # async fn ignore(_: Message) -> Result<(), paddington::Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &0)?;
    /// # config.add_client("sensor", "127.0.0.1")?;
    /// # let service = Service::start(&config, ignore).await?;
    /// // accepted at once, and delivered when the sensor is connected
    /// let receipt = service.send(Message::new("sensor", "report")).await?;
    /// assert!(receipt.id().is_some());
    /// assert!(service.send(Message::new("nobody", "report")).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError`] if the message is not accepted.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        self.exchange.send(message).await
    }

    /// Asks a peer and waits for its reply, for `timeout` at most; see [`Exchange::request`].
    /// Dropping the future cancels the request.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use paddington::{Message, Service};
    /// # async fn example(service: Service) -> Result<(), paddington::RequestError> {
    /// let question = Message::new("sensor", "temperature");
    /// let reply = service.request(question, Duration::from_secs(5)).await?;
    /// println!("{}", reply.payload());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError`] if there is no reply.
    pub async fn request(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<Reply, RequestError> {
        self.exchange.request(message, timeout).await
    }

    /// Returns the status of all peers, sorted by name.
    ///
    /// ```
    /// # use paddington::{Message, Service, ServiceConfig};
    /// # async fn ignore(_: Message) -> Result<(), paddington::Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &0)?;
    /// # config.add_client("sensor", "127.0.0.1")?;
    /// # let service = Service::start(&config, ignore).await?;
    /// let sensor = &service.peers()[0];
    /// assert_eq!(sensor.name.as_str(), "sensor");
    /// assert!(!sensor.is_connected());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.exchange.peers()
    }

    /// Pings a peer that is connected and returns the round trip; see [`Exchange::ping`].
    ///
    /// ```no_run
    /// # use paddington::{PingError, Service};
    /// # async fn example(service: Service) -> Result<(), PingError> {
    /// println!("{:?}", service.ping("sensor").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PingError`] if there is no answer.
    pub async fn ping(&self, peer: &str) -> Result<Duration, PingError> {
        self.exchange.ping(peer).await
    }

    /// Returns the last connections that were refused, newest first; see [`Exchange::refusals`]. The
    /// log tells the same in the same words.
    ///
    /// ```
    /// # use paddington::{Message, Service, ServiceConfig};
    /// # async fn ignore(_: Message) -> Result<(), paddington::Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &0)?;
    /// # config.add_client("sensor", "127.0.0.1")?;
    /// # let service = Service::start(&config, ignore).await?;
    /// for refusal in service.refusals() {
    ///     println!("{}: {} ({})", refusal.address, refusal.cause, refusal.remedy);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.exchange.refusals()
    }

    /// Shuts down and waits for the end; see [`Exchange::shutdown`].
    ///
    /// ```
    /// # use paddington::{Message, Service, ServiceConfig};
    /// # async fn ignore(_: Message) -> Result<(), paddington::Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &0)?;
    /// # config.add_client("sensor", "127.0.0.1")?;
    /// # let service = Service::start(&config, ignore).await?;
    /// let report = service.shutdown().await;
    /// assert!(report.is_clean(), "not everything was delivered: {report:?}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self) -> ShutdownReport {
        self.exchange.shutdown().await
    }

    /// Waits until the service has shut down.
    ///
    /// ```
    /// # use paddington::{Message, Service, ServiceConfig};
    /// # async fn ignore(_: Message) -> Result<(), paddington::Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &0)?;
    /// # config.add_client("sensor", "127.0.0.1")?;
    /// let service = Service::start(&config, ignore).await?;
    /// let other = service.clone();
    /// tokio::spawn(async move { other.shutdown().await });
    /// let report = service.finished().await;
    /// # assert!(report.is_clean());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn finished(&self) -> ShutdownReport {
        self.exchange.finished().await
    }
}
