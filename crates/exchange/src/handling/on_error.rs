//! The policy for messages that a handler has failed on.

use std::time::Duration;

use paddington_transport::seconds;
use serde::{Deserialize, Serialize};

/// Policy for a message that its handler has failed on, by returning an error, panicking, or taking
/// too long.
///
/// ```
/// use std::time::Duration;
///
/// use paddington_exchange::{Config, OnError};
///
/// let on_error = OnError::Retry { attempts: 3, backoff: Duration::from_secs(1) };
/// let config = Config { on_error, ..Config::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "lowercase", deny_unknown_fields)]
pub enum OnError {
    /// The message is rejected, and its sender is told. With a store it becomes a dead letter;
    /// without one it is lost, which is logged as an error.
    #[default]
    Next,
    /// The handler is called again, and the messages after it wait. When all attempts have failed,
    /// the message is rejected as with [`Next`](Self::Next).
    Retry {
        /// Number of attempts in total. The first one is made in any case.
        attempts: u32,
        /// Pause between two attempts.
        #[serde(with = "seconds")]
        backoff: Duration,
    },
    /// No further message of this peer is handled until
    /// [`resume_handling`](crate::Exchange::resume_handling); then the handler is called with the
    /// same message again.
    Stop,
}

impl OnError {
    /// Returns whether the handler is called with the same message again after `attempt` failed ones.
    pub(crate) fn tries_after(self, attempt: u32) -> bool {
        self == Self::Stop || self.again_after(attempt).is_some()
    }

    /// Returns the pause before the next attempt, if there is one after `attempt` failed ones.
    pub(super) fn again_after(self, attempt: u32) -> Option<Duration> {
        match self {
            Self::Retry { attempts, backoff } if attempt < attempts => Some(backoff),
            _ => None,
        }
    }
}
