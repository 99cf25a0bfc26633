//! Free functions for a process with one service, in place of handles.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use paddington_exchange::{
    AlreadyRunning, Handler, NoExchange, Receipt, SendError, ShutdownReport, current, install,
};
use paddington_wire::Message;
use thiserror::Error;
use tokio::signal;
use tracing::info;

use crate::{Service, ServiceConfig, ServiceError};

/// The handler that waits for [`run`].
static HANDLER: Mutex<Option<Launch>> = Mutex::new(None);

type Starting = Pin<Box<dyn Future<Output = Result<Service, ServiceError>> + Send>>;
/// Starts a service; the handler is inside, so that its type does not matter here.
type Launch = Box<dyn FnOnce(ServiceConfig) -> Starting + Send>;

/// The reason why one of the free functions failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The message was not accepted.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No service runs in this process or task.
    #[error(transparent)]
    NoService(#[from] NoExchange),
    /// The service could not be started.
    #[error(transparent)]
    Start(#[from] ServiceError),
    /// Another service runs already.
    #[error(transparent)]
    AlreadyRunning(#[from] AlreadyRunning),
    /// A handler is set already.
    #[error("a handler is set already: to run several services in one process, use Service")]
    HandlerSet,
    /// No handler is set.
    #[error("no handler is set: call set_handler before run")]
    NoHandler,
}

/// Sets the handler of this process's service.
///
/// ```no_run
/// use paddington::{Message, set_handler};
///
/// # async fn example() -> Result<(), paddington::Error> {
/// set_handler(async |message: Message| {
///     println!("{message}");
///     Ok::<(), std::io::Error>(())
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::HandlerSet`] if one is set already.
pub async fn set_handler(handler: impl Handler) -> Result<(), Error> {
    let mut slot = HANDLER.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_some() {
        return Err(Error::HandlerSet);
    }
    *slot =
        Some(Box::new(|config| Box::pin(async move { Service::start(&config, handler).await })));
    Ok(())
}

/// Runs this process's service until it is shut down by [`shutdown`], Ctrl-C or SIGTERM.
///
/// ```no_run
/// use paddington::{Message, ServiceConfig, run, set_handler};
///
/// # async fn ignore(_: Message) -> Result<(), paddington::Error> { Ok(()) }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// set_handler(ignore).await?;
/// let report = run(ServiceConfig::load("hub.toml")?).await?;
/// println!("unsent: {:?}", report.unsent);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`enum@Error`] if no handler is set, or the service cannot be started.
pub async fn run(config: ServiceConfig) -> Result<ShutdownReport, Error> {
    let termination = Termination::expect();
    let launch = HANDLER.lock().unwrap_or_else(PoisonError::into_inner).take();
    let service = launch.ok_or(Error::NoHandler)?(config).await?;
    if let Err(error) = install(service.exchange().clone()) {
        service.shutdown().await;
        return Err(error.into());
    }
    tokio::select! {
        report = service.finished() => Ok(report),
        () = termination.comes() => Ok(service.shutdown().await),
    }
}

/// Queues a message and returns at once, as [`Service::send`] does. Inside a handler it uses the
/// handler's service, elsewhere the service that [`run`] has started.
///
/// ```
/// use paddington::{Message, send};
///
/// async fn echo(message: Message) -> Result<(), paddington::Error> {
///     if !message.is_control() {
///         send(Message::new(message.sender(), message.payload())).await?;
///     }
///     Ok(())
/// }
/// # fn is_handler(_: impl paddington::Handler) {}
/// # is_handler(echo);
/// ```
///
/// # Errors
///
/// [`Error::Send`] if it is not accepted, [`Error::NoService`] outside of any service.
pub async fn send(message: Message) -> Result<Receipt, Error> {
    Ok(current()?.send(message).await?)
}

/// Shuts this process's service down and waits for the end. Inside a handler it returns at once,
/// because the end would have to wait for the handler.
///
/// ```
/// use paddington::{Message, shutdown};
///
/// async fn stop_at_zero(message: Message) -> Result<(), paddington::Error> {
///     if message.payload() == "0" {
///         shutdown().await?;
///     }
///     Ok(())
/// }
/// # fn is_handler(_: impl paddington::Handler) {}
/// # is_handler(stop_at_zero);
/// ```
///
/// # Errors
///
/// [`Error::NoService`] outside of any service.
pub async fn shutdown() -> Result<(), Error> {
    let exchange = current()?;
    exchange.ask_to_shut_down();
    if !exchange.is_called_from_handler() {
        exchange.finished().await;
    }
    Ok(())
}

/// The signals by which the operating system asks this process to end.
struct Termination {
    #[cfg(unix)]
    terminate: Option<signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<signal::unix::Signal>,
}

impl Termination {
    /// Installs the signal handlers, so that a signal no longer ends the process by itself.
    fn expect() -> Self {
        Self {
            #[cfg(unix)]
            terminate: signal::unix::signal(signal::unix::SignalKind::terminate()).ok(),
            #[cfg(unix)]
            interrupt: signal::unix::signal(signal::unix::SignalKind::interrupt()).ok(),
        }
    }

    #[cfg(unix)]
    async fn comes(self) {
        let Self { terminate: Some(mut terminate), interrupt: Some(mut interrupt) } = self else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => info!("asked to end by SIGTERM"),
            _ = interrupt.recv() => info!("asked to end by Ctrl-C"),
        }
    }

    #[cfg(not(unix))]
    async fn comes(self) {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        info!("asked to end by Ctrl-C");
    }
}
