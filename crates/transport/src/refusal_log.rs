//! The log of connections that were refused before they were established. Implements the part of
//! `docs/protocol.md` §9 about logs: it helps whoever runs the service, and no stranger can fill
//! it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

/// The interval in which repeats are folded into one line.
const INTERVAL: Duration = Duration::from_secs(60);
/// Number of addresses that are named for each kind of refusal in an interval.
const NAMED: usize = 8;

/// The log of refused connections. In each interval, the first refusal of each address and kind is
/// logged at once; the others are counted, and told at its end.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    interval: Mutex<Interval>,
    /// Notified when an interval begins.
    begun: Notify,
}

#[derive(Debug, Default)]
struct Interval {
    ends: Option<Instant>,
    /// Number of refusals that were not logged, by kind and address; those of addresses beyond the
    /// first few have none.
    repeats: BTreeMap<(RefusalKind, Option<IpAddr>), u64>,
}

/// What a connection was refused for, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RefusalKind {
    pub(crate) stage: Stage,
    pub(crate) cause: Cause,
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Accept,
    Request,
    Hello,
    Ready,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    Address,
    UnreportedAddress,
    Attempts,
    Crowd,
    Silent,
    Late,
    Tls,
    Head,
    NoUpgrade,
    NoSubprotocol,
    Path,
    SealedEncoding,
    Unauthenticated,
    Violation,
    Replayed,
    Own,
}

impl RefusalLog {
    /// Tells what was counted at the end of each interval, on a task, until `stop` is cancelled.
    pub(crate) fn spawn(self: &Arc<Self>, tasks: &TaskTracker, stop: CancellationToken) {
        let log = Arc::clone(self);
        tasks.spawn(async move {
            let telling = async {
                loop {
                    let begun = log.begun.notified();
                    let ends = log.lock().ends;
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

    /// Logs or counts a refusal.
    pub(crate) fn note(&self, kind: RefusalKind, address: IpAddr, now: Instant) {
        let mut interval = self.lock();
        if interval.ends.is_none() {
            interval.ends = Some(now + INTERVAL);
            self.begun.notify_one();
        }
        if interval.is_first(kind, address) {
            drop(interval);
            let (stage, cause, remedy) = (kind.stage, kind.cause, kind.cause.remedy());
            info!(%address, %stage, %cause, remedy, "refused a connection");
        }
    }

    fn tell_repeats(&self) {
        let Interval { repeats, .. } = std::mem::take(&mut *self.lock());
        for ((RefusalKind { stage, cause }, address), count) in repeats {
            match address {
                _ if count == 0 => {}
                Some(address) => {
                    info!(%address, %stage, %cause, count, "refused the same again");
                }
                None => {
                    let remedy = cause.remedy();
                    info!(%stage, %cause, remedy, count, "refused connections from more addresses");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Interval> {
        self.interval.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interval {
    /// Returns whether this refusal gets a line of its own. If not, it is counted.
    fn is_first(&mut self, kind: RefusalKind, address: IpAddr) -> bool {
        if let Some(repeats) = self.repeats.get_mut(&(kind, Some(address))) {
            *repeats += 1;
            return false;
        }
        let of_kind =
            self.repeats.range((kind, None)..).take_while(|((other, _), _)| *other == kind);
        let named = of_kind.filter(|((_, address), _)| address.is_some()).count();
        if named < NAMED {
            self.repeats.insert((kind, Some(address)), 0);
            return true;
        }
        *self.repeats.entry((kind, None)).or_default() += 1;
        false
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Request => "request",
            Self::Hello => "HELLO",
            Self::Ready => "READY",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "no invitation allows its address",
            Self::UnreportedAddress => "the proxy does not report its client's address",
            Self::Attempts => "too many failed attempts from its address",
            Self::Crowd => "it gave way to others: too many connections are pending",
            Self::Silent => "it sent nothing in time",
            Self::Late => "it was not established in time",
            Self::Tls => "it speaks TLS, but this port does not",
            Self::Head => "the head of its request is malformed or too long, or more follows it",
            Self::NoUpgrade => "its request is no upgrade to a WebSocket of this protocol",
            Self::NoSubprotocol => {
                "it asks for the hex encoding, and no hex invitation allows its address"
            }
            Self::Path => "its request is for another path than this service's URL",
            Self::SealedEncoding => {
                "it uses the sealed encoding, and no sealed invitation allows its address"
            }
            Self::Unauthenticated => "the peer could not be authenticated",
            Self::Violation => "the peer broke the protocol in its handshake",
            Self::Replayed => "the hello was seen before",
            Self::Own => "this side could not make its part of the handshake",
        })
    }
}

impl Cause {
    /// Returns what probably helps if the connection was meant to succeed.
    fn remedy(self) -> &'static str {
        match self {
            Self::Address => {
                "if it is a client, widen the range of its invitation; if it is a proxy, add it to \
                 the trusted ones"
            }
            Self::UnreportedAddress => "let the proxy set the header that the configuration names",
            Self::Attempts => "see its earlier lines; it gets new attempts with time",
            Self::Crowd => "if these are clients, raise the limits of pending connections",
            Self::Silent => "none is needed for a scanner or a health check",
            Self::Late => "check the network between the two, and whether it is a client at all",
            Self::Tls => {
                "use ws:// in the invitation, or a proxy that accepts TLS in front of this port"
            }
            Self::Head => "check what a proxy adds to requests; none is needed for a scanner",
            Self::NoUpgrade => {
                "let a proxy pass on Upgrade, Connection and Sec-WebSocket headers; none is needed \
                 for a scanner or a browser"
            }
            Self::NoSubprotocol | Self::SealedEncoding => {
                "give the client its latest invitation, and check its range"
            }
            Self::Unauthenticated => {
                "give the client its latest invitation, check its range, and let a proxy pass on the \
                 query of the URL"
            }
            Self::Path => "let the path of the invitation, of the proxy and of this service agree",
            Self::Violation => "update the older side, or check who connects",
            Self::Replayed => "none: recorded traffic was sent again",
            Self::Own => "check the system's source of random bytes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(interval.repeats.len(), NAMED + 2);
        assert_eq!(interval.repeats[&(KIND, None)], 10_000 - NAMED as u64);
        assert_eq!(interval.repeats[&(KIND, Some(address(0)))], 1);
    }
}
