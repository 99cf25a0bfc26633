//! A store that several replicas share, in memory: the same rules as in a database, and the faults that
//! one has. `docs/cluster.md`, "Rules", names them.

mod trouble;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use paddington::store::{
    Accepted, Answer, Backlog, Claim, Claimed, Cursors, DeadLetter, DeadLetters, Fate, Fence,
    Followed, LaneLeft, LetterId, LinkStore, Mailbox, MailboxStatus, Mailboxes, Owned, Purged,
    ReplicaId, Settled, SharedStore, Signal, Signals, StoreError, StoreHealth, StoredCursor,
    StoredMessage, StoredStream, Submission,
};
use paddington::{Instance, LinkId, MessageId, Payload};
use paddington_wire::RejectText;
use paddington_wire::link::Outcome;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::finish;
use crate::Random;

/// The interval at which lazy writes are made.
const GATHER: Duration = Duration::from_millis(10);
/// The most signals that wait for a replica.
const SIGNALS: usize = 1_024;

/// A database in memory that replicas share.
#[derive(Clone)]
pub struct SharedDisk {
    shared: Arc<Mutex<Shared>>,
    lease: Duration,
}

/// Rules that a test can leave out, to see what they are for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broken {
    /// Writes of replaced owners are taken (S2).
    pub fence: bool,
    /// A claim goes on with the stream of the term before (S3).
    pub stream: bool,
    /// No stream is begun when messages were lost (S9).
    pub epoch: bool,
}

#[derive(Default)]
struct Shared {
    rows: BTreeMap<LinkId, Row>,
    replicas: BTreeMap<ReplicaId, Replica>,
    letters: BTreeMap<u64, DeadLetter>,
    last_letter: u64,
    epoch: u64,
    broken: Broken,
    /// Number of writes of replaced owners that were refused.
    refused: u64,
    /// Whether all signals are lost.
    deaf: bool,
    /// The longest time that an answer takes, if it takes any.
    delays: Option<(Random, Duration)>,
}

struct Replica {
    /// When it counts as dead.
    until: Instant,
    /// Whether its process has ended.
    gone: bool,
    /// Whether it reaches the database.
    cut_off: bool,
    /// Whether its session has ended, which it does not know yet.
    session_ended: bool,
    signals: mpsc::Sender<Signal>,
}

struct Row {
    mailbox: Mailbox,
    fence: u64,
    owner: Option<ReplicaId>,
    lane: u64,
    lane_owner: Option<ReplicaId>,
    /// When replicas were told that they must not call the handler.
    told_off: BTreeMap<ReplicaId, Instant>,
    epoch: u64,
    streams: Vec<Stream>,
    cursors: BTreeMap<Instance, StoredCursor>,
    attempts: BTreeMap<MessageId, u32>,
    fates: BTreeMap<MessageId, (Outcome, RejectText)>,
}

struct Stream {
    instance: Instance,
    base: u64,
    mark: u64,
    messages: Vec<Message>,
}

struct Message {
    payload: Payload,
    expires: Option<Instant>,
    by: ReplicaId,
}

/// A database as one replica sees it.
struct Handle {
    disk: SharedDisk,
    id: ReplicaId,
    own: Arc<Mutex<Own>>,
}

struct Own {
    /// Until when this replica lives in its own eyes.
    until: Instant,
    /// Whether its lease has lapsed since it has looked at its links last.
    lapsed: bool,
    /// Notified when that has changed.
    lapse: Arc<Notify>,
    signals: Option<Signals>,
    lazy: Vec<Lazy>,
}

enum Write {
    Trim(MessageId),
    Mark(MessageId),
    Settle(Vec<Fate>),
    Commit(StoredCursor),
    Forget(Instance),
}

struct Lazy {
    mailbox: Mailbox,
    fence: Fence,
    write: Write,
    done: tokio::sync::oneshot::Sender<Result<(), StoreError>>,
}

impl SharedDisk {
    /// Creates an empty database, whose replicas have leases of this length.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        Self { shared: Arc::default(), lease }
    }

    /// Opens the database for a new replica.
    #[must_use]
    pub fn open(&self) -> (ReplicaId, Arc<dyn SharedStore>) {
        let until = Instant::now() + self.lease;
        let (signals, told) = mpsc::channel(SIGNALS);
        let mut shared = self.lock();
        let id = ReplicaId(shared.replicas.len() as u32 + 1);
        let (gone, cut_off, session_ended) = (false, false, false);
        shared.replicas.insert(id, Replica { until, gone, cut_off, session_ended, signals });
        drop(shared);
        let (lapse, lazy) = (Arc::default(), Vec::new());
        let own = Own { until, lapsed: false, lapse, signals: Some(told), lazy };
        let handle = Arc::new(Handle { disk: self.clone(), id, own: Arc::new(Mutex::new(own)) });
        tokio::spawn(beat(Arc::downgrade(&handle), self.lease / 4));
        tokio::spawn(flush(Arc::downgrade(&handle)));
        (id, handle)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews the lease of a replica for as long as it has a handle.
async fn beat(handle: std::sync::Weak<Handle>, interval: Duration) {
    loop {
        sleep(interval).await;
        let Some(handle) = handle.upgrade() else { return };
        let sent = Instant::now();
        let until = sent + handle.disk.lease;
        let mut shared = handle.disk.lock();
        let Some(replica) = shared.replicas.get_mut(&handle.id) else { return };
        if replica.gone {
            return;
        }
        if replica.cut_off {
            continue;
        }
        replica.until = until;
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
async fn flush(handle: std::sync::Weak<Handle>) {
    loop {
        sleep(GATHER).await;
        let Some(handle) = handle.upgrade() else { return };
        handle.flush();
    }
}

impl Replica {
    /// Returns whether it may reach the database later and does not now.
    fn is_cut_off(&self) -> bool {
        self.cut_off && !self.gone
    }
}

impl Handle {
    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the lazy writes, unless the database is out of reach: then it is tried again.
    fn flush(&self) {
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
    fn with<T>(
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
    fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Shared) -> Result<T, StoreError>,
    ) -> Answer<T> {
        self.flush();
        let result = self.with(work);
        self.answer(result)
    }

    /// Answers after a while: no store does at once.
    fn answer<T: Send + 'static>(&self, result: Result<T, StoreError>) -> Answer<T> {
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

    fn later(&self, mailbox: &Mailbox, fence: Fence, write: Write) -> Answer<()> {
        let (done, told) = tokio::sync::oneshot::channel();
        self.own().lazy.push(Lazy { mailbox: mailbox.clone(), fence, write, done });
        async { told.await.unwrap_or_else(|_| Err(StoreError::new("the process has ended"))) }
            .boxed()
    }
}

impl Shared {
    fn row(&mut self, mailbox: &Mailbox) -> &mut Row {
        let epoch = self.epoch;
        self.rows.entry(mailbox.link).or_insert_with(|| Row {
            mailbox: mailbox.clone(),
            fence: 0,
            owner: None,
            lane: 0,
            lane_owner: None,
            told_off: BTreeMap::new(),
            epoch,
            streams: Vec::new(),
            cursors: BTreeMap::new(),
            attempts: BTreeMap::new(),
            fates: BTreeMap::new(),
        })
    }

    fn lives(&self, replica: ReplicaId) -> bool {
        self.replicas.get(&replica).is_some_and(|it| !it.gone && it.until > Instant::now())
    }

    fn tell(&self, to: ReplicaId, signal: Signal) {
        let replica = self.replicas.get(&to).filter(|it| !it.gone && !it.cut_off);
        if let Some(replica) = replica.filter(|_| !self.deaf) {
            let _ = replica.signals.try_send(signal);
        }
    }

    /// Checks that the fence is that of the owner, or of whoever is in the lane.
    fn check(
        &mut self,
        mailbox: &Mailbox,
        fence: Fence,
        lane: bool,
        by: ReplicaId,
    ) -> Result<(), StoreError> {
        let broken = self.broken.fence;
        let row = self.row(mailbox);
        let current = if lane { row.lane } else { row.fence };
        if current == fence.0 || broken {
            return Ok(());
        }
        // What belongs to an earlier term of a replica that has claimed again says nothing to it.
        if row.owner != Some(by) {
            row.tell_off(by);
        }
        self.refused += 1;
        Err(StoreError::stale())
    }

    fn write(
        &mut self,
        mailbox: &Mailbox,
        fence: Fence,
        write: Write,
        by: ReplicaId,
    ) -> Result<(), StoreError> {
        let lane = matches!(write, Write::Commit(_) | Write::Forget(_));
        self.check(mailbox, fence, lane, by)?;
        let row = self.row(mailbox);
        let mut told = Vec::new();
        match write {
            Write::Trim(upto) => {
                for stream in row.streams.iter_mut().filter(|it| it.instance == upto.stream) {
                    while stream.base <= upto.number && !stream.messages.is_empty() {
                        told.push(stream.messages.remove(0).by);
                        stream.base += 1;
                    }
                }
                let newest = row.streams.last().map(|stream| stream.instance);
                row.streams.retain(|it| !it.messages.is_empty() || Some(it.instance) == newest);
            }
            Write::Mark(upto) => {
                for stream in row.streams.iter_mut().filter(|it| it.instance == upto.stream) {
                    stream.mark = stream.mark.max(upto.number);
                }
            }
            Write::Settle(fates) => {
                row.fates.extend(fates.into_iter().map(|it| (it.id, (it.outcome, it.text))));
            }
            Write::Commit(cursor) => {
                row.cursors.insert(cursor.instance, cursor);
            }
            Write::Forget(instance) => {
                row.cursors.remove(&instance);
                row.attempts.retain(|id, _| id.stream != instance);
            }
        }
        told.sort_unstable();
        told.dedup();
        let link = mailbox.link;
        told.into_iter().for_each(|by| self.tell(by, Signal::Settled { link }));
        Ok(())
    }

    fn cursors(&self, row: &Row) -> Vec<StoredCursor> {
        let mut cursors: Vec<_> = row.cursors.values().cloned().collect();
        for letter in self.letters.values().filter(|it| it.mailbox == row.mailbox) {
            let of_letter = |cursor: &&mut StoredCursor| cursor.instance == letter.id.stream;
            cursors.iter_mut().find(of_letter).into_iter().for_each(|it| finish(it, letter.id));
        }
        cursors
    }

    fn claim(&mut self, mailbox: &Mailbox, by: ReplicaId) -> Claimed {
        let (epoch, broken) = (self.epoch, self.broken);
        let row = self.row(mailbox);
        let (owner, lane_owner) = (row.owner, row.lane_owner);
        if let Some(owner) = owner.filter(|owner| *owner != by && self.lives(*owner)) {
            return Claimed::Held(owner);
        }
        // A call of an earlier term that keeps the lane: its link was released since.
        let is_kept = owner != Some(by);
        let in_lane = lane_owner.is_some_and(|it| self.lives(it) && (it != by || is_kept));
        let letters = self.letters.values().filter(|it| it.mailbox == *mailbox);
        let letters = letters.map(|letter| (letter.id, letter.code)).collect();
        let row = self.row(mailbox);
        row.fence = (row.fence + 1).max(epoch << 40);
        row.owner = Some(by);
        row.epoch = epoch;
        if in_lane {
            row.tell_off(by);
        } else {
            row.enter(by);
        }
        let fence = Fence(row.fence);
        let now = Instant::now();
        let message = |message: &Message| StoredMessage {
            len: message.payload.len() as u32,
            ttl: message.expires.map(|expires| expires.saturating_duration_since(now)),
        };
        let stored = |stream: &Stream| StoredStream {
            instance: stream.instance,
            base: stream.base,
            mark: stream.mark,
            messages: stream.messages.iter().map(message).collect(),
        };
        let again = broken.stream.then(|| row.streams.last().map(|it| it.instance)).flatten();
        row.streams.retain(|it| !it.messages.is_empty() || Some(it.instance) == again);
        let earlier = row.streams.iter().filter(|stream| Some(stream.instance) != again);
        let streams = earlier.map(stored).collect();
        let stream = again.unwrap_or_else(|| row.begin_stream());
        let cursors = self.cursors(&self.rows[&mailbox.link]);
        let has_lane = !in_lane;
        Claimed::Owned(Box::new(Claim { fence, stream, streams, cursors, letters, has_lane }))
    }

    fn accept(&mut self, mailbox: &Mailbox, message: Submission, by: ReplicaId) -> Accepted {
        let (epoch, broken) = (self.epoch, self.broken);
        let row = self.row(mailbox);
        let waiting = row.streams.iter().flat_map(|stream| &stream.messages);
        let messages = waiting.clone().count() as u64;
        let bytes: u64 = waiting.map(|message| message.payload.len() as u64 + 24).sum();
        let len = message.payload.len() as u64 + 24;
        if messages >= message.bounds.messages || bytes + len > message.bounds.bytes {
            return Accepted::Full { messages };
        }
        if row.streams.is_empty() || (row.epoch != epoch && !broken.epoch) {
            row.epoch = epoch;
            row.begin_stream();
        }
        let owner = row.owner;
        let stream = row.streams.last_mut().unwrap();
        let expires = message.ttl.map(|ttl| Instant::now() + ttl);
        stream.messages.push(Message { payload: message.payload, expires, by });
        let number = stream.base + stream.messages.len() as u64 - 1;
        let (link, stream) = (mailbox.link, stream.instance);
        if let Some(owner) = owner {
            self.tell(owner, Signal::Appended { link, stream, number });
        }
        Accepted::Stored(MessageId { stream, number })
    }
}

impl Row {
    /// Gives the lane to the owner.
    fn enter(&mut self, owner: ReplicaId) {
        (self.lane, self.lane_owner) = (self.fence, Some(owner));
        self.told_off.remove(&owner);
    }

    /// Notes that a replica is told that the link is not its own.
    fn tell_off(&mut self, replica: ReplicaId) {
        self.told_off.entry(replica).or_insert_with(Instant::now);
    }

    fn begin_stream(&mut self) -> Instance {
        let instance = Instance::random().unwrap();
        self.streams.push(Stream { instance, base: 1, mark: 0, messages: Vec::new() });
        instance
    }

    fn after(&self, first: MessageId, max_bytes: usize) -> impl Iterator<Item = &Message> {
        let stream = self.streams.iter().find(|stream| stream.instance == first.stream);
        let skipped = stream.map_or(0, |it| first.number.saturating_sub(it.base)) as usize;
        let mut bytes = 0;
        let messages = stream.into_iter().flat_map(|stream| &stream.messages).skip(skipped);
        messages.take_while(move |message| {
            bytes += message.payload.len();
            bytes <= max_bytes.max(message.payload.len())
        })
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

impl fmt::Debug for SharedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDisk").finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("replica", &self.id).finish_non_exhaustive()
    }
}
