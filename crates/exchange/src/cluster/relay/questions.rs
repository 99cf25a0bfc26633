//! What a replica remembers of the requests that it has put into the store: who waits, how many there may
//! be, and how they have ended.

use std::collections::{BTreeMap, BTreeSet};

use paddington_wire::LinkId;
use paddington_wire::link::{CallCounts, LinkConfig};
use tokio::sync::oneshot::{self, Receiver, Sender};

use crate::RequestError;
use crate::store::{Ending, Mailbox};

/// The most requests of one replica that are in the store, and their bytes.
const MOST: usize = 16_384;
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes that a request counts in addition to its length.
const OVERHEAD: u64 = 24;

/// The requests of this replica that are in the store.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// The number of the last one.
    last: u64,
    waiting: usize,
    bytes: u64,
    waiters: BTreeMap<u64, Waiter>,
    links: BTreeMap<LinkId, OfLink>,
    /// Links for which there may be answers.
    news: BTreeSet<LinkId>,
    /// Requests to be removed from the store.
    done: Vec<(LinkId, u64)>,
    has_ended: bool,
}

/// Whoever waits for an answer.
#[derive(Debug)]
struct Waiter {
    link: LinkId,
    tell: Sender<Ending>,
    /// Whether the request is certainly in the store.
    is_stored: bool,
}

/// The requests to one peer.
#[derive(Clone, Copy, Debug, Default)]
struct OfLink {
    waiting: usize,
    bytes: u64,
    counts: CallCounts,
}

/// How a request has ended for the one who has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Answered,
    Failed,
    Expired,
    Cancelled,
    /// The store has not taken it.
    NotStored,
}

impl Questions {
    /// Takes a request of so many bytes. Returns its number, and what becomes its end.
    pub(super) fn begin(
        &mut self,
        mailbox: &Mailbox,
        len: usize,
        bounds: &LinkConfig,
    ) -> Result<(u64, Receiver<Ending>), RequestError> {
        if self.has_ended {
            return Err(RequestError::Cancelled);
        }
        let cost = OVERHEAD + len as u64;
        if self.waiting >= MOST || (self.waiting > 0 && self.bytes + cost > MOST_BYTES) {
            return Err(RequestError::TooMany { requests: self.waiting });
        }
        let of = self.links.entry(mailbox.link).or_default();
        // One of `max_payload` always fits.
        let has_room = of.waiting == 0
            || (of.waiting < bounds.waiting_requests
                && of.bytes + cost <= bounds.waiting_request_bytes);
        if !has_room {
            return Err(RequestError::Full { peer: mailbox.peer.clone(), requests: of.waiting });
        }
        self.last += 1;
        self.waiting += 1;
        self.bytes += cost;
        of.waiting += 1;
        of.bytes += cost;
        of.counts.requested += 1;
        let (tell, ended) = oneshot::channel();
        self.waiters.insert(self.last, Waiter { link: mailbox.link, tell, is_stored: false });
        Ok((self.last, ended))
    }

    /// Notes that a request is in the store.
    pub(super) fn note_stored(&mut self, number: u64) {
        if let Some(waiter) = self.waiters.get_mut(&number) {
            waiter.is_stored = true;
        }
    }

    /// Counts a request for which nobody waits any more. It is to be removed from the store.
    pub(super) fn leave(&mut self, link: LinkId, number: u64, len: usize, how: Left) {
        let cost = OVERHEAD + len as u64;
        self.waiters.remove(&number);
        self.waiting -= 1;
        self.bytes -= cost;
        if let Some(of) = self.links.get_mut(&link) {
            of.waiting -= 1;
            of.bytes -= cost;
            let count = match how {
                Left::Answered => &mut of.counts.answered,
                Left::Failed | Left::NotStored => &mut of.counts.failed,
                Left::Expired => &mut of.counts.expired,
                Left::Cancelled => &mut of.counts.cancelled,
            };
            *count += 1;
        }
        if how != Left::NotStored {
            self.done.push((link, number));
        }
    }

    /// Tells whoever waits how a request has ended.
    pub(super) fn tell(&mut self, number: u64, ending: Ending) {
        if let Some(waiter) = self.waiters.remove(&number) {
            let _ = waiter.tell.send(ending); // it may have been given up at this moment
        }
    }

    /// Tells whoever waits for the peer of a link that it was removed.
    pub(super) fn remove(&mut self, link: LinkId) {
        for (_, waiter) in self.waiters.extract_if(.., |_, waiter| waiter.link == link) {
            let _ = waiter.tell.send(Ending::Removed);
        }
    }

    /// Ends all requests without an answer, and takes no more.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
        let waiters = std::mem::take(&mut self.waiters);
        // Whoever has waited may be polled too late to remove them.
        self.done.extend(waiters.into_iter().map(|(number, waiter)| (waiter.link, number)));
    }

    /// Notes that there may be answers for a link.
    pub(super) fn note_news(&mut self, link: LinkId) {
        if self.links.get(&link).is_some_and(|of| of.waiting > 0) {
            self.news.insert(link);
        }
    }

    /// Returns for which of these links there may be answers.
    pub(super) fn take_news(&mut self, of: impl Fn(LinkId) -> bool) -> Vec<LinkId> {
        self.news.extract_if(.., |link| of(*link)).collect()
    }

    /// Returns the requests for these links that are to be removed from the store.
    pub(super) fn take_done(&mut self, of: impl Fn(LinkId) -> bool) -> Vec<(LinkId, u64)> {
        self.done.extract_if(.., |(link, _)| of(*link)).collect()
    }

    /// Removes requests from the store later.
    pub(super) fn put_back(&mut self, done: Vec<(LinkId, u64)>) {
        self.done.extend(done);
    }

    /// Returns the requests for these links in the store whose answers somebody waits for.
    pub(super) fn awaited(&self, of: impl Fn(LinkId) -> bool) -> Vec<(LinkId, u64)> {
        let stored = self.waiters.iter().filter(|(_, it)| it.is_stored && of(it.link));
        stored.map(|(number, waiter)| (waiter.link, *number)).collect()
    }

    /// Returns whether somebody waits for an answer to a request for one of these links.
    pub(super) fn are_awaited(&self, of: impl Fn(LinkId) -> bool) -> bool {
        self.waiters.values().any(|waiter| of(waiter.link))
    }

    /// Returns how many requests for a link wait, and how the others have ended.
    pub(super) fn counts(&self, link: LinkId) -> (usize, CallCounts) {
        let of = self.links.get(&link).copied().unwrap_or_default();
        (of.waiting, of.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(link: u16) -> Mailbox {
        let mut bytes = [0; LinkId::LEN];
        bytes[..2].copy_from_slice(&link.to_be_bytes());
        Mailbox { peer: "sensor".parse().unwrap(), link: bytes.into() }
    }

    fn all(_: LinkId) -> bool {
        true
    }

    fn config() -> LinkConfig {
        LinkConfig { waiting_requests: 2, waiting_request_bytes: 100, ..LinkConfig::default() }
    }

    #[test]
    fn requests_are_bounded_for_each_peer_and_for_all() {
        let (mut questions, bounds) = (Questions::default(), config());
        let (first, _ended) = questions.begin(&mailbox(0), 1_000, &bounds).unwrap();
        let full = questions.begin(&mailbox(0), 0, &bounds).unwrap_err();
        assert!(
            matches!(full, RequestError::Full { requests: 1, .. }),
            "one long one fits: {full}"
        );
        questions.leave(mailbox(0).link, first, 1_000, Left::Answered);
        let mut ends: Vec<_> =
            (0..2).map(|_| questions.begin(&mailbox(0), 1, &bounds).unwrap()).collect();
        let full = questions.begin(&mailbox(0), 1, &bounds).unwrap_err();
        assert!(matches!(full, RequestError::Full { requests: 2, .. }), "{full}");
        for link in 1..MOST as u16 - 1 {
            ends.push(questions.begin(&mailbox(link), 1, &bounds).unwrap());
        }
        let full = questions.begin(&mailbox(60_000), 1, &bounds).unwrap_err();
        assert_eq!(full, RequestError::TooMany { requests: MOST });
        let (waiting, counts) = questions.counts(mailbox(0).link);
        assert!(counts.is_conserved(waiting) && counts.requested == 3);
    }

    #[test]
    fn bytes_of_all_requests_are_bounded() {
        let (mut questions, bounds) = (Questions::default(), config());
        let long = MOST_BYTES as usize / 2;
        let (first, _) = questions.begin(&mailbox(0), long, &bounds).unwrap();
        let full = questions.begin(&mailbox(1), long, &bounds).unwrap_err();
        assert_eq!(full, RequestError::TooMany { requests: 1 });
        questions.leave(mailbox(0).link, first, long, Left::Expired);
        questions.begin(&mailbox(1), long, &bounds).unwrap();
        assert_eq!(questions.take_done(all), [(mailbox(0).link, first)]);
    }

    #[test]
    fn nobody_is_looked_after_before_the_store_has_taken_the_request() {
        let (mut questions, bounds, link) = (Questions::default(), config(), mailbox(0).link);
        let (number, mut ended) = questions.begin(&mailbox(0), 1, &bounds).unwrap();
        assert!(questions.are_awaited(all) && questions.awaited(all).is_empty());
        questions.note_stored(number);
        assert_eq!(questions.awaited(all), [(link, number)]);
        questions.note_news(mailbox(1).link);
        assert_eq!(questions.take_news(all), [], "nobody waits for it");
        questions.end();
        ended.try_recv().unwrap_err();
        assert_eq!(questions.take_done(all), [(link, number)]);
        let refused = questions.begin(&mailbox(0), 1, &bounds).unwrap_err();
        assert_eq!(refused, RequestError::Cancelled);
    }

    #[test]
    fn each_shard_is_asked_about_its_own_links() {
        let (mut questions, bounds) = (Questions::default(), config());
        let of = |at: u16| move |link: LinkId| link == mailbox(at).link;
        let mut ends = Vec::new();
        for at in 0..2 {
            let (number, ended) = questions.begin(&mailbox(at), 1, &bounds).unwrap();
            questions.note_stored(number);
            questions.note_news(mailbox(at).link);
            ends.push((number, ended));
        }
        let (first, second) = (ends[0].0, ends[1].0);
        assert_eq!(questions.awaited(of(1)), [(mailbox(1).link, second)]);
        assert_eq!(questions.take_news(of(1)), [mailbox(1).link]);
        assert_eq!(questions.take_news(of(0)), [mailbox(0).link], "it is still to be asked");
        questions.leave(mailbox(0).link, first, 1, Left::Answered);
        assert!(questions.are_awaited(of(1)) && !questions.are_awaited(of(0)));
        questions.leave(mailbox(1).link, second, 1, Left::Answered);
        assert_eq!(questions.take_done(of(1)), [(mailbox(1).link, second)]);
        assert_eq!(questions.take_done(of(0)), [(mailbox(0).link, first)]);
    }
}
