//! A database that replicas share, as one replica sees it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use paddington::store::{
    Accepted, Answer, Backlog, Claimed, Cursors, DeadLetter, DeadLetters, DirectoryNews, Fate,
    Fence, Followed, LaneLeft, LetterId, LinkStore, Mailbox, MailboxStatus, Mailboxes, Owned,
    Purged, ReplicaId, Settled, SharedStore, Signal, Signals, StoreError, StoreHealth,
    StoredCursor, Submission,
};
use paddington::{Instance, LinkId, MessageId, Payload};
use tokio::sync::Notify;
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
    /// Until when this replica lives in its own eyes.
    pub(super) until: Instant,
    /// Whether its lease has lapsed since it has looked at its links last.
    pub(super) lapsed: bool,
    /// Notified when that has changed.
    pub(super) lapse: Arc<Notify>,
    pub(super) signals: Option<Signals>,
    pub(super) lazy: Vec<Lazy>,
}

pub(super) struct Lazy {
    pub(super) mailbox: Mailbox,
    pub(super) fence: Fence,
    pub(super) write: Write,
    pub(super) done: tokio::sync::oneshot::Sender<Result<(), StoreError>>,
}

/// Renews the lease of a replica for as long as it has a handle.
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
        if replica.cut_off {
            continue;
        }
        replica.until = until;
        DirectoryNews::hear(&replica.links, version);
        let session_ended = std::mem::take(&mut replica.session_ended);
        drop(shared);
        let mut own = handle.own();
        own.lapsed |= own.until <= sent || session_ended;
        own.until = until;
        if own.lapsed {
            own.lapse.notify_waiters();
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

    /// Makes the lazy writes, unless the database is out of reach: then it is tried again.
    pub(super) fn flush(&self) {
        if self.disk.lock().replicas[&self.id].is_cut_off() {
            return;
        }
        let lazy = std::mem::take(&mut self.own().lazy);
        for Lazy { mailbox, fence, write, done } in lazy {
            let written = self.with(|shared| shared.write(&mailbox, fence, write, self.id));
            let _ = done.send(written);
        }
    }

    /// Carries out a transaction.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Shared) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut shared = self.disk.lock();
        match &shared.replicas[&self.id] {
            Replica { gone: true, .. } => Err(StoreError::new("the process has ended")),
            Replica { cut_off: true, .. } => Err(StoreError::new("the database is out of reach")),
            _ => work(&mut shared),
        }
    }

    /// Carries out a transaction after everything that was written lazily.
    pub(super) fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Shared) -> Result<T, StoreError>,
    ) -> Answer<T> {
        self.flush();
        let result = self.with(work);
        self.answer(result)
    }

    /// Answers after a while: no store does at once.
    pub(super) fn answer<T: Send + 'static>(&self, result: Result<T, StoreError>) -> Answer<T> {
        let delay =
            self.disk.lock().delays.as_mut().map(|(random, longest)| random.up_to(*longest));
        async move {
            match delay {
                Some(delay) => sleep(delay).await,
                None => tokio::task::yield_now().await,
            }
            result
        }
        .boxed()
    }

    pub(super) fn later(&self, mailbox: &Mailbox, fence: Fence, write: Write) -> Answer<()> {
        let (done, told) = tokio::sync::oneshot::channel();
        self.own().lazy.push(Lazy { mailbox: mailbox.clone(), fence, write, done });
        async { told.await.unwrap_or_else(|_| Err(StoreError::new("the process has ended"))) }
            .boxed()
    }
}

impl SharedStore for Handle {
    fn replica(&self) -> ReplicaId {
        self.id
    }

    fn lease(&self) -> Duration {
        let own = self.own();
        if own.lapsed {
            Duration::ZERO
        } else {
            own.until.saturating_duration_since(Instant::now())
        }
    }

    fn lapsed(&self) -> BoxFuture<'static, ()> {
        let own = Arc::clone(&self.own);
        async move {
            loop {
                let (until, lapse) = {
                    let own = own.lock().unwrap_or_else(PoisonError::into_inner);
                    if own.lapsed || own.until <= Instant::now() {
                        return;
                    }
                    (own.until, Arc::clone(&own.lapse).notified_owned())
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
        self.transact(|shared| Ok(shared.accept(mailbox, message, self.id)))
    }

    fn follow(
        &self,
        mailbox: &Mailbox,
        first: MessageId,
        max_bytes: usize,
    ) -> Answer<Vec<Followed>> {
        self.transact(|shared| {
            let now = Instant::now();
            let followed = |message: &Message| Followed {
                payload: message.payload.clone(),
                ttl: message.expires.map(|expires| expires.saturating_duration_since(now)),
            };
            Ok(shared.row(mailbox).after(first, max_bytes).map(followed).collect())
        })
    }

    fn claim(&self, mailbox: &Mailbox) -> Answer<Claimed> {
        self.transact(|shared| Ok(shared.claim(mailbox, self.id)))
    }

    fn release(&self, links: Vec<(Mailbox, Fence, LaneLeft)>) -> Answer<()> {
        self.transact(|shared| {
            for (mailbox, fence, lane) in links {
                let row = shared.row(&mailbox);
                if row.fence == fence.0 {
                    row.owner = None;
                    row.tell_off(self.id);
                }
                if row.lane == fence.0 && lane == LaneLeft::Free {
                    row.lane_owner = None;
                }
            }
            Ok(())
        })
    }

    fn take_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<Option<Vec<StoredCursor>>> {
        self.transact(|shared| {
            shared.check(mailbox, fence, false, self.id)?;
            if shared.row(mailbox).owner != Some(self.id) {
                return Err(StoreError::stale()); // it was released since
            }
            let (lane, holder) = (shared.row(mailbox).lane, shared.row(mailbox).lane_owner);
            if lane != fence.0 && holder.is_some_and(|holder| shared.lives(holder)) {
                return Ok(None);
            }
            shared.row(mailbox).enter(self.id);
            Ok(Some(shared.cursors(&shared.rows[&mailbox.link])))
        })
    }

    fn free_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<()> {
        self.transact(|shared| {
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
        self.transact(|shared| {
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

    fn owned(&self) -> Answer<Vec<Owned>> {
        let owned = self.with(|shared| {
            for row in shared.rows.values_mut().filter(|row| row.lane_owner != Some(self.id)) {
                if row.owner != Some(self.id) {
                    row.tell_off(self.id);
                }
            }
            let epoch = (shared.epoch, shared.broken.epoch);
            let rows = shared.rows.values_mut().filter(|row| row.owner == Some(self.id));
            let owned = rows.map(|row| {
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
            own.lapsed &= own.until <= Instant::now();
        }
        self.answer(owned)
    }

    fn tell(&self, to: ReplicaId, signal: Signal) {
        let _ = self.with(|shared| {
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
        self.transact(|shared| {
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
        self.transact(|shared| {
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
        self.transact(|shared| {
            shared.check(mailbox, fence, true, self.id)?;
            let attempts = shared.row(mailbox).attempts.entry(id).or_default();
            *attempts += 1;
            Ok(*attempts)
        })
    }

    fn uncount(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<()> {
        self.transact(|shared| {
            shared.check(mailbox, fence, true, self.id)?;
            let attempts = shared.row(mailbox).attempts.entry(id).or_default();
            *attempts = attempts.saturating_sub(1);
            Ok(())
        })
    }

    fn sync(&self, _: &Mailbox) -> Answer<()> {
        self.transact(|_| Ok(()))
    }
}

impl DeadLetters for Handle {
    fn add_letter(&self, letter: DeadLetter) -> Answer<()> {
        self.transact(|shared| {
            let (mailbox, id) = (letter.mailbox.clone(), letter.id);
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
        self.transact(|shared| {
            Ok(shared.letters.iter().map(|(id, letter)| (LetterId(*id), letter.clone())).collect())
        })
    }

    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>> {
        self.transact(|shared| Ok(shared.letters.remove(&id.0)))
    }
}

impl Mailboxes for Handle {
    fn mailboxes(&self, except: Vec<LinkId>) -> Answer<Vec<MailboxStatus>> {
        self.transact(|shared| {
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
        self.transact(|shared| {
            let row = shared.rows.remove(&mailbox.link);
            let messages = row.iter().flat_map(|row| &row.streams).flat_map(|it| &it.messages);
            let messages = messages.count() as u64;
            Ok(Purged { messages, ..Purged::default() })
        })
    }
}

impl LinkStore for Handle {
    fn close(&self) -> Answer<()> {
        self.transact(|shared| {
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
