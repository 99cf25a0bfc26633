//! One database: the connections of this replica to it, and who does what over which.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use paddington_exchange::store::parts::CommitTimes;
use paddington_exchange::store::{
    Answer, Claimed, Fence, Followed, LaneLeft, Mailbox, Owned, ReplicaId, Signal, StoreError,
    StoredCursor,
};
use paddington_wire::{LinkId, MessageId, Payload};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batches::{Batches, Done};
use crate::claims::{self, Claiming};
use crate::common::Common;
use crate::connect::{Commits, Connection};
use crate::error::Fault;
use crate::keeper::Keeper;
use crate::lease::Lease;
use crate::mailboxes::{self, Reading};
use crate::notifier::Notifier;
use crate::pool::Pool;
use crate::presence::{Presence, Present};
use crate::relay::{self, Requests};
use crate::row;
use crate::turns::Turns;
use crate::writer::Writer;

/// Number of connections for claims, reads and what else is asked.
const READERS: usize = 8;
/// Number of statements that read messages, and that claim links, at a time: the fewer, the more goes into each.
const READS_AT_ONCE: usize = 2;
const CLAIMS_AT_ONCE: usize = 3;
/// Pauses after which a link that somebody has locked is claimed together with others once more: most locks are short.
const CLAIMED_AGAIN: [Duration; 3] =
    [Duration::from_millis(5), Duration::from_millis(25), Duration::from_millis(100)];
/// Number of links that are claimed alone at a time, because somebody else has locked them.
const ALONE_AT_ONCE: usize = 2;
/// The most streams that one statement reads, and links that one transaction claims: all of these wait for the one
/// with the most messages.
const MOST_READS: usize = 256;
const MOST_CLAIMS: usize = 16;
/// The most streams that are read one after the other, because one of them cannot be read.
const READ_ALONE: usize = 16;
/// The most connections of a replica to one database: beside those that read and carry requests, one that stores messages,
/// one that keeps what else is written, one that holds the lock, and one that beats.
pub(crate) const CONNECTIONS: usize = READERS + relay::CONNECTIONS + 4;

/// One database. Its tasks end when it is dropped.
pub(crate) struct Database {
    pub(crate) common: Arc<Common>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) lease: Lease,
    pub(crate) requests: Requests,
    time: Duration,
    pub(crate) writer: Arc<Writer>,
    pool: Arc<Pool>,
    turns: Arc<Turns>,
    reads: Arc<Batches<Reading, Vec<Followed>>>,
    claims: Arc<Batches<Claiming, Option<Claimed>>>,
    alone: Arc<Semaphore>,
    /// The number of the next claim.
    next_claim: AtomicU64,
    work: TaskTracker,
    presence: TaskTracker,
}

impl Database {
    /// Starts the tasks of a replica that is present.
    pub(crate) fn start(
        presence: Presence,
        present: Present,
        health: Arc<Mutex<CommitTimes>>,
    ) -> Arc<Self> {
        let stop = CancellationToken::new();
        let (target, lease, time) =
            (presence.target.clone(), presence.lease.clone(), presence.time);
        let own = row::replica(presence.number);
        let notifier = Notifier::new(own, presence.lock, presence.inbox.clone());
        let survey = Arc::default();
        let common = Arc::new(Common { target, replica: own, notifier, stop, health, survey });
        let (work, tasks) = (TaskTracker::new(), TaskTracker::new());
        let writer = Arc::new(Writer::default());
        work.spawn(Arc::clone(&writer).run(Arc::clone(&common)));
        let keeper = Arc::new(Keeper::default());
        work.spawn(Arc::clone(&keeper).run(Arc::clone(&common)));
        let (beats, connection) = watch::channel(None);
        tasks.spawn(presence.run(present, beats, common.stop.clone()));
        let notified = Arc::clone(&common);
        tasks.spawn(async move {
            notified.notifier.run(connection, notified.stop.clone()).await;
        });
        let pool = Arc::new(Pool::new(common.target.clone(), Commits::Synced, READERS));
        let place = (common.target.url.place.clone(), common.target.schema.clone());
        let survey = Arc::clone(&common.survey);
        tasks.spawn(survey.run(Arc::clone(&pool), place, time, common.stop.clone()));
        work.close();
        tasks.close();
        let requests = Requests::new(&common);
        let turns = Arc::new(Turns::default());
        Arc::new(Self {
            common,
            keeper,
            lease,
            requests,
            time,
            writer,
            pool,
            turns,
            reads: Arc::new(Batches::new(READS_AT_ONCE, MOST_READS)),
            claims: Arc::new(Batches::new(CLAIMS_AT_ONCE, MOST_CLAIMS)),
            alone: Arc::new(Semaphore::new(ALONE_AT_ONCE)),
            next_claim: AtomicU64::new(1),
            work,
            presence: tasks,
        })
    }

    /// Runs an operation after the earlier ones for these links, and once what was changed of them before is written.
    fn in_turn<T: Send + 'static>(
        &self,
        links: Vec<LinkId>,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Answer<T> {
        let written = self.keeper.is_busy_with(&links).then(|| self.keeper.sync());
        self.turns.run(links, async move {
            if let Some(written) = written {
                written.await?;
            }
            operation.await
        })
    }

    /// Runs an operation with a connection, [in turn](Self::in_turn).
    fn operate<T, F>(
        &self,
        links: Vec<LinkId>,
        operation: impl FnOnce(Arc<Connection>, i32) -> F + Send + 'static,
    ) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let (pool, number) = (Arc::clone(&self.pool), self.common.number());
        self.in_turn(links, async move {
            let taken = pool.take().await.map_err(Fault::into_error)?;
            let result = operation(Arc::clone(&taken.connection), number).await;
            pool.give_back(taken);
            result
        })
    }

    /// Runs a query that needs nothing but a connection.
    pub(crate) fn query<T, F>(
        &self,
        links: Vec<LinkId>,
        query: impl FnOnce(Arc<Connection>, i32) -> F + Send + 'static,
    ) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        self.operate(links, |connection, number| {
            let query = query(connection, number);
            async move { query.await.map_err(Fault::into_unsure) }
        })
    }

    /// Reads payloads, as [`follow`](Self::follow) does.
    pub(crate) fn read(
        &self,
        link: LinkId,
        first: MessageId,
        max_bytes: usize,
    ) -> Answer<Vec<Payload>> {
        if self.keeper.is_trimmed(link, first) {
            return std::future::ready(Ok(Vec::new())).boxed();
        }
        let followed = self.follow(link, first, max_bytes);
        let payloads = |all: Vec<Followed>| all.into_iter().map(|it| it.payload).collect();
        async move { followed.await.map(payloads) }.boxed()
    }

    /// Reads messages, together with what others read.
    pub(crate) fn follow(
        &self,
        link: LinkId,
        first: MessageId,
        max_bytes: usize,
    ) -> Answer<Vec<Followed>> {
        let pool = Arc::clone(&self.pool);
        let reading = Reading { link, first, max_bytes };
        self.reads.add(reading, 0, move |all| read(Arc::clone(&pool), all))
    }

    /// Claims a link, together with others.
    pub(crate) fn claim(&self, mailbox: &Mailbox, last: Fence) -> Answer<Claimed> {
        let number = self.next_claim.fetch_add(1, Ordering::Relaxed);
        let claiming = Claiming { mailbox: mailbox.clone(), last, number };
        let (claims, pool) = (Arc::clone(&self.claims), Arc::clone(&self.pool));
        let (by, alone) = (self.common.number(), Arc::clone(&self.alone));
        self.in_turn(vec![mailbox.link], async move {
            let with = Arc::clone(&pool);
            let together = move |all| claim(Arc::clone(&with), by, all);
            for pause in CLAIMED_AGAIN {
                if let Some(claimed) = claims.add(claiming.clone(), 0, together.clone()).await? {
                    return Ok(claimed);
                }
                tokio::time::sleep(pause).await;
            }
            let _place = alone.acquire().await;
            let taken = pool.take().await.map_err(Fault::into_error)?;
            let claimed = claims::claim_alone(&taken.connection, by, &claiming).await;
            pool.give_back(taken);
            claimed.map_err(Fault::into_unsure)
        })
    }

    pub(crate) fn release(&self, links: Vec<(Mailbox, Fence, LaneLeft)>) -> Answer<()> {
        let of = links.iter().map(|(mailbox, ..)| mailbox.link).collect();
        self.query(of, |connection, number| async move {
            claims::release(&connection, number, &links).await
        })
    }

    pub(crate) fn take_lane(
        &self,
        link: LinkId,
        fence: Fence,
    ) -> Answer<Option<Vec<StoredCursor>>> {
        self.operate(vec![link], move |connection, number| async move {
            claims::take_lane(&connection, number, link, fence).await
        })
    }

    pub(crate) fn free_lane(&self, link: LinkId, fence: Fence) -> Answer<()> {
        let common = Arc::clone(&self.common);
        self.operate(vec![link], move |connection, number| async move {
            let owner = claims::free_lane(&connection, number, link, fence).await?;
            if let Some(owner) = owner {
                common.notifier.tell(owner, Signal::LaneFree { link });
            }
            Ok(())
        })
    }

    /// Returns the links that this replica owns, once it lives.
    pub(crate) fn owned(&self) -> Answer<Vec<Owned>> {
        let (lease, time) = (self.lease.clone(), self.time);
        let beats = lease.clone();
        let asked = self.operate(Vec::new(), move |connection, number| async move {
            let out_of_touch =
                |_| StoreError::new("this replica is not in touch with the database");
            let living = tokio::time::timeout(time, beats.living()).await.map_err(out_of_touch)?;
            let owned = claims::owned(&connection, number).await.map_err(Fault::into_error)?;
            Ok((owned, living))
        });
        // Who does not wait for the answer any more ends no terms, so that the lapse goes on (S7).
        async move {
            let (owned, living) = asked.await?;
            lease.resume(living);
            Ok(owned)
        }
        .boxed()
    }

    /// Returns which replicas own these links, as far as they live.
    pub(crate) fn owners(&self, links: Vec<LinkId>) -> Answer<Vec<(LinkId, ReplicaId)>> {
        // No order with what else is asked for the links: nothing depends on the answer.
        let owners = move |connection: Arc<Connection>, _| async move {
            claims::owners(&connection, &links).await
        };
        self.query(Vec::new(), owners)
    }

    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.writer.failure().or_else(|| self.keeper.failure())
    }

    /// Takes nothing more that is written. What was asked for before is done by [`close`](Self::close).
    pub(crate) fn stop_taking(&self) {
        self.writer.close();
        self.turns.close();
    }

    /// Writes what is left, and ends.
    pub(crate) async fn close(self: Arc<Self>) -> Result<(), StoreError> {
        let failure = self.failure();
        self.turns.wait().await;
        self.keeper.close();
        self.work.wait().await;
        self.common.stop.cancel();
        self.pool.close();
        self.requests.close();
        self.presence.wait().await;
        failure.map_or(Ok(()), Err)
    }
}

/// Reads streams, as many as fit into an answer.
async fn read(pool: Arc<Pool>, mut all: Vec<Reading>) -> Done<Reading, Vec<Followed>> {
    let reading = async {
        let taken = pool.take().await?;
        let read = match mailboxes::read(&taken.connection, &all).await {
            // One of them cannot be read: each is told its own fault.
            Err(Fault::Refused { .. }) if all.len() > 1 => {
                let mut each = Vec::new();
                for one in all.chunks(1).take(READ_ALONE) {
                    let read = mailboxes::read(&taken.connection, one).await;
                    each.push(
                        read.and_then(|mut read| read.pop().unwrap_or_else(|| Ok(Vec::new()))),
                    );
                }
                Ok(each)
            }
            read => read,
        };
        pool.give_back(taken);
        read
    };
    match reading.await {
        Ok(read) => {
            let left = all.split_off(read.len());
            let answers = read.into_iter().map(|it| it.map_err(Fault::into_error)).collect();
            Done { answers, left }
        }
        Err(fault) => Done::all(vec![Err(fault.into_error()); all.len()]),
    }
}

/// Claims links together. Those to be claimed alone are answered `None`: that somebody else has locked, and all of them if
/// the database refuses one.
async fn claim(pool: Arc<Pool>, by: i32, all: Vec<Claiming>) -> Done<Claiming, Option<Claimed>> {
    let taken = match pool.take().await {
        Ok(taken) => taken,
        Err(fault) => return Done::all(vec![Err(fault.into_error()); all.len()]),
    };
    let claimed = claims::claim(&taken.connection, by, &all).await;
    pool.give_back(taken);
    Done::all(match claimed {
        Ok(claimed) => {
            claimed.into_iter().map(|it| it.transpose().map_err(Fault::into_unsure)).collect()
        }
        Err(Fault::Refused { .. }) => vec![Ok(None); all.len()],
        Err(fault) => vec![Err(fault.into_unsure()); all.len()],
    })
}

impl Drop for Database {
    fn drop(&mut self) {
        self.common.stop.cancel();
    }
}
