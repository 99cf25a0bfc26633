//! A changed ring that is not durable yet, with what may be said once it is.

use super::KeyRing;
use crate::Frame;

/// A ring that is to be stored, and what the other side is told afterwards. Nothing but
/// [`Renewal::settle`](super::Renewal::settle) gets the frame out.
#[derive(Debug)]
#[cfg_attr(feature = "fuzzing", derive(Clone))]
#[must_use = "it is to be stored, and then settled"]
pub struct Draft {
    pub(super) ring: KeyRing,
    pub(super) what: What,
}

/// What a draft is for. Each has the number of the frame before or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The server is to say RENEW.
    Renew(u64),
    /// The client is to say RENEWED.
    Renewed(u64),
    /// The client forgets keys that it has fallen back from, and is to say RENEWED.
    Forgotten(u64),
    /// The server removes the invitation.
    Burn(u64),
}

impl Draft {
    /// Returns the ring to store.
    #[must_use]
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Returns whether it holds keys on which both sides agree, rather than only fewer.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        self.what.is_agreed()
    }
}

impl What {
    pub(super) fn is_agreed(self) -> bool {
        matches!(self, Self::Renew(_) | Self::Renewed(_))
    }

    /// Returns the frame that follows.
    pub(super) fn frame(self) -> Option<Frame> {
        match self {
            Self::Renew(number) => Some(Frame::Renew(number)),
            Self::Renewed(number) | Self::Forgotten(number) => Some(Frame::Renewed(number)),
            Self::Burn(_) => None,
        }
    }
}

/// What became of storing a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storing {
    /// It is durable.
    Done,
    /// It is not, and will not become so.
    Failed,
}

/// What follows from storing a draft.
#[derive(Debug)]
#[must_use]
pub struct Settled {
    /// The ring to use from now on; `None` if the former one stays.
    pub ring: Option<KeyRing>,
    /// What the other side is told.
    pub frame: Option<Frame>,
}
