//! The part of a sealed store that replicas share. A message is sealed before it has a number, so it is bound
//! to its link only.

use std::pin::Pin;
use std::time::Duration;

use paddington_exchange::store::{
    Accepted, Answer, Borrowed, BorrowedLetter, Claimed, Directory, DirectoryNews, Ending, Fate,
    Fence, Followed, LaneLeft, LetterId, LinkEntry, Mailbox, Owned, Relay, RelayId, Relayed,
    ReplicaId, Settled, SharedStore, Signal, Signals, StoreError, StoredCursor, Submission, TakeOf,
    Written,
};
use paddington_wire::{LinkId, MessageId};
use tokio::sync::watch;

use super::AtRestError;
use super::store::{Place, SealedStore, at_once, failed, open, open_letter, opened_len, seal};

fn not_sealed(what: &str, error: &AtRestError) -> StoreError {
    StoreError::new(format!("{what}: {error}"))
}

/// The words of errors stay as they are.
impl<S: SharedStore + ?Sized> Relay for SealedStore<S> {
    fn ask(&self, mailbox: &Mailbox, number: u64, request: Relayed) -> Answer<()> {
        let at = Place::Request(self.inner.replica(), number);
        match seal(&self.key, at, &request.payload) {
            Ok(payload) => self.inner.ask(mailbox, number, Relayed { payload, ..request }),
            Err(error) => at_once(not_sealed("a request", &error)),
        }
    }

    fn take(&self, of: TakeOf) -> Answer<Vec<(RelayId, Relayed)>> {
        let (taken, key) = (self.inner.take(of), self.key.clone());
        Box::pin(async move {
            let open = |(id, request): (RelayId, Relayed)| {
                let at = Place::Request(id.asker, id.number);
                let payload = open(&key, at, &request.payload);
                let payload = payload.map_err(|error| not_sealed("a request", &error))?;
                Ok((id, Relayed { payload, ..request }))
            };
            taken.await?.into_iter().map(open).collect()
        })
    }

    fn end(&self, id: RelayId, ending: Ending) -> Answer<()> {
        let Ending::Reply(payload) = ending else { return self.inner.end(id, ending) };
        match seal(&self.key, Place::Reply(id.asker, id.number), &payload) {
            Ok(payload) => self.inner.end(id, Ending::Reply(payload)),
            Err(error) => at_once(not_sealed("a reply", &error)),
        }
    }

    fn endings(&self, links: Vec<LinkId>) -> Answer<Vec<(u64, Ending)>> {
        self.opened(self.inner.endings(links))
    }

    fn look_after(&self, requests: Vec<(LinkId, u64)>) -> Answer<Vec<(u64, Ending)>> {
        self.opened(self.inner.look_after(requests))
    }

    fn give_back(&self, id: RelayId) -> Answer<()> {
        self.inner.give_back(id)
    }

    fn withdraw(&self, link: LinkId, number: u64) -> Answer<()> {
        self.inner.withdraw(link, number)
    }

    fn over(&self, shard: usize, taken: Vec<RelayId>) -> Answer<Vec<RelayId>> {
        self.inner.over(shard, taken)
    }
}

impl<S: SharedStore + ?Sized> SealedStore<S> {
    /// Opens the replies to requests of this replica.
    fn opened(&self, endings: Answer<Vec<(u64, Ending)>>) -> Answer<Vec<(u64, Ending)>> {
        let (key, own) = (self.key.clone(), self.inner.replica());
        Box::pin(async move {
            let open = |(number, ending)| {
                let Ending::Reply(sealed) = ending else { return Ok((number, ending)) };
                let payload = open(&key, Place::Reply(own, number), &sealed);
                let payload = payload.map_err(|error| not_sealed("a reply", &error))?;
                Ok((number, Ending::Reply(payload)))
            };
            endings.await?.into_iter().map(open).collect()
        })
    }
}

/// Links are sealed by whoever writes them.
impl<S: SharedStore + ?Sized> Directory for SealedStore<S> {
    fn entries(&self, after: u64) -> Answer<Vec<LinkEntry>> {
        self.inner.entries(after)
    }

    fn versions(&self) -> Answer<Vec<(LinkId, u64)>> {
        self.inner.versions()
    }

    fn write(&self, entries: Vec<LinkEntry>) -> Answer<Vec<Written>> {
        self.inner.write(entries)
    }

    fn news(&self) -> watch::Receiver<DirectoryNews> {
        self.inner.news()
    }
}

impl<S: SharedStore + ?Sized> SharedStore for SealedStore<S> {
    fn waiting_beyond(&self, floor: u64) -> u64 {
        self.inner.waiting_beyond(floor)
    }

    fn accept(&self, mailbox: &Mailbox, message: Submission) -> Answer<Accepted> {
        match seal(&self.key, Place::Link(mailbox.link), &message.payload) {
            Ok(payload) => self.inner.accept(mailbox, Submission { payload, ..message }),
            Err(error) => at_once(not_sealed("a message", &error)),
        }
    }

    fn follow(
        &self,
        mailbox: &Mailbox,
        first: MessageId,
        max_bytes: usize,
    ) -> Answer<Vec<Followed>> {
        let followed = self.inner.follow(mailbox, first, max_bytes);
        let (key, link) = (self.key.clone(), mailbox.link);
        Box::pin(async move {
            let open = |(number, followed): (u64, Followed)| {
                let id = MessageId { number, ..first };
                let payload = open(&key, Place::Link(link), &followed.payload);
                let payload = payload.map_err(|error| failed(id, &error))?;
                Ok(Followed { payload, ..followed })
            };
            (first.number..).zip(followed.await?).map(open).collect()
        })
    }

    fn claim(&self, mailbox: &Mailbox, last: Fence) -> Answer<Claimed> {
        let claimed = self.inner.claim(mailbox, last);
        Box::pin(async move {
            let mut claimed = claimed.await?;
            if let Claimed::Owned(claim) = &mut claimed {
                for message in claim.streams.iter_mut().flat_map(|stream| &mut stream.messages) {
                    message.len = opened_len(message.len);
                }
            }
            Ok(claimed)
        })
    }

    fn replica(&self) -> ReplicaId {
        self.inner.replica()
    }

    fn shards(&self) -> usize {
        self.inner.shards()
    }

    fn shard_of(&self, link: LinkId) -> usize {
        self.inner.shard_of(link)
    }

    fn lease(&self, shard: usize) -> Duration {
        self.inner.lease(shard)
    }

    fn lapsed(&self, shard: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.inner.lapsed(shard)
    }

    fn release(&self, links: Vec<(Mailbox, Fence, LaneLeft)>) -> Answer<()> {
        self.inner.release(links)
    }

    fn take_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<Option<Vec<StoredCursor>>> {
        self.inner.take_lane(mailbox, fence)
    }

    fn free_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<()> {
        self.inner.free_lane(mailbox, fence)
    }

    fn settle(&self, mailbox: &Mailbox, fates: Vec<Fate>, fence: Fence) -> Answer<()> {
        self.inner.settle(mailbox, fates, fence)
    }

    fn fates(&self, mailbox: &Mailbox, ids: Vec<MessageId>) -> Answer<Vec<Settled>> {
        self.inner.fates(mailbox, ids)
    }

    fn owned(&self, shard: usize) -> Answer<Vec<Owned>> {
        self.inner.owned(shard)
    }

    fn owners(&self, links: Vec<LinkId>) -> Answer<Vec<(LinkId, ReplicaId)>> {
        self.inner.owners(links)
    }

    fn borrow_letter(&self, id: LetterId) -> Answer<Borrowed> {
        let (borrowed, key) = (self.inner.borrow_letter(id), self.key.clone());
        Box::pin(async move {
            let mut borrowed = borrowed.await?;
            if let Borrowed::Here(BorrowedLetter { letter, .. }) = &mut borrowed {
                *letter = open_letter(&key, letter.clone())?;
            }
            Ok(borrowed)
        })
    }

    fn return_letter(&self, id: LetterId, turn: u32) -> Answer<()> {
        self.inner.return_letter(id, turn)
    }

    fn tell(&self, to: ReplicaId, signal: Signal) {
        self.inner.tell(to, signal);
    }

    fn signals(&self) -> Signals {
        self.inner.signals()
    }
}
