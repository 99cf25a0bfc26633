//! Why the local API gives no answer, or not the one that was asked for.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::model::ApiError;

/// The reason why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody runs the service: there is no socket, or nobody answers at it.
    #[error("the service does not run: nobody listens at {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The socket cannot be opened.
    #[error("the socket {} of the service cannot be opened", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The request cannot be written.
    #[error("the request cannot be written")]
    Request(#[source] http::Error),
    /// The body that was to be sent cannot be written as JSON.
    #[error("what is to be sent cannot be written as JSON")]
    Body(#[source] serde_json::Error),
    /// The connection has failed.
    #[error("the connection to the service has failed")]
    Connection(#[from] hyper::Error),
    /// The service has refused it.
    #[error("{}", error.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The answer of the service.
        error: ApiError,
    },
    /// The answer is not what is expected: the service may be another version.
    #[error(
        "the service answers with something else than is expected; its version may be another one"
    )]
    Answer(#[source] serde_json::Error),
    /// The answer is longer than any that is expected.
    #[error("the answer of the service is longer than {0} bytes")]
    TooLong(usize),
}

impl ClientError {
    /// Returns whether nobody runs the service.
    #[must_use]
    pub fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning { .. })
    }
}
