//! The macro with which handlers of the original paddington are written.

/// Makes handlers of async functions, as the original paddington has it.
///
/// Any suitable `async fn` is a handler without this macro. A function in it is not `async` itself,
/// but returns a boxed future. So it has a type that can be named, it can be stored beside others,
/// and it can call itself.
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
///
/// A function that calls itself:
///
/// ```
/// use paddington::{Message, async_message_handler};
///
/// async_message_handler! {
///     /// Handles each line by itself.
///     async fn by_line(message: Message) -> Result<(), paddington::Error> {
///         if let Some((first, rest)) = message.payload().split_once('\n') {
///             by_line(Message::new("sensor", first)).await?;
///             by_line(Message::new("sensor", rest)).await?;
///         }
///         Ok(())
///     }
/// }
/// # fn is_handler(_: impl paddington::Handler) {}
/// # is_handler(by_line);
/// ```
#[macro_export]
macro_rules! async_message_handler {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis async fn $name:ident($message:tt: $type:ty $(,)?) -> $result:ty
        $body:block
    )*) => {$(
        $(#[$attribute])*
        $visibility fn $name(
            $message: $type,
        ) -> ::std::pin::Pin<
            ::std::boxed::Box<dyn ::std::future::Future<Output = $result> + ::std::marker::Send>,
        > {
            ::std::boxed::Box::pin(async move $body)
        }
    )*};
    ($($other:item)*) => {
        $($other)*
    };
}
