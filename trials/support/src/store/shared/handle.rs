//! A database that replicas share, as one replica sees it.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use paddington::store::{
    Accepted, Answer, Backlog, Borrowed, Claimed, Cursors, DeadLetter, DeadLetters, DirectoryNews,
    Fate, Fence, Followed, LaneLeft, LetterId, LinkStore, Mailbox, MailboxStatus, Mailboxes, Owned,
    Purged, ReplicaId, Settled, SharedStore, Signal, Signals, StoreError, StoreHealth,
    StoredCursor, Submission,
};
use paddington::{Instance, LinkId, MessageId, Payload};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::SharedDisk;
use super::rows::{Message, Replica, Row, Shared, Write};
use crate::store::finish;

/// The interval at which lazy writes are made.
const GATHER: Duration = Duration::from_millis(10);

/// A database as one replica sees it.
pub(super) struct Handle {
    pub(super) disk: SharedDisk,
    pub(super) id: ReplicaId,
    pub(super) own: Arc<Mutex<Own>>,
}

pub(super) struct Own {
    pub(super) leases: Vec<OwnLease>,
    /// Notified when one of them has lapsed.
    pub(super) lapse: Arc<Notify>,
    pub(super) signals: Option<Signals>,
    pub(super) lazy: Vec<Lazy>,
}

/// The lease of a replica in a shard.
#[derive(Clone, Copy)]
pub(super) struct OwnLease {
    /// Until when this replica lives in its own eyes.
    pub(super) until: Instant,
    /// Whether it has lapsed since the replica has looked at its links last.
    pub(super) lapsed: bool,
}

pub(super) struct Lazy {
    pub(super) mailbox: Mailbox,
    pub(super) fence: Fence,
    pub(super) write: Write,
    pub(super) done: tokio::sync::oneshot::Sender<Result<(), StoreError>>,
}

/// Renews the leases of a replica for as long as it has a handle.
pub(super) async fn beat(handle: std::sync::Weak<Handle>, interval: Duration) {
    loop {
        sleep(interval).await;
        let Some(handle) = handle.upgrade() else { return };
        let sent = Instant::now();
        let until = sent + handle.disk.lease;
        let mut shared = handle.disk.lock();
        let version = shared.links.version;
        let Some(replica) = shared.replicas.get_mut(&handle.id) else { return };
        if replica.gone {
            return;
        }
        let mut beats = Vec::new();
        for (at, shard) in replica.shards.iter_mut().enumerate().filter(|(_, it)| !it.cut_off) {
            shard.until = until;
            beats.push((at, std::mem::take(&mut shard.session_ended)));
        }
        if !replica.shards[0].cut_off {
            DirectoryNews::hear(&replica.links, version);
        }
        drop(shared);
        let mut own = handle.own();
        for (at, session_ended) in beats {
            let lease = &mut own.leases[at];
            lease.lapsed |= lease.until <= sent || session_ended;
            lease.until = until;
            if lease.lapsed {
                own.lapse.notify_waiters();
            }
        }
    }
}

/// Makes the lazy writes of a replica.
pub(super) async fn flush(handle: std::sync::Weak<Handle>) {
    loop {
        sleep(GATHER).await;
        let Some(handle) = handle.upgrade() else { return };
        handle.flush();
    }
}

impl Handle {
    pub(super) fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the lazy writes, except in shards that are out of reach: there it is tried again.
    pub(super) fn flush(&self) {
        let is_cut_off = self.disk.lock().replicas[&self.id].is_cut_off();
        let is_due = |lazy: &mut Lazy| !is_cut_off[self.disk.shard_of(lazy.mailbox.link)];
        let due: Vec<_> = self.own().lazy.extract_if(.., is_due).collect();
        for Lazy { mailbox, fence, write, done } in due {
            let write = |shared: &mut Shared| shared.write(&mailbox, fence, write, self.id);
            let _ = done.send(self.with(self.at(mailbox.link), write));
        }
    }

    /// The shard of a link.
    pub(super) fn at(&self, link: LinkId) -> Range<usize> {
        let shard = self.disk.shard_of(link);
        shard..shard + 1
    }

    /// The shards of links.
    pub(super) fn at_all(&self, links: impl Iterator<Item = LinkId>) -> Range<usize> {
        let both = |one: Range<usize>, other: Range<usize>| {
            one.start.min(other.start)..one.end.max(other.end)
        };
        links.map(|link| self.at(link)).reduce(both).unwrap_or(0..0)
    }

    /// The shard of a dead letter.
    fn at_letter(&self, id: LetterId) -> Range<usize> {
        let link = self.disk.lock().letters.get(&id.0).map(|letter| letter.mailbox.link);
        link.map_or_else(|| self.everywhere(), |link| self.at(link))
    }

    /// All shards.
    fn everywhere(&self) -> Range<usize> {
        0..self.disk.shards
    }

    /// Carries out a transaction in these shards.
    pub(super) fn with<T>(
        &self,
        shards: Range<usize>,
        work: impl FnOnce(&mut Shared) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut shared = self.disk.lock();
        let Replica { gone, shards: contacts, .. } = &shared.replicas[&self.id];
        if *gone {
            return Err(StoreError::new("the process has ended"));
        }
        if contacts[shards].iter().any(|contact| contact.cut_off) {
            return Err(StoreError::new("the database is out of reach"));
        }
        work(&mut shared)
    }

    /// Carries out a transaction after everything that was written lazily.
    pub(super) fn transact<T: Send + 'static>(
        &self,
        shards: Range<usize>,
        work: impl FnOnce(&mut Shared) -> Result<T, StoreError>,
    ) -> Answer<T> {
        self.flush();
        let result = self.with(shards, work);
        self.answer(result)
    }

    /// Answers after a while: no store does at once.
    pub(super) fn answer<T: Send + 'static>(&self, result: Result<T, StoreError>) -> Answer<T> {
        let (delay, held) = (self.delay(), self.held());
        async move {
            match delay {
                Some(delay) => sleep(delay).await,
                None => tokio::task::yield_now().await,
            }
            if let Some(mut held) = held {
                drop(held.wait_for(|held| !held).await);
            }
            result
        }
        .boxed()
    }

    pub(super) fn later(&self, mailbox: &Mailbox, fence: Fence, write: Write) -> Answer<()> {
        let (done, told) = tokio::sync::oneshot::channel();
        self.own().lazy.push(Lazy { mailbox: mailbox.clone(), fence, write, done });
        let delay = self.delay();
        async move {
            let ended = |_| Err(StoreError::new("the process has ended"));
            let written = told.await.unwrap_or_else(ended);
            if let Some(delay) = delay {
                sleep(delay).await;
            }
            written
        }
        .boxed()
    }

    /// Returns how long an answer takes, if answers take any time.
    fn delay(&self) -> Option<Duration> {
        self.disk.lock().delays.as_mut().map(|(random, longest)| random.up_to(*longest))
    }

    /// Returns what tells when answers are let go, if they are kept back.
    fn held(&self) -> Option<watch::Receiver<bool>> {
        let shared = self.disk.lock();
        let is_held = *shared.held.borrow();
        is_held.then(|| shared.held.subscribe())
    }
}

impl SharedStore for Handle {
    fn replica(&self) -> ReplicaId {
        self.id
    }

    fn shards(&self) -> usize {
        self.disk.shards
    }

    fn shard_of(&self, link: LinkId) -> usize {
        self.disk.shard_of(link)
    }

    fn lease(&self, shard: usize) -> Duration {
        let OwnLease { until, lapsed } = self.own().leases[shard];
        if lapsed { Duration::ZERO } else { until.saturating_duration_since(Instant::now()) }
    }

    fn lapsed(&self, shard: usize) -> BoxFuture<'static, ()> {
        let own = Arc::clone(&self.own);
        async move {
            loop {
                let (until, lapse) = {
                    let own = own.lock().unwrap_or_else(PoisonError::into_inner);
                    let OwnLease { until, lapsed } = own.leases[shard];
                    if lapsed || until <= Instant::now() {
                        return;
                    }
                    (until, Arc::clone(&own.lapse).notified_owned())
                };
                tokio::select! {
                    biased;
                    () = lapse => {}
                    () = sleep_until(until) => {}
                }
            }
        }
        .boxed()
    }

    fn waiting_beyond(&self, floor: u64) -> u64 {
        self.disk.lock().waiting_beyond(floor)
    }

    fn accept(&self, mailbox: &Mailbox, message: Submission) -> Answer<Accepted> {
        let accept = |shared: &mut Shared| Ok(shared.accept(mailbox, message, self.id));
        self.transact(self.at(mailbox.link), accept)
    }

    fn follow(
        &self,
        mailbox: &Mailbox,
        first: MessageId,
        max_bytes: usize,
    ) -> Answer<Vec<Followed>> {
        self.transact(self.at(mailbox.link), |shared| {
            let now = Instant::now();
            let followed = |message: &Message| Followed {
                payload: message.payload.clone(),
                ttl: message.expires.map(|expires| expires.saturating_duration_since(now)),
            };
            Ok(shared.row(mailbox).after(first, max_bytes).map(followed).collect())
        })
    }

    fn claim(&self, mailbox: &Mailbox, last: Fence) -> Answer<Claimed> {
        self.transact(self.at(mailbox.link), |shared| {
            let claimed = shared.claim(mailbox, self.id, last);
            let lost = &mut shared.lost_claims;
            match lost.checked_sub(1) {
                Some(left) => *lost = left,
                None => return Ok(claimed),
            }
            Err(StoreError::unsure("the answer was lost"))
        })
    }

    fn release(&self, links: Vec<(Mailbox, Fence, LaneLeft)>) -> Answer<()> {
        self.flush();
        let release = |(mailbox, fence, lane): (Mailbox, Fence, LaneLeft)| {
            self.with(self.at(mailbox.link), |shared| {
                let row = shared.row(&mailbox);
                if row.owner == Some(self.id) && row.fence == fence.0 {
                    row.owner = None;
                    row.tell_off(self.id);
                }
                let is_in_lane = row.lane_owner == Some(self.id) && row.lane == fence.0;
                if is_in_lane && lane == LaneLeft::Free {
                    row.lane_owner = None;
                }
                Ok(())
            })
        };
        let released: Vec<_> = links.into_iter().map(release).collect();
        self.answer(released.into_iter().collect())
    }

    fn take_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<Option<Vec<StoredCursor>>> {
        self.transact(self.at(mailbox.link), |shared| {
            shared.check(mailbox, fence, false, self.id)?;
            if shared.row(mailbox).owner != Some(self.id) {
                return Err(StoreError::stale()); // it was released since
            }
            let (lane, holder) = (shared.row(mailbox).lane, shared.row(mailbox).lane_owner);
            if lane != fence.0 && holder.is_some_and(|it| shared.lives(it, mailbox.link)) {
                return Ok(None);
            }
            shared.row(mailbox).enter(self.id);
            Ok(Some(shared.cursors(&shared.rows[&mailbox.link])))
        })
    }

    fn free_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<()> {
        self.transact(self.at(mailbox.link), |shared| {
            let row = shared.row(mailbox);
            if row.lane != fence.0 {
                return Err(StoreError::stale());
            }
            row.lane_owner = None;
            if let Some(owner) = row.owner {
                shared.tell(owner, Signal::LaneFree { link: mailbox.link });
            }
            Ok(())
        })
    }

    fn settle(&self, mailbox: &Mailbox, fates: Vec<Fate>, fence: Fence) -> Answer<()> {
        self.later(mailbox, fence, Write::Settle(fates))
    }

    fn fates(&self, mailbox: &Mailbox, ids: Vec<MessageId>) -> Answer<Vec<Settled>> {
        self.transact(self.at(mailbox.link), |shared| {
            let row = shared.row(mailbox);
            let settled = |id: MessageId| {
                let waits = row.after(id, 1).next().is_some();
                let stream = row.streams.iter().find(|stream| stream.instance == id.stream);
                if stream.is_some_and(|stream| stream.base <= id.number) && waits {
                    return Settled::Waiting;
                }
                let fate = row.fates.get(&id).cloned();
                fate.map_or(Settled::Handled, |(outcome, text)| Settled::Unhandled(outcome, text))
            };
            Ok(ids.into_iter().map(settled).collect())
        })
    }

    fn owned(&self, shard: usize) -> Answer<Vec<Owned>> {
        let is_there = |row: &&mut Row| self.disk.shard_of(row.mailbox.link) == shard;
        let owned = self.with(shard..shard + 1, |shared| {
            let rows = shared.rows.values_mut().filter(is_there);
            for row in rows.filter(|row| row.lane_owner != Some(self.id)) {
                if row.owner != Some(self.id) {
                    row.tell_off(self.id);
                }
            }
            let epoch = (shared.epoch, shared.broken.epoch);
            let rows = shared.rows.values_mut().filter(is_there);
            let owned = rows.filter(|row| row.owner == Some(self.id)).map(|row| {
                if row.epoch != epoch.0 && !epoch.1 {
                    row.epoch = epoch.0;
                    row.begin_stream();
                }
                let stream = row.streams.last().unwrap();
                Owned {
                    link: row.mailbox.link,
                    fence: Fence(row.fence),
                    stream: stream.instance,
                    last: stream.base + stream.messages.len() as u64 - 1,
                }
            });
            Ok(owned.collect())
        });
        if owned.is_ok() {
            let mut own = self.own();
            let lease = &mut own.leases[shard];
            lease.lapsed &= lease.until <= Instant::now();
        }
        self.answer(owned)
    }

    fn owners(&self, links: Vec<LinkId>) -> Answer<Vec<(LinkId, ReplicaId)>> {
        let owners = self.with(self.at_all(links.iter().copied()), |shared| {
            let owner = |link: LinkId| Some((link, shared.rows.get(&link)?.owner?));
            let owners = links.into_iter().filter_map(owner);
            Ok(owners.filter(|(link, owner)| shared.lives(*owner, *link)).collect())
        });
        self.answer(owners)
    }

    fn borrow_letter(&self, id: LetterId) -> Answer<Borrowed> {
        self.transact(self.at_letter(id), |shared| shared.borrow_letter(id, self.id))
    }

    fn return_letter(&self, id: LetterId, turn: u32) -> Answer<()> {
        self.transact(self.at_letter(id), |shared| {
            if let Some(borrowed) = shared.borrowed.get_mut(&id.0)
                && *borrowed == (Some(self.id), turn)
            {
                borrowed.0 = None;
            }
            Ok(())
        })
    }

    fn tell(&self, to: ReplicaId, signal: Signal) {
        let _ = self.with(self.at_all(signal.link().into_iter()), |shared| {
            shared.tell(to, signal);
            Ok(())
        });
    }

    fn signals(&self) -> Signals {
        self.own().signals.take().unwrap()
    }
}

impl Backlog for Handle {
    fn read(&self, mailbox: &Mailbox, first: MessageId, max_bytes: usize) -> Answer<Vec<Payload>> {
        self.transact(self.at(mailbox.link), |shared| {
            let payload = |message: &Message| message.payload.clone();
            Ok(shared.row(mailbox).after(first, max_bytes).map(payload).collect())
        })
    }

    fn mark(&self, mailbox: &Mailbox, upto: MessageId, fence: Fence) -> Answer<()> {
        self.later(mailbox, fence, Write::Mark(upto))
    }

    fn trim(&self, mailbox: &Mailbox, upto: MessageId, fence: Fence) -> Answer<()> {
        self.later(mailbox, fence, Write::Trim(upto))
    }
}

impl Cursors for Handle {
    fn cursors(&self, mailbox: &Mailbox) -> Answer<Vec<StoredCursor>> {
        self.transact(self.at(mailbox.link), |shared| {
            shared.row(mailbox);
            Ok(shared.cursors(&shared.rows[&mailbox.link]))
        })
    }

    fn commit(&self, mailbox: &Mailbox, cursor: StoredCursor, fence: Fence) -> Answer<()> {
        self.later(mailbox, fence, Write::Commit(cursor))
    }

    fn forget(&self, mailbox: &Mailbox, instance: Instance, fence: Fence) -> Answer<()> {
        self.later(mailbox, fence, Write::Forget(instance))
    }

    fn attempt(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<u32> {
        self.transact(self.at(mailbox.link), |shared| {
            shared.check(mailbox, fence, true, self.id)?;
            let attempts = shared.row(mailbox).attempts.entry(id).or_default();
            *attempts += 1;
            Ok(*attempts)
        })
    }

    fn uncount(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<()> {
        self.transact(self.at(mailbox.link), |shared| {
            shared.check(mailbox, fence, true, self.id)?;
            let attempts = shared.row(mailbox).attempts.entry(id).or_default();
            *attempts = attempts.saturating_sub(1);
            Ok(())
        })
    }

    fn sync(&self, mailbox: &Mailbox) -> Answer<()> {
        self.transact(self.at(mailbox.link), |_| Ok(()))
    }
}

impl DeadLetters for Handle {
    fn add_letter(&self, letter: DeadLetter, fence: Fence) -> Answer<()> {
        self.transact(self.at(letter.mailbox.link), |shared| {
            let (mailbox, id) = (letter.mailbox.clone(), letter.id);
            shared.check(&mailbox, fence, true, self.id)?;
            let row = shared.row(&mailbox);
            row.attempts.remove(&id);
            let new = StoredCursor { instance: id.stream, completed: 0, finished: Vec::new() };
            finish(row.cursors.entry(id.stream).or_insert(new), id);
            shared.last_letter += 1;
            shared.letters.insert(shared.last_letter, letter);
            Ok(())
        })
    }

    fn letters(&self) -> Answer<Vec<(LetterId, DeadLetter)>> {
        self.transact(self.everywhere(), |shared| {
            Ok(shared.letters.iter().map(|(id, letter)| (LetterId(*id), letter.clone())).collect())
        })
    }

    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>> {
        self.transact(self.at_letter(id), |shared| {
            shared.borrowed.remove(&id.0);
            Ok(shared.letters.remove(&id.0))
        })
    }
}

impl Mailboxes for Handle {
    fn mailboxes(&self, except: Vec<LinkId>) -> Answer<Vec<MailboxStatus>> {
        self.transact(self.everywhere(), |shared| {
            let rows = shared.rows.values().filter(|row| !except.contains(&row.mailbox.link));
            let status = |row: &Row| {
                let mut status = MailboxStatus::new(row.mailbox.clone());
                let messages = row.streams.iter().flat_map(|stream| &stream.messages);
                status.messages = messages.clone().count() as u64;
                status.bytes = messages.map(|message| message.payload.len() as u64).sum();
                status
            };
            Ok(rows.map(status).collect())
        })
    }

    fn purge(&self, mailbox: &Mailbox) -> Answer<Purged> {
        self.transact(self.at(mailbox.link), |shared| {
            let row = shared.rows.remove(&mailbox.link);
            let messages = row.iter().flat_map(|row| &row.streams).flat_map(|it| &it.messages);
            let messages = messages.count() as u64;
            Ok(Purged { messages, ..Purged::default() })
        })
    }
}

impl LinkStore for Handle {
    fn close(&self) -> Answer<()> {
        self.transact(self.everywhere(), |shared| {
            shared.replicas.get_mut(&self.id).unwrap().gone = true;
            Ok(())
        })
    }

    fn health(&self) -> StoreHealth {
        StoreHealth::default()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("replica", &self.id).finish_non_exhaustive()
    }
}
