//! Reports about one peer that may repeat with each message: of one cause, one line per interval,
//! with the number of messages that it is about.

use std::time::Duration;

use paddington_wire::PeerName;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::Delivered;

/// The shortest time between two lines of the same cause.
const INTERVAL: Duration = Duration::from_secs(10);
/// The same for what goes on until a person ends it.
const LONG_INTERVAL: Duration = Duration::from_secs(60);

/// A cause for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Messages of the peer are not text.
    NotText,
    /// Messages of the peer are bytes, and the handler takes text.
    TextOnly,
    /// The handler failed on messages of the peer, which are tried again or kept as dead letters.
    Failed,
    /// The handler failed on messages of the peer, and nothing keeps them.
    Lost,
    /// The peer has rejected messages.
    Rejected,
    /// Messages for the peer have expired.
    Expired,
    /// Messages for the peer are longer than it accepts.
    TooLong,
    /// A second process was refused.
    Duplicate,
    /// Messages of the peer took much more memory than credit.
    Small,
    /// The handler failed on requests of the peer, which is told.
    Request,
    /// Hellos with keys of the link that are not valid any more.
    Burned,
    /// Hellos with an invitation that has expired.
    OutOfDate,
}

/// The number of causes.
const CAUSES: usize = 12;

/// Reports about one peer. They take memory from the first one on only: of most peers there are none.
#[derive(Debug, Default)]
pub(super) struct Reports {
    folds: Option<Box<[Fold; CAUSES]>>,
}

/// Repeats of one cause.
#[derive(Debug, Default)]
struct Fold {
    /// When the last line was written.
    last: Option<Instant>,
    /// Messages since then.
    messages: u64,
    /// Words about the last of them.
    detail: String,
}

impl Cause {
    const ALL: [Self; CAUSES] = [
        Self::NotText,
        Self::TextOnly,
        Self::Failed,
        Self::Lost,
        Self::Rejected,
        Self::Expired,
        Self::TooLong,
        Self::Duplicate,
        Self::Small,
        Self::Request,
        Self::Burned,
        Self::OutOfDate,
    ];

    fn interval(self) -> Duration {
        if self == Self::Duplicate { LONG_INTERVAL } else { INTERVAL }
    }

    fn log(self, peer: &PeerName, messages: u64, detail: &str) {
        match self {
            Self::NotText => warn!(%peer, messages, detail, "rejected messages: they are not text"),
            Self::TextOnly => warn!(
                %peer, messages, detail,
                "rejected messages: they are bytes, and the handler takes text; wrap it in \
                 accept_bytes if it takes both"
            ),
            Self::Failed => warn!(%peer, messages, detail, "messages could not be handled"),
            Self::Lost => error!(
                %peer, messages, detail,
                "messages are lost, because the handler failed on them; the setting on_error lets \
                 it try again, and with an outbox in a file they are kept as dead letters"
            ),
            Self::Rejected => {
                warn!(%peer, messages, detail, "the peer rejected messages, which are lost");
            }
            Self::Expired => {
                warn!(%peer, messages, "messages expired before they could be transmitted");
            }
            Self::Duplicate => error!(
                %peer, attempts = messages, address = detail,
                "refused: a second process uses this invitation while the first one is connected; \
                 stop one of them, or give each its own invitation"
            ),
            Self::Small => warn!(
                %peer, sessions = messages, detail,
                "closed the session: so many small messages wait for the handler that they take \
                 much more memory than the credit that they used; they come again"
            ),
            Self::Request => {
                warn!(%peer, requests = messages, detail, "the handler failed on requests");
            }
            Self::Burned => error!(
                %peer, attempts = messages, detail,
                "refused: burned keys were used. Somebody has an invitation that was used before, or an \
                 old copy of the peer's keys; if the peer itself has never connected, remove this link \
                 and invite it anew"
            ),
            Self::OutOfDate => warn!(
                %peer, attempts = messages, detail,
                "refused: the invitation has expired; write a new one with renew"
            ),
            Self::TooLong => warn!(
                %peer, messages,
                "messages were not transmitted: they are longer than the peer accepts; raise its \
                 setting max_payload, or send shorter ones"
            ),
        }
    }
}

impl Fold {
    /// Counts messages. Returns the number for a line, if it is time for one.
    fn add(
        &mut self,
        messages: u64,
        detail: &str,
        now: Instant,
        interval: Duration,
    ) -> Option<u64> {
        self.messages += messages;
        self.detail.clear();
        self.detail.push_str(detail);
        self.flush(now, interval)
    }

    fn flush(&mut self, now: Instant, interval: Duration) -> Option<u64> {
        let is_time = self.last.is_none_or(|last| now.duration_since(last) >= interval);
        if self.messages == 0 || !is_time {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.messages))
    }
}

impl Reports {
    /// Reports messages of one cause. A line shows the `detail` of the last one. Returns whether there
    /// was a line.
    pub(super) fn report(
        &mut self,
        peer: &PeerName,
        cause: Cause,
        messages: u64,
        detail: &str,
    ) -> bool {
        let fold = &mut self.folds.get_or_insert_default()[cause as usize];
        let due = fold.add(messages, detail, Instant::now(), cause.interval());
        if let Some(messages) = due {
            cause.log(peer, messages, detail);
        }
        due.is_some()
    }

    /// Reports messages that were accepted for the peer and were not handled.
    pub(super) fn undelivered(
        &mut self,
        peer: &PeerName,
        outcome: Delivered,
        messages: u64,
        text: Option<&str>,
    ) {
        match outcome {
            Delivered::Rejected(code) => {
                let text = text.map(|text| format!(": {text}")).unwrap_or_default();
                self.report(peer, Cause::Rejected, messages, &format!("{code}{text}"));
            }
            Delivered::Expired => drop(self.report(peer, Cause::Expired, messages, "")),
            Delivered::TooLong => drop(self.report(peer, Cause::TooLong, messages, "")),
            _ => {}
        }
    }

    /// Writes the lines that are left, of whatever age: there will be no other time.
    pub(super) fn finish(&mut self, peer: &PeerName) {
        let Some(folds) = &mut self.folds else { return };
        for cause in Cause::ALL {
            let fold = &mut folds[cause as usize];
            let messages = std::mem::take(&mut fold.messages);
            if messages > 0 {
                cause.log(peer, messages, &fold.detail);
            }
        }
    }

    /// Writes the lines whose time has come, of messages that are over.
    pub(super) fn flush(&mut self, peer: &PeerName) {
        let Some(folds) = &mut self.folds else { return };
        let now = Instant::now();
        for cause in Cause::ALL {
            let fold = &mut folds[cause as usize];
            if let Some(messages) = fold.flush(now, cause.interval()) {
                cause.log(peer, messages, &fold.detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_in_one_line_per_interval() {
        let (mut fold, start) = (Fold::default(), Instant::now());
        assert_eq!(fold.add(1, "first", start, INTERVAL), Some(1), "the first one at once");
        for _ in 0..1_000 {
            assert_eq!(fold.add(3, "later", start + INTERVAL / 2, INTERVAL), None);
        }
        assert_eq!(fold.flush(start + INTERVAL / 2, INTERVAL), None);
        assert_eq!(fold.flush(start + INTERVAL, INTERVAL), Some(3_000));
        assert_eq!(fold.detail, "later");
        assert_eq!(fold.flush(start + 9 * INTERVAL, INTERVAL), None, "nothing happened since");
        assert_eq!(fold.add(2, "", start + 9 * INTERVAL, INTERVAL), Some(2));
    }
}
