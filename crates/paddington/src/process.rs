//! Free functions for a process with one service, in place of handles. The signals that end it are
//! in `signals.rs`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use paddington_exchange::{
    Handler, NoExchange, Receipt, Reply, RequestError, ShutdownReport, current, install,
};
use paddington_wire::Message;
use tokio::task::JoinHandle;

use crate::signals::Signals;
use crate::{Error, Service, ServiceConfig, ServiceError};

/// The handler that waits for [`run`].
static HANDLER: Mutex<Option<Launch>> = Mutex::new(None);

type Starting = Pin<Box<dyn Future<Output = Result<Service, ServiceError>> + Send>>;
/// Starts a service; the handler is inside, so that its type does not matter here.
type Launch = Box<dyn FnOnce(ServiceConfig) -> Starting + Send>;

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

/// Runs this process's service until it is shut down by [`shutdown`], Ctrl-C or SIGTERM. A second
/// signal ends the shutdown at once, and the report lists what was left.
///
/// When this returns, the signals have their default effect again. In a spawned task, where nobody
/// may be waiting for the end, a signal also ends the process 5 s later, if it has not ended by
/// itself.
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
    let signals = Signals::take();
    let launch = HANDLER.lock().unwrap_or_else(PoisonError::into_inner).take();
    let service = launch.ok_or(Error::NoHandler)?(config).await?;
    if let Err(error) = install(service.exchange().clone()) {
        service.shutdown().await;
        return Err(error.into());
    }
    Ok(signals.run(&service).await)
}

/// Queues a message and returns at once, as [`Service::send`] does. Inside a handler it uses the
/// handler's service, elsewhere the service that [`run`] has started. A task that a handler starts
/// with [`spawn`] uses the handler's service too.
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

/// Asks a peer and waits for its reply, as [`Service::request`] does, with the service that [`send`]
/// uses.
///
/// ```
/// use std::time::Duration;
///
/// use paddington::{Message, request};
///
/// async fn relay(message: Message) -> Result<(), paddington::Error> {
///     if message.is_request() {
///         let question = Message::new("sensor", message.payload());
///         let answer = request(question, Duration::from_secs(5)).await?;
///         message.reply(answer.payload())?;
///     }
///     Ok(())
/// }
/// # fn is_handler(_: impl paddington::Handler) {}
/// # is_handler(relay);
/// ```
///
/// # Errors
///
/// [`RequestError`] if there is no reply; [`RequestError::NoService`] outside of any service.
pub async fn request(message: Message, timeout: Duration) -> Result<Reply, RequestError> {
    current()?.request(message, timeout).await
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

/// Spawns a task in which the free functions mean the same service as here: in a handler, the
/// handler's. A task that is spawned with `tokio::spawn` knows only the service of [`run`].
///
/// The task is not part of the handler: once the service shuts down, it can no longer send.
///
/// ```
/// use paddington::{Message, send, spawn};
///
/// async fn answer_later(message: Message) -> Result<(), paddington::Error> {
///     if !message.is_control() {
///         spawn(async move { send(Message::new(message.sender(), "done")).await });
///     }
///     Ok(())
/// }
/// # fn is_handler(_: impl paddington::Handler) {}
/// # is_handler(answer_later);
/// ```
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    match current() {
        Ok(exchange) => exchange.spawn(task),
        Err(NoExchange) => tokio::spawn(task),
    }
}
