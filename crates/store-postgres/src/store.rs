//! The store as its users see it. Every call is queued at once, in the order of the calls.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, try_join_all};
use paddington_exchange::store::parts::{CommitTimes, CursorChange, Waiter, stopped};
use paddington_exchange::store::{
    Accepted, Answer, Backlog, Borrowed, Claimed, Cursors, DeadLetter, DeadLetters, Directory,
    DirectoryNews, Fate, Fence, Followed, LaneLeft, LetterId, LinkEntry, LinkStore, Mailbox,
    MailboxStatus, Mailboxes, Owned, Purged, ReplicaId, Settled, SharedStore, Signal, Signals,
    StoreError, StoreHealth, StoredCursor, Submission, Written,
};
use paddington_wire::{Instance, LinkId, MessageId, Payload};
use tokio::sync::watch;

use crate::config::PostgresConfig;
use crate::connect::Connection;
use crate::database::Database;
use crate::error::{Fault, OpenError};
use crate::inbox::Inbox;
use crate::lazies::Lazies;
use crate::letters::{inner_id, outer_id};
use crate::{cursors, directory, letters, mailboxes, open};

/// A store in one or several PostgreSQL databases, which the replicas of a service share.
///
/// Its tasks end when it is dropped; only [`close`](LinkStore::close) says when everything is written.
pub struct PostgresStore {
    pub(crate) databases: Vec<Arc<Database>>,
    inbox: Inbox,
    news: Arc<watch::Sender<DirectoryNews>>,
    health: Arc<Mutex<CommitTimes>>,
}

impl PostgresStore {
    /// Makes this process a replica. Schema and tables are created if they are not there and the role
    /// may do that.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if a database cannot be reached or trusted, or belongs to something else.
    pub async fn open(config: &PostgresConfig) -> Result<Arc<Self>, OpenError> {
        let open::Opened { databases, inbox, news, health } = open::open(config).await?;
        Ok(Arc::new(Self { databases, inbox, news, health }))
    }

    /// The database of a link.
    pub(crate) fn of(&self, link: LinkId) -> &Arc<Database> {
        &self.databases[self.shard_of(link)]
    }

    fn lazy(
        &self,
        mailbox: &Mailbox,
        fence: Fence,
        change: impl FnOnce(&mut Lazies, Waiter<()>),
    ) -> Answer<()> {
        self.of(mailbox.link).keeper.lazy(mailbox.link, fence, change)
    }

    /// Asks all databases.
    fn all<T: Send + 'static>(&self, ask: impl Fn(&Arc<Database>) -> Answer<T>) -> Answer<Vec<T>> {
        try_join_all(self.databases.iter().map(ask)).boxed()
    }
}

impl Backlog for PostgresStore {
    fn mark(&self, mailbox: &Mailbox, upto: MessageId, fence: Fence) -> Answer<()> {
        self.lazy(mailbox, fence, |lazies, waiter| lazies.mark(upto, waiter))
    }

    fn read(&self, mailbox: &Mailbox, first: MessageId, max_bytes: usize) -> Answer<Vec<Payload>> {
        self.of(mailbox.link).read(mailbox.link, first, max_bytes)
    }

    fn trim(&self, mailbox: &Mailbox, upto: MessageId, fence: Fence) -> Answer<()> {
        self.lazy(mailbox, fence, |lazies, waiter| lazies.trim(upto, waiter))
    }
}

impl Cursors for PostgresStore {
    fn cursors(&self, mailbox: &Mailbox) -> Answer<Vec<StoredCursor>> {
        let link = mailbox.link;
        self.of(link).query(vec![link], move |connection, _| async move {
            cursors::of(&connection, link).await
        })
    }

    fn commit(&self, mailbox: &Mailbox, cursor: StoredCursor, fence: Fence) -> Answer<()> {
        let instance = cursor.instance;
        let change = CursorChange::Replace(cursor);
        self.lazy(mailbox, fence, |lazies, waiter| lazies.change(instance, change, waiter))
    }

    fn forget(&self, mailbox: &Mailbox, instance: Instance, fence: Fence) -> Answer<()> {
        let change = CursorChange::Forget;
        self.lazy(mailbox, fence, |lazies, waiter| lazies.change(instance, change, waiter))
    }

    fn attempt(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<u32> {
        self.of(mailbox.link).keeper.attempt(mailbox, id, fence, 1)
    }

    fn uncount(&self, mailbox: &Mailbox, id: MessageId, fence: Fence) -> Answer<()> {
        let counted = self.of(mailbox.link).keeper.attempt(mailbox, id, fence, -1);
        async move { counted.await.map(drop) }.boxed()
    }

    fn sync(&self, mailbox: &Mailbox) -> Answer<()> {
        self.of(mailbox.link).keeper.sync()
    }
}

impl DeadLetters for PostgresStore {
    fn add_letter(&self, letter: DeadLetter, fence: Fence) -> Answer<()> {
        self.of(letter.mailbox.link).keeper.letter(letter, fence)
    }

    fn letters(&self) -> Answer<Vec<(LetterId, DeadLetter)>> {
        let all = self.all(|database| {
            database
                .query(Vec::new(), |connection, _| async move { letters::all(&connection).await })
        });
        let count = self.databases.len();
        async move {
            let of_database = |(at, letters): (usize, Vec<(u64, DeadLetter)>)| {
                letters.into_iter().map(move |(id, letter)| (outer_id(id, at, count), letter))
            };
            let mut all: Vec<_> =
                all.await?.into_iter().enumerate().flat_map(of_database).collect();
            if count > 1 {
                all.sort_by_key(|(_, letter)| letter.at);
            }
            Ok(all)
        }
        .boxed()
    }

    fn take_letter(&self, id: LetterId) -> Answer<Option<DeadLetter>> {
        let (id, at) = inner_id(id, self.databases.len());
        self.databases[at].query(Vec::new(), move |connection, _| async move {
            letters::take(&connection, id).await
        })
    }
}

impl Mailboxes for PostgresStore {
    fn mailboxes(&self, except: Vec<LinkId>) -> Answer<Vec<MailboxStatus>> {
        let except = Arc::new(except);
        let all = self.all(|database| {
            let except = Arc::clone(&except);
            let written = database.keeper.sync();
            let listed = move |connection: Arc<Connection>, _| async move {
                written.await.map_err(|error| Fault::refused(error.to_string()))?;
                mailboxes::list(&connection, &except).await
            };
            database.query(Vec::new(), listed)
        });
        async move {
            let mut all: Vec<_> = all.await?.into_iter().flatten().collect();
            mailboxes::sort(&mut all);
            Ok(all)
        }
        .boxed()
    }

    fn purge(&self, mailbox: &Mailbox) -> Answer<Purged> {
        let mailbox = mailbox.clone();
        self.of(mailbox.link).query(vec![mailbox.link], |connection, _| async move {
            mailboxes::purge(&connection, &mailbox).await
        })
    }
}

impl Directory for PostgresStore {
    fn entries(&self, after: u64) -> Answer<Vec<LinkEntry>> {
        let read = move |connection: Arc<Connection>, _| async move {
            directory::entries(&connection, after).await
        };
        self.databases[0].query(Vec::new(), read)
    }

    fn versions(&self) -> Answer<Vec<(LinkId, u64)>> {
        let read =
            |connection: Arc<Connection>, _| async move { directory::versions(&connection).await };
        self.databases[0].query(Vec::new(), read)
    }

    fn write(&self, entries: Vec<LinkEntry>) -> Answer<Vec<Written>> {
        let write = |connection: Arc<Connection>, _| async move {
            directory::write(&connection, &entries).await
        };
        self.databases[0].query(Vec::new(), write)
    }

    fn news(&self) -> watch::Receiver<DirectoryNews> {
        self.news.subscribe()
    }
}

impl LinkStore for PostgresStore {
    fn close(&self) -> Answer<()> {
        let databases: Vec<_> = self.databases.iter().map(Arc::clone).collect();
        databases.iter().for_each(|database| database.stop_taking());
        let closing = tokio::spawn(async move {
            joined(join_all(databases.into_iter().map(Database::close)).await)
        });
        async move { closing.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
    }

    fn health(&self) -> StoreHealth {
        // What one of several does not accept, its lease tells.
        let failures: Option<Vec<_>> = self.databases.iter().map(|it| it.failure()).collect();
        let failure = failures.and_then(|failures| failures.into_iter().next());
        let bloat = self.databases.iter().map(|database| database.common.survey.bloat()).max();
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner).report(failure);
        StoreHealth { bloat: bloat.unwrap_or_default(), ..health }
    }
}

impl SharedStore for PostgresStore {
    fn replica(&self) -> ReplicaId {
        self.databases[0].common.replica
    }

    fn shards(&self) -> usize {
        self.databases.len()
    }

    /// The identity of a link is as random as a hash of it.
    fn shard_of(&self, link: LinkId) -> usize {
        let [first, ..] = link.as_bytes().as_chunks::<8>().0 else { return 0 };
        let at = u64::from_be_bytes(*first) % self.databases.len() as u64;
        usize::try_from(at).unwrap_or_default()
    }

    fn lease(&self, shard: usize) -> Duration {
        self.databases[shard].lease.left()
    }

    fn lapsed(&self, shard: usize) -> BoxFuture<'static, ()> {
        self.databases[shard].lease.clone().lapsed().boxed()
    }

    fn waiting_beyond(&self, floor: u64) -> u64 {
        self.databases.iter().map(|database| database.common.survey.beyond(floor)).sum()
    }

    fn accept(&self, mailbox: &Mailbox, message: Submission) -> Answer<Accepted> {
        self.of(mailbox.link).writer.accept(mailbox, message)
    }

    fn follow(
        &self,
        mailbox: &Mailbox,
        first: MessageId,
        max_bytes: usize,
    ) -> Answer<Vec<Followed>> {
        self.of(mailbox.link).follow(mailbox.link, first, max_bytes)
    }

    fn claim(&self, mailbox: &Mailbox, last: Fence) -> Answer<Claimed> {
        self.of(mailbox.link).claim(mailbox, last)
    }

    fn release(&self, links: Vec<(Mailbox, Fence, LaneLeft)>) -> Answer<()> {
        let released = self.databases.iter().map(|database| {
            let here = |(mailbox, ..): &&(Mailbox, Fence, LaneLeft)| {
                Arc::ptr_eq(self.of(mailbox.link), database)
            };
            let here: Vec<_> = links.iter().filter(here).cloned().collect();
            if here.is_empty() {
                std::future::ready(Ok(())).boxed()
            } else {
                database.release(here)
            }
        });
        let released: Vec<_> = released.collect();
        async move { joined(join_all(released).await) }.boxed()
    }

    fn take_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<Option<Vec<StoredCursor>>> {
        self.of(mailbox.link).take_lane(mailbox.link, fence)
    }

    fn free_lane(&self, mailbox: &Mailbox, fence: Fence) -> Answer<()> {
        self.of(mailbox.link).free_lane(mailbox.link, fence)
    }

    fn settle(&self, mailbox: &Mailbox, fates: Vec<Fate>, fence: Fence) -> Answer<()> {
        self.lazy(mailbox, fence, |lazies, waiter| lazies.settle(fates, waiter))
    }

    fn fates(&self, mailbox: &Mailbox, ids: Vec<MessageId>) -> Answer<Vec<Settled>> {
        let link = mailbox.link;
        self.of(link).query(vec![link], move |connection, _| async move {
            mailboxes::fates(&connection, link, &ids).await
        })
    }

    fn owned(&self, shard: usize) -> Answer<Vec<Owned>> {
        self.databases[shard].owned()
    }

    fn owners(&self, links: Vec<LinkId>) -> Answer<Vec<(LinkId, ReplicaId)>> {
        let asked = self.databases.iter().filter_map(|database| {
            let here = |link: &&LinkId| Arc::ptr_eq(self.of(**link), database);
            let here: Vec<_> = links.iter().filter(here).copied().collect();
            (!here.is_empty()).then(|| database.owners(here))
        });
        let asked: Vec<_> = asked.collect();
        async move { Ok(try_join_all(asked).await?.into_iter().flatten().collect()) }.boxed()
    }

    fn borrow_letter(&self, id: LetterId) -> Answer<Borrowed> {
        let (id, at) = inner_id(id, self.databases.len());
        self.databases[at].query(Vec::new(), move |connection, by| async move {
            letters::borrow(&connection, by, id).await
        })
    }

    fn return_letter(&self, id: LetterId, turn: u32) -> Answer<()> {
        let (id, at) = inner_id(id, self.databases.len());
        self.databases[at].query(Vec::new(), move |connection, by| async move {
            letters::give_back(&connection, by, id, turn).await
        })
    }

    fn tell(&self, to: ReplicaId, signal: Signal) {
        let shard = signal.link().map_or(0, |link| self.shard_of(link));
        self.databases[shard].common.notifier.tell(to, signal);
    }

    fn signals(&self) -> Signals {
        self.inbox.listen()
    }
}

/// What databases have answered, each of which has done what it could, whatever the others say.
fn joined(answers: Vec<Result<(), StoreError>>) -> Result<(), StoreError> {
    StoreError::joined(answers.into_iter().filter_map(Result::err)).map_or(Ok(()), Err)
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("replica", &self.replica())
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}
