//! One error for programs that use this crate.

use std::error::Error as StdError;
use std::io;

use paddington_crypto::KeyError;
use paddington_exchange::{AlreadyRunning, NoExchange, RequestError, SendError};
#[cfg(feature = "durable")]
use paddington_store::{OpenStoreError, SalvageError};
use paddington_transport::{EndpointError, FallbacksError, TlsError};
use paddington_wire::{NameError, NotText, RangeError, ReplyError};
use thiserror::Error;

use crate::{ConfigError, FileError, InviteError, LinkError, OutboxError, ServiceError};

/// Every error of this crate, and those of the program that uses it: each of them becomes this one
/// with `?`. A function says which of them it returns, and returns no others.
///
/// Errors of your own become [`Other`](Error::Other) with [`Error::other`].
///
/// ```
/// use paddington::{Error, Invite, Message, ServiceConfig, send};
///
/// fn configure(invitation: &str) -> Result<ServiceConfig, Error> {
///     let mut config = ServiceConfig::new("sensor", "ws://localhost:1", "127.0.0.1", &1)?;
///     config.add_server(Invite::load(invitation)?)?;
///     Ok(config)
/// }
///
/// async fn handle(message: Message) -> Result<(), Error> {
///     let number: u32 = message.payload().parse().map_err(Error::other)?;
///     send(Message::new(message.sender(), (number + 1).to_string())).await?;
///     Ok(())
/// }
/// # assert!(matches!(configure("missing.toml"), Err(Error::Invite(_))));
/// # fn is_handler(_: impl paddington::Handler) {}
/// # is_handler(handle);
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The message was not accepted.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A request has no reply.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A reply was not taken.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// No service runs in this process or task.
    #[error(transparent)]
    NoService(#[from] NoExchange),
    /// The service could not be started.
    #[error(transparent)]
    Start(#[from] ServiceError),
    /// Another service runs already.
    #[error(transparent)]
    AlreadyRunning(#[from] AlreadyRunning),
    /// A link of a running service was not changed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A handler is set already.
    #[error("a handler is set already: to run several services in one process, use Service")]
    HandlerSet,
    /// No handler is set.
    #[error("no handler is set: call set_handler before run")]
    NoHandler,
    /// A configuration is not valid, or could not be read or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An invitation is not valid, or could not be read or written.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// A file with keys could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A URL is not that of a server.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// URLs are not the further ones of a server.
    #[error(transparent)]
    Fallbacks(#[from] FallbacksError),
    /// A name is not that of a service.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A range of addresses is not valid.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Bytes are not text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The file of an outbox cannot be used.
    #[cfg(feature = "durable")]
    #[error(transparent)]
    OpenStore(#[from] OpenStoreError),
    /// The file of an outbox could not be salvaged.
    #[cfg(feature = "durable")]
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An error of the program that uses this crate.
    #[error(transparent)]
    Other(#[from] Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// Wraps an error of your own, or a text.
    ///
    /// ```
    /// use paddington::Error;
    ///
    /// assert_eq!(Error::other("no such sensor").to_string(), "no such sensor");
    /// ```
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }
}

#[cfg(feature = "anyhow")]
impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error.into())
    }
}
