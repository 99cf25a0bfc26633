//! Which generation of a link's keys an attempt uses. Implements the client's side of `docs/protocol.md`
//! §3.6.

use std::sync::Arc;

use paddington_wire::Credentials;
use paddington_wire::keys::KeyRing;
use tracing::debug;

use crate::{DialError, Dialer};

/// How far the next attempt is behind the newest keys.
#[derive(Debug, Default)]
pub(crate) struct KeyChoice {
    back: usize,
    /// Whether the server has hung up on these keys once.
    hung_up: bool,
}

impl KeyChoice {
    /// Returns how many generations are newer than the one to use.
    pub(crate) fn back(&self) -> usize {
        self.back
    }

    /// Begins anew with the newest.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Puts `ring` in the place of `credentials`, and begins anew if it is another one.
    pub(crate) fn take(&mut self, ring: Option<Arc<KeyRing>>, credentials: &mut Credentials) {
        let Some(ring) = ring else { return };
        if matches!(credentials, Credentials::Ring(old) if Arc::ptr_eq(old, &ring)) {
            return;
        }
        *credentials = Credentials::Ring(ring);
        self.restart();
    }

    /// Returns whether the failure may be that of the keys, and there are older ones: then the next attempt
    /// follows at once, with the same keys once more, because a connection may break at this moment, too, and
    /// older ones may be burned; and after a second failure with those before. After the oldest, or another
    /// failure, it begins anew.
    pub(crate) fn falls_back(&mut self, error: &DialError, dialer: &Dialer) -> bool {
        let (DialError::HungUp(_), Credentials::Ring(ring)) = (error, &dialer.login.credentials)
        else {
            self.restart();
            return false;
        };
        let has_older = self.back + 1 < ring.generations().len();
        if !has_older {
            self.restart();
        } else if self.hung_up {
            *self = Self { back: self.back + 1, hung_up: false };
            debug!(endpoint = %dialer.endpoint, "the server hung up twice; trying older keys");
        } else {
            self.hung_up = true;
        }
        has_older
    }
}
