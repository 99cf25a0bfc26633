//! The trait that handles messages, which an application implements.

use std::future::Future;

use paddington_wire::Message;

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
