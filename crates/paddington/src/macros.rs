//! The macro with which handlers of the original paddington are written.

/// Wraps async functions that are used as handlers.
///
/// The macro adds nothing, because any suitable `async fn` is a handler. It exists so that handlers
/// that were written for the original paddington compile unchanged.
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
