//! What happens when a handler fails.

use std::time::Duration;

use paddington_transport::seconds;
use serde::{Deserialize, Serialize};

/// What happens to a message that its handler has failed on: it returned an error, panicked, or
/// took too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "lowercase", deny_unknown_fields)]
pub enum OnError {
    /// It is given up, and its sender is told. With a store it becomes a dead letter.
    #[default]
    Next,
    /// The handler gets it again, and the messages after it wait. When all attempts have failed, as
    /// with [`Next`](Self::Next).
    Retry {
        /// How often the handler gets it in all, at least once.
        attempts: u32,
        /// How long to wait between attempts.
        #[serde(with = "seconds")]
        backoff: Duration,
    },
    /// No further message of this peer is handled until
    /// [`resume_handling`](crate::Exchange::resume_handling); then the handler gets it again.
    Stop,
}

impl OnError {
    /// Whether the handler gets a message again after `attempt` failed ones, and after what delay.
    pub(super) fn again_after(self, attempt: u32) -> Option<Duration> {
        match self {
            Self::Retry { attempts, backoff } if attempt < attempts => Some(backoff),
            _ => None,
        }
    }
}
