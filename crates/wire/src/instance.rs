//! The identity of one run of a service, and of its messages. Implements `docs/protocol.md` §5.1.

use std::fmt;

use const_hex::Buffer;
use paddington_crypto::{KeyError, random_bytes};

/// One run of a service: 16 random bytes that are drawn when it starts. They also name the stream
/// of the messages that this run accepts for a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance([u8; Instance::LEN]);

impl Instance {
    /// The length in bytes.
    pub const LEN: usize = 16;

    /// Draws an instance from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn random() -> Result<Self, KeyError> {
        random_bytes().map(Self)
    }

    /// Returns the bytes as they are on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for Instance {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Buffer::<{ Self::LEN }>::new().format(&self.0))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The identity of a message: never reused, and the same however often the message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The stream that the message belongs to.
    pub stream: Instance,
    /// The message's number in that stream, from 1.
    pub number: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.number)
    }
}
