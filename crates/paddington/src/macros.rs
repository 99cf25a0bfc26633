//! The macro that handlers of the original are written with.

/// Wraps async functions that are to be handlers.
///
/// It adds nothing: an `async fn` is a handler as it stands. It is there so that handlers that were
/// written for the original compile unchanged.
///
/// ```
/// use paddington::{Message, async_message_handler, send};
///
/// async_message_handler! {
///     /// Sends everything back.
///     async fn echo(message: Message) -> Result<(), paddington::Error> {
///         if !message.is_control() {
///             send(Message::new(message.sender(), message.payload())).await?;
///         }
///         Ok(())
///     }
/// }
/// # fn is_handler(_: impl paddington::Handler) {}
/// # is_handler(echo);
/// ```
#[macro_export]
macro_rules! async_message_handler {
    ($($handler:item)*) => {
        $($handler)*
    };
}
