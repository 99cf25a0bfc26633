//! The refusals that a server keeps for its operator: what the log tells, to be asked for. Nothing here
//! is told to a stranger.

use std::net::IpAddr;
use std::time::SystemTime;

use lru::LruCache;

use crate::refusal_kind::RefusalKind;

/// Number of refusals that are kept, by address, stage and cause; the one that was longest not repeated
/// is forgotten first.
const KEPT: usize = 256;

/// Connections of one address that were refused at one stage and for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedConnection {
    /// When the first of them was refused, by the wall clock.
    pub at: SystemTime,
    /// When the last of them was refused.
    pub last: SystemTime,
    /// Where they came from: behind a trusted proxy the address that it reports, as soon as that was
    /// known.
    pub address: IpAddr,
    /// How far they had come: `accept`, `request`, `HELLO` or `READY`.
    pub stage: &'static str,
    /// Why they were refused, as one word that stays the same (`docs/doctor.md`).
    pub code: &'static str,
    /// Why they were refused, in words.
    pub cause: &'static str,
    /// What probably helps if they were meant to succeed.
    pub remedy: &'static str,
    /// Number of them.
    pub count: u64,
}

/// The refusals that are kept.
#[derive(Debug)]
pub(crate) struct Kept {
    by_kind: LruCache<(RefusalKind, IpAddr), Times>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    first: SystemTime,
    last: SystemTime,
    count: u64,
}

impl Kept {
    pub(crate) fn note(&mut self, kind: RefusalKind, address: IpAddr, now: SystemTime) {
        let first = || Times { first: now, last: now, count: 0 };
        let times = self.by_kind.get_or_insert_mut((kind, address), first);
        times.last = now;
        times.count += 1;
        if self.by_kind.len() > KEPT {
            self.by_kind.pop_lru();
        }
    }

    pub(crate) fn list(&self) -> Vec<RefusedConnection> {
        let newest_first = self.by_kind.iter();
        let refused = newest_first.map(|((kind, address), times)| RefusedConnection {
            at: times.first,
            last: times.last,
            address: *address,
            stage: kind.stage.as_str(),
            code: kind.cause.code(),
            cause: kind.cause.as_str(),
            remedy: kind.cause.remedy(),
            count: times.count,
        });
        refused.collect()
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self { by_kind: LruCache::unbounded() } // takes no memory before the first refusal
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::refusal_kind::{Cause, Stage};

    #[test]
    fn the_newest_refusals_are_kept_with_their_number_and_times() {
        let kind = RefusalKind { stage: Stage::Hello, cause: Cause::Unauthenticated };
        let (mut kept, start) = (Kept::default(), SystemTime::UNIX_EPOCH);
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..1_000 {
            let now = start + Duration::from_secs(number.into());
            kept.note(kind, address(number), now);
            kept.note(kind, address(7), now);
        }
        let list = kept.list();
        assert_eq!(list.len(), KEPT);
        assert_eq!(list[0].address, address(7));
        assert_eq!(list[0].count, 1_001);
        assert_eq!((list[0].at, list[0].last), (start, start + Duration::from_secs(999)));
        assert_eq!(
            (list[0].stage, list[0].cause),
            ("HELLO", "the peer could not be authenticated")
        );
        assert_eq!(list[1].address, address(999));
        assert_eq!(list[KEPT - 1].address, address(1_001 - KEPT as u32));
    }
}
