//! The attempts of addresses that have failed.

use std::num::NonZeroUsize;

use lru::LruCache;
use tokio::time::Instant;

use crate::Limits;
use crate::prefix::Prefix;

/// The attempts that addresses have left, of as many as the limits tell.
#[derive(Debug)]
pub(super) struct Attempts(LruCache<Prefix, Bucket>);

/// The attempts that one address has left.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    since: Instant,
}

impl Attempts {
    pub(super) fn new(addresses: NonZeroUsize) -> Self {
        Self(LruCache::new(addresses))
    }

    /// Returns how many an address has left.
    pub(super) fn left(&mut self, from: Prefix, limits: &Limits, now: Instant) -> u32 {
        self.0.get_mut(&from).map_or(limits.attempts, |bucket| {
            bucket.refill(limits, now);
            bucket.tokens
        })
    }

    /// Takes one from an address.
    pub(super) fn charge(&mut self, from: Prefix, limits: &Limits, now: Instant) {
        let full = || Bucket { tokens: limits.attempts, since: now };
        let bucket = self.0.get_or_insert_mut(from, full);
        bucket.refill(limits, now);
        bucket.tokens = bucket.tokens.saturating_sub(1);
    }

    /// Returns the number of addresses that it knows of.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Bucket {
    fn refill(&mut self, limits: &Limits, now: Instant) {
        let interval = limits.attempt_interval.as_nanos().max(1);
        let earned = now.saturating_duration_since(self.since).as_nanos() / interval;
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(earned) >= limits.attempts {
            *self = Self { tokens: limits.attempts, since: now };
        } else {
            self.tokens += earned;
            self.since += limits.attempt_interval * earned;
        }
    }
}
