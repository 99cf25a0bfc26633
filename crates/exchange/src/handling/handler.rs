//! The trait that handles messages, which an application implements.

use std::future::Future;

use paddington_wire::Message;
use thiserror::Error;

use crate::HandlerError;

/// Handles the messages of a service.
///
/// Async functions and closures are handlers, so most services need no type of their own:
///
/// ```
/// use paddington_exchange::Handler;
/// use paddington_wire::Message;
///
/// async fn count(message: Message) -> Result<(), std::num::ParseIntError> {
///     let number: u32 = message.payload().parse()?;
///     println!("{number}");
///     Ok(())
/// }
///
/// fn is_handler(_: impl Handler) {}
/// is_handler(count);
/// ```
///
/// Messages of one peer are handled in order, one at a time; those of different peers in parallel.
/// A handler that fails or panics affects only the message that it was called with.
pub trait Handler: Send + Sync + 'static {
    /// Handles one message.
    ///
    /// # Errors
    ///
    /// Any error: it is logged with the message's id, and the message counts as failed.
    fn handle(&self, message: Message) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Returns whether the handler takes [bytes messages](Message::is_bytes). If not, it is never
    /// called with one: they are rejected with [`RejectCode::TEXT_ONLY`], which their senders are
    /// told. Functions and closures take text, unless [`accept_bytes`] says otherwise.
    ///
    /// [`RejectCode::TEXT_ONLY`]: paddington_wire::RejectCode::TEXT_ONLY
    fn takes_bytes(&self) -> bool {
        false
    }

    /// Returns whether the calls for the messages of a peer begin in the order of the messages,
    /// although several of them run at once: a call begins when the one before it has reached its
    /// first `await` that has to wait. It is meant for a handler that gives messages to somebody else
    /// and waits; another one would lose by it what [`Config::concurrency`] gives it.
    ///
    /// [`Config::concurrency`]: crate::Config::concurrency
    fn begins_in_order(&self) -> bool {
        false
    }
}

/// The error of a handler that has not handled its message because the service shuts down: the
/// message is not acknowledged, and comes again after the next start. A request is answered with
/// [`FailureCode::SHUTTING_DOWN`]. At any other time, and on a `hex` link, where a message comes only
/// once, it is an error like any other.
///
/// [`FailureCode::SHUTTING_DOWN`]: paddington_wire::FailureCode::SHUTTING_DOWN
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the service shuts down, and the message was not handled")]
pub struct Unhandled;

/// Makes a handler that takes bytes messages of one that does not say so, such as a function or a
/// closure.
///
/// ```
/// use paddington_exchange::{Handler, accept_bytes};
/// use paddington_wire::Message;
///
/// let handler = accept_bytes(async |message: Message| {
///     if message.is_bytes() {
///         println!("{} bytes", message.bytes().len());
///     } else {
///         println!("{}", message.payload());
///     }
///     Ok::<(), std::io::Error>(())
/// });
/// assert!(handler.takes_bytes());
/// ```
pub fn accept_bytes(handler: impl Handler) -> impl Handler {
    TakesBytes(handler)
}

struct TakesBytes<H>(H);

impl<H: Handler> Handler for TakesBytes<H> {
    fn handle(&self, message: Message) -> impl Future<Output = Result<(), HandlerError>> + Send {
        self.0.handle(message)
    }

    fn takes_bytes(&self) -> bool {
        true
    }

    fn begins_in_order(&self) -> bool {
        self.0.begins_in_order()
    }
}

impl<F, R, E> Handler for F
where
    F: Fn(Message) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), E>> + Send,
    E: Into<HandlerError>,
{
    async fn handle(&self, message: Message) -> Result<(), HandlerError> {
        self(message).await.map_err(Into::into)
    }
}
