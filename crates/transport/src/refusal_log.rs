//! The log of connections that were refused before they were established. Implements the part of
//! `docs/protocol.md` §9 about logs: it helps whoever runs the service, and no stranger can fill
//! it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::refusal_kind::{RefusalKind, Stage};
use crate::refused::{Kept, RefusedConnection};

/// The interval in which repeats are folded into one line.
const INTERVAL: Duration = Duration::from_secs(60);
/// Number of addresses that are named at once for each kind of refusal in an interval; and again, of
/// those that come most often among the others, at its end.
const NAMED: usize = 8;
/// Number of addresses beyond these whose refusals are counted.
const COUNTED: usize = 256;

/// The refusals of one listener.
#[derive(Clone)]
pub struct Refusals {
    log: Arc<RefusalLog>,
}

/// The log of refused connections. In each interval, the first refusal of each address and kind is
/// logged at once; the others are counted, and told at its end.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    state: Mutex<State>,
    /// Notified when an interval begins.
    begun: Notify,
}

#[derive(Debug, Default)]
struct State {
    interval: Interval,
    /// The refusals that are kept for the operator.
    kept: Kept,
    /// Number of all refusals.
    counts: BTreeMap<Stage, u64>,
}

#[derive(Debug, Default)]
struct Interval {
    ends: Option<Instant>,
    /// Number of refusals since the line of its own that an address has got.
    named: BTreeMap<(RefusalKind, IpAddr), u64>,
    /// Number of refusals of addresses without a line. When there are too many, each of them counts
    /// one less (Misra and Gries): whoever comes again and again stays, in any crowd.
    counted: BTreeMap<(RefusalKind, IpAddr), u64>,
    /// Number of all other refusals.
    others: BTreeMap<RefusalKind, u64>,
}

impl Refusals {
    pub(crate) fn new(log: &Arc<RefusalLog>) -> Self {
        Self { log: Arc::clone(log) }
    }

    /// Returns the last refusals, newest first: at most 256, by address, stage and cause.
    #[must_use]
    pub fn list(&self) -> Vec<RefusedConnection> {
        self.log.lock().kept.list()
    }

    /// Returns the number of refusals by stage.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.log.lock().counts.clone();
        counts.into_iter().map(|(stage, count)| (stage.as_str(), count)).collect()
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").finish_non_exhaustive()
    }
}

impl RefusalLog {
    /// Tells what was counted at the end of each interval, on a task, until `stop` is cancelled.
    pub(crate) fn spawn(self: &Arc<Self>, tasks: &TaskTracker, stop: CancellationToken) {
        let log = Arc::clone(self);
        tasks.spawn(async move {
            let telling = async {
                loop {
                    let begun = log.begun.notified();
                    let ends = log.lock().interval.ends;
                    match ends {
                        Some(ends) => sleep_until(ends).await,
                        None => {
                            begun.await;
                            continue;
                        }
                    }
                    log.tell_repeats();
                }
            };
            tokio::select! {
                () = stop.cancelled() => log.tell_repeats(),
                () = telling => {}
            }
        });
    }

    /// Logs or counts a refusal, and keeps it.
    pub(crate) fn note(&self, kind: RefusalKind, address: IpAddr, now: Instant) {
        let mut state = self.lock();
        state.kept.note(kind, address, SystemTime::now());
        *state.counts.entry(kind.stage).or_default() += 1;
        let interval = &mut state.interval;
        if interval.ends.is_none() {
            interval.ends = Some(now + INTERVAL);
            self.begun.notify_one();
        }
        if interval.is_first(kind, address) {
            drop(state);
            tell(kind, address, 1);
        }
    }

    fn tell_repeats(&self) {
        let mut interval = std::mem::take(&mut self.lock().interval);
        let often = interval.take_often();
        for ((kind, address), count) in interval.named.into_iter().chain(often) {
            if count > 0 {
                tell(kind, address, count);
            }
        }
        for (RefusalKind { stage, cause }, count) in interval.others {
            let remedy = cause.remedy();
            info!(%stage, %cause, count, remedy, "refused connections from more addresses");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs refusals of an address. The filter of fail2ban in `docs/fail2ban` reads this line; nothing in
/// it was chosen by a stranger.
fn tell(RefusalKind { stage, cause }: RefusalKind, address: IpAddr, count: u64) {
    info!(%address, %stage, %cause, count, remedy = cause.remedy(), "refused a connection");
}

impl Interval {
    /// Returns whether this refusal gets a line of its own. If not, it is counted.
    fn is_first(&mut self, kind: RefusalKind, address: IpAddr) -> bool {
        if let Some(repeats) = self.named.get_mut(&(kind, address)) {
            *repeats += 1;
            return false;
        }
        let lowest = IpAddr::from([0; 4]);
        let of_kind = self.named.range((kind, lowest)..).take_while(|((it, _), _)| *it == kind);
        if of_kind.count() < NAMED {
            self.named.insert((kind, address), 0);
            return true;
        }
        if self.counted.len() < COUNTED || self.counted.contains_key(&(kind, address)) {
            *self.counted.entry((kind, address)).or_default() += 1;
            return false;
        }
        let others = &mut self.others;
        self.counted.retain(|(kind, _), count| {
            *count -= 1;
            *others.entry(*kind).or_default() += 1;
            *count > 0
        });
        *others.entry(kind).or_default() += 1;
        false
    }

    /// Takes the addresses of each kind that came most often among those without a line, and more than
    /// once. The rest of them are no longer told apart.
    fn take_often(&mut self) -> Vec<((RefusalKind, IpAddr), u64)> {
        let mut counted: Vec<_> = std::mem::take(&mut self.counted).into_iter().collect();
        counted.sort_by_key(|((kind, _), count)| (*kind, std::cmp::Reverse(*count)));
        let (mut often, mut of_kind) = (Vec::new(), (None, 0));
        for ((kind, address), count) in counted {
            let named = if of_kind.0 == Some(kind) { of_kind.1 } else { 0 };
            if named < NAMED && count > 1 {
                of_kind = (Some(kind), named + 1);
                often.push(((kind, address), count));
            } else {
                *self.others.entry(kind).or_default() += count;
            }
        }
        often
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal_kind::{Cause, Stage};

    const KIND: RefusalKind = RefusalKind { stage: Stage::Accept, cause: Cause::Address };
    const OTHER: RefusalKind = RefusalKind { stage: Stage::Hello, cause: Cause::Unauthenticated };

    #[test]
    fn addresses_are_named_up_to_a_limit_for_each_kind_and_memory_is_bounded() {
        let mut interval = Interval::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let named = (0..10_000).filter(|number| interval.is_first(KIND, address(*number))).count();
        assert_eq!(named, NAMED);
        assert!(!interval.is_first(KIND, address(0)), "it was named before");
        assert!(interval.is_first(OTHER, address(0)));
        assert_eq!(interval.named.len(), NAMED + 1);
        assert_eq!(interval.named[&(KIND, address(0))], 1);
        assert!(interval.counted.len() <= COUNTED);
        assert_eq!(interval.take_often(), [], "none of them came twice");
        assert_eq!(interval.others[&KIND], 10_000 - NAMED as u64);
    }

    #[test]
    fn whoever_comes_again_and_again_is_named_in_any_crowd() {
        let mut interval = Interval::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let attacker = address(u32::MAX);
        for number in 0..10_000 {
            interval.is_first(KIND, address(number));
            if number > 1_000 && number % 50 == 0 {
                assert!(!interval.is_first(KIND, attacker));
            }
        }
        let often = interval.take_often();
        let [((kind, address), count)] = often.as_slice() else { unreachable!("{often:?}") };
        assert_eq!((*kind, *address), (KIND, attacker));
        assert!((100..=179).contains(count), "{count}");
        assert_eq!(interval.others[&KIND] + count + NAMED as u64, 10_000 + 179);
    }

    #[test]
    fn no_more_than_a_few_addresses_of_a_kind_are_named_at_the_end() {
        let mut interval = Interval::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in (0..3 * NAMED as u32).chain(0..3 * NAMED as u32) {
            for kind in [KIND, OTHER] {
                interval.is_first(kind, address(number));
            }
        }
        let often = interval.take_often();
        assert_eq!(often.iter().filter(|((kind, _), _)| *kind == KIND).count(), NAMED);
        assert_eq!(often.len(), 2 * NAMED);
        assert_eq!(interval.others[&OTHER], 2 * NAMED as u64);
    }
}
