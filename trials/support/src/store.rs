//! A store in memory that outlives services, can be cut off, and lags as a disk does.

mod lagging;
mod shared;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use paddington::store::{
    Answer, Backlog, Cursors, DeadLetter, DeadLetters, Fence, LetterId, LinkStore, Mailbox,
    MailboxStatus, Mailboxes, NewMessage, Outbox, Purged, Store, StoreError, StoreHealth,
    StoredCursor, StoredMessage, StoredStream,
};
use paddington::{LinkId, MessageId, Payload};
use paddington_wire::Instance;

pub use lagging::Lag;
pub use shared::{Broken, SharedDisk};

/// The disk, whose contents survive the services that use it.
///
/// Each instance of a service opens it with [`open`](Self::open). An instance that has crashed
/// changes nothing any more: what it wrote lazily and was not synced is lost, as on a real disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    durable: Contents,
    instance: u64,
    broken: bool,
    unsynced: bool,
}

/// The contents of a disk.
#[derive(Clone, Debug, Default)]
struct Contents {
    streams: BTreeMap<Mailbox, Vec<Stream>>,
    cursors: BTreeMap<(Mailbox, Instance), StoredCursor>,
    attempts: BTreeMap<(Mailbox, MessageId), u32>,
    letters: BTreeMap<u64, DeadLetter>,
    last_letter: u64,
    /// The time, on a disk with a clock.
    now: Duration,
}

#[derive(Clone, Debug)]
struct Stream {
    instance: Instance,
    base: u64,
    mark: u64,
    /// Each with the time when it expires.
    messages: Vec<(Payload, Option<Duration>)>,
}

/// A disk as one instance of a service sees it.
#[derive(Debug)]
struct MemoryStore {
    disk: MemoryDisk,
    instance: u64,
    /// Trims and cursors that no later append has made durable yet.
    lazy: Mutex<Vec<Lazy>>,
}

#[derive(Debug)]
enum Lazy {
    Trim(Mailbox, MessageId),
    Mark(Mailbox, MessageId),
    Commit(Mailbox, StoredCursor),
    Forget(Mailbox, Instance),
}

impl MemoryDisk {
    /// Opens the store of a new instance. Those of earlier instances fail from now on, and what
    /// they have not made durable is lost.
    #[must_use]
    pub fn open(&self) -> Arc<dyn Store> {
        let mut disk = self.lock();
        disk.instance += 1;
        Arc::new(MemoryStore {
            disk: self.clone(),
            instance: disk.instance,
            lazy: Mutex::default(),
        })
    }

    /// Sets whether the disk refuses to write.
    pub fn set_broken(&self, broken: bool) {
        self.lock().broken = broken;
    }

    /// Sets whether the disk writes, and says that its sync has failed.
    pub fn set_unsynced(&self, unsynced: bool) {
        self.lock().unsynced = unsynced;
    }

    /// Returns a copy as of now, as a backup would be.
    #[must_use]
    pub fn backup(&self) -> Self {
        let durable = self.lock().durable.clone();
        Self { shared: Arc::new(Mutex::new(Disk { durable, ..Disk::default() })) }
    }

    /// Number of messages that wait.
    #[must_use]
    pub fn messages(&self) -> usize {
        let disk = self.lock();
        disk.durable.streams.values().flatten().map(|stream| stream.messages.len()).sum()
    }

    /// The messages that are kept as dead letters.
    #[must_use]
    pub fn letters(&self) -> Vec<MessageId> {
        self.lock().durable.letters.values().map(|letter| letter.id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(cause: &str) -> StoreError {
    StoreError::new(cause)
}

fn answer<T: Send + 'static>(result: Result<T, StoreError>) -> Answer<T> {
    async move {
        tokio::task::yield_now().await; // no store answers at once
        result
    }
    .boxed()
}

impl MemoryStore {
    /// Makes durable what was written lazily, and then what `write` writes.
    fn sync<T>(
        &self,
        write: impl FnOnce(&mut Contents) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut disk = self.disk.lock();
        if disk.instance != self.instance {
            return Err(failed("another instance has the store"));
        }
        if disk.broken {
            return Err(failed("the disk is full"));
        }
        let lazy = std::mem::take(&mut *self.lazy.lock().unwrap());
        lazy.into_iter().for_each(|lazy| disk.durable.apply(lazy));
        let written = write(&mut disk.durable);
        if disk.unsynced { Err(StoreError::unsure("a sync has failed")) } else { written }
    }

    fn later(&self, lazy: Lazy) -> Answer<()> {
        self.lazy.lock().unwrap().push(lazy);
        // A lazy write is durable with the next sync, and does not cause one.
        let synced = self.sync(|_| Ok(()));
        answer(if self.disk.lock().broken { Ok(()) } else { synced })
    }
}

impl Contents {
    fn apply(&mut self, lazy: Lazy) {
        match lazy {
            Lazy::Trim(mailbox, upto) => {
                let streams = self.streams.entry(mailbox).or_default();
                for stream in streams.iter_mut().filter(|stream| stream.instance == upto.stream) {
                    while stream.base <= upto.number && !stream.messages.is_empty() {
                        stream.messages.remove(0);
                        stream.base += 1;
                    }
                }
            }
            Lazy::Mark(mailbox, upto) => {
                let streams = self.streams.entry(mailbox).or_default();
                for stream in streams.iter_mut().filter(|stream| stream.instance == upto.stream) {
                    stream.mark = stream.mark.max(upto.number);
                }
            }
            Lazy::Commit(mailbox, cursor) => {
                self.cursors.insert((mailbox, cursor.instance), cursor);
            }
            Lazy::Forget(mailbox, instance) => {
                self.cursors.remove(&(mailbox, instance));
            }
        }
    }

    fn append(&mut self, mailbox: Mailbox, message: NewMessage) -> Result<(), StoreError> {
        let NewMessage { id, payload, ttl, mark } = message;
        let mark = mark.unwrap_or_default();
        let expires = ttl.map(|ttl| self.now + ttl);
        let streams = self.streams.entry(mailbox).or_default();
        match streams.iter_mut().find(|stream| stream.instance == id.stream) {
            Some(stream) if stream.base + stream.messages.len() as u64 == id.number => {
                stream.messages.push((payload, expires));
                stream.mark = stream.mark.max(mark);
            }
            Some(_) => return Err(failed("a message is missing before this one")),
            None => streams.push(Stream {
                instance: id.stream,
                base: id.number,
                mark,
                messages: vec![(payload, expires)],
            }),
        }
        Ok(())
    }

    fn streams(&self, mailbox: &Mailbox) -> Vec<StoredStream> {
        let streams = self.streams.get(mailbox).into_iter().flatten();
        let streams = streams.filter(|stream| !stream.messages.is_empty());
        let message = |(payload, expires): &(Payload, Option<Duration>)| StoredMessage {
            len: payload.len() as u32,
            ttl: expires.map(|expires| expires.saturating_sub(self.now)),
        };
        let stored = streams.map(|stream| StoredStream {
            instance: stream.instance,
            base: stream.base,
            mark: stream.mark,
            messages: stream.messages.iter().map(message).collect(),
        });
        stored.collect()
    }

    fn read(&self, mailbox: &Mailbox, first: MessageId, max_bytes: usize) -> Vec<Payload> {
        let mut streams = self.streams.get(mailbox).into_iter().flatten();
        let Some(stream) = streams.find(|stream| stream.instance == first.stream) else {
            return Vec::new();
        };
        let skipped = first.number.saturating_sub(stream.base) as usize;
        let mut bytes = 0;
        let payloads = stream.messages.iter().map(|(payload, _)| payload).skip(skipped);
        let payloads = payloads.take_while(|payload| {
            bytes += payload.len();
            bytes <= max_bytes.max(payload.len())
        });
        payloads.cloned().collect()
    }

    fn cursors(&self, mailbox: &Mailbox) -> Vec<StoredCursor> {
        let cursors = self.cursors.iter().filter(|((of, _), _)| of == mailbox);
        let mut cursors: Vec<_> = cursors.map(|(_, cursor)| cursor.clone()).collect();
        for letter in self.letters.values().filter(|letter| letter.mailbox == *mailbox) {
            let of_letter = |cursor: &&mut StoredCursor| cursor.instance == letter.id.stream;
            cursors.iter_mut().find(of_letter).into_iter().for_each(|it| finish(it, letter.id));
        }
        cursors
    }

    fn attempt(&mut self, mailbox: Mailbox, id: MessageId) -> u32 {
        let attempts = self.attempts.entry((mailbox, id)).or_default();
        *attempts += 1;
        *attempts
    }

    fn uncount(&mut self, mailbox: Mailbox, id: MessageId) {
        let attempts = self.attempts.entry((mailbox, id)).or_default();
        *attempts = attempts.saturating_sub(1);
    }

    fn add_letter(&mut self, letter: DeadLetter) {
        self.last_letter += 1;
        let (mailbox, id) = (letter.mailbox.clone(), letter.id);
        self.attempts.remove(&(mailbox.clone(), id));
        let new = StoredCursor { instance: id.stream, completed: 0, finished: Vec::new() };
        finish(self.cursors.entry((mailbox, id.stream)).or_insert(new), id);
        self.letters.insert(self.last_letter, letter);
    }

    fn mailboxes(&self, except: &[LinkId]) -> Vec<MailboxStatus> {
        let mut found = BTreeMap::new();
        let of = |mailbox: &Mailbox| (mailbox.clone(), MailboxStatus::new(mailbox.clone()));
        found.extend(self.cursors.keys().map(|(mailbox, _)| of(mailbox)));
        found.extend(self.attempts.keys().map(|(mailbox, _)| of(mailbox)));
        for (mailbox, streams) in &self.streams {
            let payloads = streams.iter().flat_map(|stream| &stream.messages);
            let (_, mut status) = of(mailbox);
            status.messages = payloads.clone().count() as u64;
            status.bytes = payloads.map(|(payload, _)| payload.len() as u64).sum();
            found.insert(mailbox.clone(), status);
        }
        for letter in self.letters.values() {
            let new = || of(&letter.mailbox).1;
            found.entry(letter.mailbox.clone()).or_insert_with(new).letters += 1;
        }
        found.retain(|mailbox, _| !except.contains(&mailbox.link));
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by(|one, other| one.mailbox.peer.cmp(&other.mailbox.peer));
        found
    }

    fn purge(&mut self, mailbox: &Mailbox) -> Purged {
        let streams = self.streams.remove(mailbox).unwrap_or_default();
        let payloads = streams.iter().flat_map(|stream| &stream.messages);
        let lens = payloads.map(|(payload, _)| payload.len() as u64);
        let (messages, bytes, before) = (lens.clone().count(), lens.sum(), self.letters.len());
        self.letters.retain(|_, letter| letter.mailbox != *mailbox);
        self.attempts.retain(|(of, _), _| of != mailbox);
        self.cursors.retain(|(of, _), _| of != mailbox);
        let letters = before - self.letters.len();
        Purged { messages: messages as u64, bytes, letters: letters as u64 }
    }

    fn letters(&self) -> Vec<(LetterId, DeadLetter)> {
        self.letters.iter().map(|(id, letter)| (LetterId(*id), letter.clone())).collect()
    }
}

/// Notes that a message is handled, because it has become a dead letter.
fn finish(cursor: &mut StoredCursor, id: MessageId) {
    if id.number > cursor.completed && !cursor.finished.contains(&id.number) {
        cursor.finished.push(id.number);
        cursor.finished.sort_unstable();
    }
}

impl Outbox for MemoryStore {
    fn streams(&self, mailbox: &Mailbox) -> Answer<Vec<StoredStream>> {
        answer(Ok(self.disk.lock().durable.streams(mailbox)))
    }

    fn append(&self, mailbox: &Mailbox, message: NewMessage) -> Answer<()> {
        answer(self.sync(|contents| contents.append(mailbox.clone(), message)))
    }
}

impl Backlog for MemoryStore {
    fn read(&self, mailbox: &Mailbox, first: MessageId, max_bytes: usize) -> Answer<Vec<Payload>> {
        answer(Ok(self.disk.lock().durable.read(mailbox, first, max_bytes)))
    }

    fn trim(&self, mailbox: &Mailbox, upto: MessageId, _: Fence) -> Answer<()> {
        self.later(Lazy::Trim(mailbox.clone(), upto))
    }

    fn mark(&self, mailbox: &Mailbox, upto: MessageId, _: Fence) -> Answer<()> {
        self.later(Lazy::Mark(mailbox.clone(), upto))
    }
}

impl Cursors for MemoryStore {
    fn cursors(&self, mailbox: &Mailbox) -> Answer<Vec<StoredCursor>> {
        answer(Ok(self.disk.lock().durable.cursors(mailbox)))
    }

    fn commit(&self, mailbox: &Mailbox, cursor: StoredCursor, _: Fence) -> Answer<()> {
        self.later(Lazy::Commit(mailbox.clone(), cursor))
    }

    fn forget(&self, mailbox: &Mailbox, instance: Instance, _: Fence) -> Answer<()> {
        self.later(Lazy::Forget(mailbox.clone(), instance))
    }

    fn attempt(&self, mailbox: &Mailbox, id: MessageId, _: Fence) -> Answer<u32> {
        answer(self.sync(|contents| Ok(contents.attempt(mailbox.clone(), id))))
    }

    fn uncount(&self, mailbox: &Mailbox, id: MessageId, _: Fence) -> Answer<()> {
        answer(self.sync(|contents| {
            contents.uncount(mailbox.clone(), id);
            Ok(())
        }))
    }

    fn sync(&self, _: &Mailbox) -> Answer<()> {
        answer(self.sync(|_| Ok(())))
    }
}

impl DeadLetters for MemoryStore {
    fn add_letter(&self, letter: DeadLetter, _: Fence) -> Answer<()> {
        answer(self.sync(|contents| {
            contents.add_letter(letter);
            Ok(())
        }))
    }

    fn letters(&self) -> Answer<Vec<(LetterId, DeadLetter)>> {
        answer(Ok(self.disk.lock().durable.letters()))
    }

    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>> {
        answer(self.sync(|contents| Ok(contents.letters.remove(&id.0))))
    }
}

impl Mailboxes for MemoryStore {
    fn mailboxes(&self, except: Vec<LinkId>) -> Answer<Vec<MailboxStatus>> {
        answer(Ok(self.disk.lock().durable.mailboxes(&except)))
    }

    fn purge(&self, mailbox: &Mailbox) -> Answer<Purged> {
        answer(self.sync(|contents| Ok(contents.purge(mailbox))))
    }
}

impl LinkStore for MemoryStore {
    fn close(&self) -> Answer<()> {
        answer(self.sync(|_| Ok(())))
    }

    fn health(&self) -> StoreHealth {
        let failure = self.disk.lock().broken.then(|| failed("the disk is full"));
        StoreHealth { failure, ..StoreHealth::default() }
    }
}
