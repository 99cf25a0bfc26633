//! The convenience of one service per process: free functions instead of handles.

use std::future::Future;
#[cfg(unix)]
use std::io;
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
/// Starts a service with the handler inside, whose type is known no more.
type Launch = Box<dyn FnOnce(ServiceConfig) -> Starting + Send>;

/// Why a call of this module failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The message was not accepted.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No service runs here.
    #[error(transparent)]
    NoService(#[from] NoExchange),
    /// The service could not be started.
    #[error(transparent)]
    Start(#[from] ServiceError),
    /// A service runs already.
    #[error(transparent)]
    AlreadyRunning(#[from] AlreadyRunning),
    /// A handler is set already.
    #[error("a handler is set already: one process has one, or uses Service with several")]
    HandlerSet,
    /// No handler is set.
    #[error("no handler is set: call set_handler before run")]
    NoHandler,
}

/// Sets the handler of this process's service.
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

/// Runs this process's service until it is shut down: by [`shutdown`], by Ctrl-C or by SIGTERM.
///
/// # Errors
///
/// [`enum@Error`] if no handler is set, or the service cannot be started.
pub async fn run(config: ServiceConfig) -> Result<ShutdownReport, Error> {
    // Before the service starts: what asks it to end from then on is not missed.
    let signals = Signals::new();
    let launch = HANDLER.lock().unwrap_or_else(PoisonError::into_inner).take();
    let service = launch.ok_or(Error::NoHandler)?(config).await?;
    if let Err(error) = install(service.exchange().clone()) {
        service.shutdown().await;
        return Err(error.into());
    }
    tokio::select! {
        report = service.finished() => Ok(report),
        () = signals.end() => Ok(service.shutdown().await),
    }
}

/// Queues a message and returns at once; see [`Exchange::send`](paddington_exchange::Exchange::send).
///
/// # Errors
///
/// [`Error::Send`] if it is not accepted, [`Error::NoService`] outside of any service.
pub async fn send(message: Message) -> Result<Receipt, Error> {
    Ok(current()?.send(message)?)
}

/// Shuts this process's service down. Outside handlers it waits for the end; a handler would wait
/// for itself, so there it only asks.
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

/// What the operating system says to this process, from the moment this is made.
struct Signals {
    #[cfg(unix)]
    unix: io::Result<[signal::unix::Signal; 2]>,
}

impl Signals {
    fn new() -> Self {
        #[cfg(unix)]
        let unix = {
            use signal::unix::{SignalKind, signal};
            signal(SignalKind::terminate())
                .and_then(|terminate| Ok([terminate, signal(SignalKind::interrupt())?]))
        };
        Self {
            #[cfg(unix)]
            unix,
        }
    }

    /// Resolves when this process is asked to end.
    async fn end(self) {
        #[cfg(unix)]
        if let Ok([mut terminate, mut interrupt]) = self.unix {
            tokio::select! {
                _ = terminate.recv() => info!("asked to end by SIGTERM"),
                _ = interrupt.recv() => info!("asked to end by Ctrl-C"),
            }
            return;
        }
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
