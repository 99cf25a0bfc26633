//! A store as slow as a disk: it answers later, writes together what waits, and loses in a crash
//! what is not written yet.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use paddington::store::{
    Answer, Backlog, Cursors, DeadLetter, DeadLetters, Fence, LetterId, LinkStore, Mailbox,
    MailboxStatus, Mailboxes, NewMessage, Outbox, Purged, Store, StoreError, StoreHealth,
    StoredCursor, StoredStream,
};
use paddington::{LinkId, MessageId, Payload};
use paddington_wire::Instance;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::{Contents, Lazy, MemoryDisk, failed};
use crate::Random;

/// The lag of a disk.
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    /// The longest time of a sync.
    pub sync: Duration,
    /// The longest time that trims and cursors wait for the sync of another change.
    pub lazy: Duration,
    /// The clock.
    pub clock: fn() -> Duration,
}

impl MemoryDisk {
    /// Opens the disk as [`open`](Self::open) does, with delays that `random` draws. To be called
    /// in the runtime of the service: what is not written when that ends is lost.
    #[must_use]
    pub fn open_lagging(&self, lag: Lag, random: Random) -> Arc<dyn Store> {
        let instance = {
            let mut disk = self.lock();
            disk.instance += 1;
            disk.instance
        };
        let queue = Arc::new(Queue::default());
        let writer =
            Writer { disk: self.clone(), instance, lag, random, queue: Arc::clone(&queue) };
        tokio::spawn(writer.run());
        Arc::new(LaggingStore { disk: self.clone(), queue })
    }
}

/// Tells a caller that its change is durable.
type Told = Box<dyn FnOnce() + Send>;

/// A change, and whether it asks for a sync.
struct Job {
    change: Box<dyn FnOnce(&mut Contents) -> Told + Send>,
    lazy: bool,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Vec<Job>>,
    more: Notify,
}

impl Queue {
    fn jobs(&self) -> MutexGuard<'_, Vec<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_lazy(&self) -> bool {
        self.jobs().iter().all(|job| job.lazy)
    }
}

/// The one task that writes.
struct Writer {
    disk: MemoryDisk,
    instance: u64,
    lag: Lag,
    random: Random,
    queue: Arc<Queue>,
}

impl Writer {
    async fn run(mut self) {
        loop {
            while self.queue.jobs().is_empty() {
                self.queue.more.notified().await;
            }
            let company = async {
                while self.queue.is_lazy() {
                    self.queue.more.notified().await;
                }
            };
            let _ = timeout(self.lag.lazy, company).await;
            let jobs = mem::take(&mut *self.queue.jobs());
            // A write that a crash interrupts may be done or not.
            let at_once = self.random.coin();
            let pause = self.random.up_to(self.lag.sync);
            let mut written = Vec::new();
            if at_once {
                written = self.write(jobs);
                sleep(pause).await;
            } else {
                sleep(pause).await;
                written.extend(self.write(jobs));
            }
            written.into_iter().for_each(|told| told());
        }
    }

    /// Writes everything or, on a disk that is full, nothing: trims and cursors are tried again,
    /// and all other changes fail because their answers are dropped.
    fn write(&self, jobs: Vec<Job>) -> Vec<Told> {
        let mut disk = self.disk.lock();
        if disk.instance != self.instance {
            return Vec::new();
        }
        if disk.broken {
            let later = jobs.into_iter().filter(|job| job.lazy);
            self.queue.jobs().splice(..0, later);
            return Vec::new();
        }
        disk.durable.now = (self.lag.clock)();
        jobs.into_iter().map(|job| (job.change)(&mut disk.durable)).collect()
    }
}

/// A lagging disk as one instance of a service sees it.
struct LaggingStore {
    disk: MemoryDisk,
    queue: Arc<Queue>,
}

impl std::fmt::Debug for LaggingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaggingStore").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl LaggingStore {
    fn change<T: Send + 'static>(
        &self,
        lazy: bool,
        change: impl FnOnce(&mut Contents) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (teller, told) = oneshot::channel();
        let change = Box::new(move |contents: &mut Contents| -> Told {
            let result = change(contents);
            Box::new(move || drop(teller.send(result)))
        });
        self.queue.jobs().push(Job { change, lazy });
        self.queue.more.notify_one();
        async move { told.await.unwrap_or_else(|_| Err(failed("the disk is full"))) }.boxed()
    }

    fn now<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Contents) -> T + Send + 'static,
    ) -> Answer<T> {
        self.change(false, |contents| Ok(change(contents)))
    }

    fn later(&self, lazy: Lazy) -> Answer<()> {
        self.change(true, |contents| {
            contents.apply(lazy);
            Ok(())
        })
    }
}

impl Outbox for LaggingStore {
    fn streams(&self, mailbox: &Mailbox) -> Answer<Vec<StoredStream>> {
        let mailbox = mailbox.clone();
        self.now(move |contents| contents.streams(&mailbox))
    }

    fn append(&self, mailbox: &Mailbox, message: NewMessage) -> Answer<()> {
        let mailbox = mailbox.clone();
        self.change(false, move |contents| contents.append(mailbox, message))
    }
}

impl Backlog for LaggingStore {
    fn read(&self, mailbox: &Mailbox, first: MessageId, max_bytes: usize) -> Answer<Vec<Payload>> {
        let mailbox = mailbox.clone();
        self.now(move |contents| contents.read(&mailbox, first, max_bytes))
    }

    fn trim(&self, mailbox: &Mailbox, upto: MessageId, _: Fence) -> Answer<()> {
        self.later(Lazy::Trim(mailbox.clone(), upto))
    }

    fn mark(&self, mailbox: &Mailbox, upto: MessageId, _: Fence) -> Answer<()> {
        self.later(Lazy::Mark(mailbox.clone(), upto))
    }
}

impl Cursors for LaggingStore {
    fn cursors(&self, mailbox: &Mailbox) -> Answer<Vec<StoredCursor>> {
        let mailbox = mailbox.clone();
        self.now(move |contents| contents.cursors(&mailbox))
    }

    fn commit(&self, mailbox: &Mailbox, cursor: StoredCursor, _: Fence) -> Answer<()> {
        self.later(Lazy::Commit(mailbox.clone(), cursor))
    }

    fn forget(&self, mailbox: &Mailbox, instance: Instance, _: Fence) -> Answer<()> {
        self.later(Lazy::Forget(mailbox.clone(), instance))
    }

    fn attempt(&self, mailbox: &Mailbox, id: MessageId, _: Fence) -> Answer<u32> {
        let mailbox = mailbox.clone();
        self.now(move |contents| contents.attempt(mailbox, id))
    }

    fn uncount(&self, mailbox: &Mailbox, id: MessageId, _: Fence) -> Answer<()> {
        let mailbox = mailbox.clone();
        self.now(move |contents| contents.uncount(mailbox, id))
    }

    fn sync(&self, _: &Mailbox) -> Answer<()> {
        self.now(|_| ())
    }
}

impl DeadLetters for LaggingStore {
    fn add_letter(&self, letter: DeadLetter, _: Fence) -> Answer<()> {
        self.now(move |contents| contents.add_letter(letter))
    }

    fn letters(&self) -> Answer<Vec<(LetterId, DeadLetter)>> {
        self.now(|contents| contents.letters())
    }

    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>> {
        self.now(move |contents| contents.letters.remove(&id.0))
    }
}

impl Mailboxes for LaggingStore {
    fn mailboxes(&self, except: Vec<LinkId>) -> Answer<Vec<MailboxStatus>> {
        self.now(move |contents| contents.mailboxes(&except))
    }

    fn purge(&self, mailbox: &Mailbox) -> Answer<Purged> {
        let mailbox = mailbox.clone();
        self.now(move |contents| contents.purge(&mailbox))
    }
}

impl LinkStore for LaggingStore {
    fn close(&self) -> Answer<()> {
        self.now(|_| ())
    }

    fn health(&self) -> StoreHealth {
        let failure = self.disk.lock().broken.then(|| failed("the disk is full"));
        StoreHealth { failure, ..StoreHealth::default() }
    }
}
