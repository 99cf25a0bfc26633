//! One generation of a link's keys, and what is left of one that was removed.

use std::sync::Arc;

use paddington_crypto::KeyPair;

use super::Seconds;
use crate::PeerName;
use crate::sealed::{Credentials, HintKey};

/// One generation of a link's keys.
#[derive(Clone, Debug)]
pub struct Generation {
    pub(super) number: u64,
    pub(super) keys: Arc<KeyPair>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) since: Seconds,
    pub(super) origin: Origin,
    pub(super) used: bool,
    pub(super) expiry: Expiry,
}

/// How keys came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// They were in an invitation.
    HandedOver,
    /// Both sides derived them in a session.
    Agreed,
}

/// When keys stop being valid. Only the server's clock decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// Never.
    Never,
    /// At this moment, unless they were used before.
    UnlessUsed(Seconds),
    /// At this moment, used or not: a new invitation is to replace them.
    At(Seconds),
}

impl Expiry {
    /// Returns the moment, in seconds since 1970, if there is one.
    #[must_use]
    pub fn moment(self) -> Option<Seconds> {
        match self {
            Self::Never => None,
            Self::UnlessUsed(moment) | Self::At(moment) => Some(moment),
        }
    }

    /// Returns whether the moment has come.
    #[must_use]
    pub fn has_passed(self, now: Seconds) -> bool {
        self.moment().is_some_and(|moment| moment <= now)
    }
}

impl Generation {
    pub(super) fn new(
        [server, client]: [&PeerName; 2],
        number: u64,
        keys: Arc<KeyPair>,
        origin: Origin,
        since: Seconds,
    ) -> Self {
        let credentials = Arc::new(Credentials::new(server, client, &keys));
        Self { number, keys, credentials, since, origin, used: false, expiry: Expiry::Never }
    }

    /// Returns its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the two keys.
    #[must_use]
    pub fn keys(&self) -> &Arc<KeyPair> {
        &self.keys
    }

    /// Returns the secrets that are derived from the keys.
    #[must_use]
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// Returns when this side got them, in seconds since 1970.
    #[must_use]
    pub fn since(&self) -> Seconds {
        self.since
    }

    /// Returns how they came about.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns whether there was a session with them.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// Returns when they stop being valid.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    pub(super) fn is_unused(&self, origin: Origin) -> bool {
        !self.used && self.origin == origin
    }

    pub(super) fn burn(&self, why: Why, now: Seconds) -> Burned {
        let hints = self.credentials.hint_key();
        Burned { number: self.number, since: now, why, hints }
    }
}

/// What is left of keys that are no longer valid. It recognises them, and opens nothing.
#[derive(Clone, Debug)]
pub struct Burned {
    pub(super) number: u64,
    pub(super) since: Seconds,
    pub(super) why: Why,
    pub(super) hints: HintKey,
}

/// Why keys are no longer valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Newer ones took their place.
    Burned,
    /// Their time was over before newer ones did.
    Expired,
}

impl Burned {
    /// Returns the number of the generation.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns since when they are not valid, in seconds since 1970.
    #[must_use]
    pub fn since(&self) -> Seconds {
        self.since
    }

    /// Returns why they are not valid.
    #[must_use]
    pub fn why(&self) -> Why {
        self.why
    }

    /// Returns what recognises a hello that was made with them.
    #[must_use]
    pub fn hints(&self) -> &HintKey {
        &self.hints
    }
}
