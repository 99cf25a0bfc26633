//! One database: the connections of this replica to it, and who does what over which.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use paddington_exchange::store::parts::{CommitTimes, stopped};
use paddington_exchange::store::{
    Answer, Claimed, Fence, Followed, LaneLeft, Mailbox, Owned, Signal, StoreError, StoredCursor,
};
use paddington_wire::{LinkId, MessageId, Payload};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::claims;
use crate::common::Common;
use crate::connect::{Commits, Connection};
use crate::error::Fault;
use crate::keeper::Keeper;
use crate::lease::Lease;
use crate::mailboxes;
use crate::notifier::Notifier;
use crate::pool::Pool;
use crate::presence::{Presence, Present};
use crate::relay::{self, Requests};
use crate::row;
use crate::turns::Turns;
use crate::writer::Writer;

/// Number of connections for claims and reads.
const READERS: usize = 8;
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
            work,
            presence: tasks,
        })
    }

    /// Runs an operation with a connection, after the earlier ones for these links, and once what was
    /// changed of them before is written.
    fn operate<T, F>(
        self: &Arc<Self>,
        links: Vec<LinkId>,
        operation: impl FnOnce(Arc<Connection>, i32) -> F + Send + 'static,
    ) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let written = self.keeper.is_busy_with(&links).then(|| self.keeper.sync());
        let (pool, number) = (Arc::clone(&self.pool), self.common.number());
        self.turns.run(links, async move {
            if let Some(written) = written {
                written.await?;
            }
            let taken = pool.take().await.map_err(Fault::into_error)?;
            let result = operation(Arc::clone(&taken.connection), number).await;
            pool.give_back(taken);
            result
        })
    }

    /// Runs a query that needs nothing but a connection.
    pub(crate) fn query<T, F>(
        self: &Arc<Self>,
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
        self: &Arc<Self>,
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

    /// Reads messages, at the same time as others.
    pub(crate) fn follow(
        self: &Arc<Self>,
        link: LinkId,
        first: MessageId,
        max_bytes: usize,
    ) -> Answer<Vec<Followed>> {
        let pool = Arc::clone(&self.pool);
        let reading = tokio::spawn(async move {
            let taken = pool.take().await.map_err(Fault::into_error)?;
            let read = mailboxes::follow(&taken.connection, link, first, max_bytes).await;
            pool.give_back(taken);
            read.map_err(Fault::into_error)
        });
        async move { reading.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
    }

    pub(crate) fn claim(self: &Arc<Self>, mailbox: &Mailbox) -> Answer<Claimed> {
        let mailbox = mailbox.clone();
        self.query(vec![mailbox.link], |connection, number| async move {
            claims::claim(&connection, number, &mailbox).await
        })
    }

    pub(crate) fn release(self: &Arc<Self>, links: Vec<(Mailbox, Fence, LaneLeft)>) -> Answer<()> {
        let of = links.iter().map(|(mailbox, ..)| mailbox.link).collect();
        self.query(of, |connection, number| async move {
            claims::release(&connection, number, &links).await
        })
    }

    pub(crate) fn take_lane(
        self: &Arc<Self>,
        link: LinkId,
        fence: Fence,
    ) -> Answer<Option<Vec<StoredCursor>>> {
        self.operate(vec![link], move |connection, number| async move {
            claims::take_lane(&connection, number, link, fence).await
        })
    }

    pub(crate) fn free_lane(self: &Arc<Self>, link: LinkId, fence: Fence) -> Answer<()> {
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
    pub(crate) fn owned(self: &Arc<Self>) -> Answer<Vec<Owned>> {
        let (lease, time) = (self.lease.clone(), self.time);
        self.operate(Vec::new(), move |connection, number| async move {
            let out_of_touch =
                |_| StoreError::new("this replica is not in touch with the database");
            let living = tokio::time::timeout(time, lease.living()).await.map_err(out_of_touch)?;
            let owned = claims::owned(&connection, number).await.map_err(Fault::into_error)?;
            lease.resume(living);
            Ok(owned)
        })
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

impl Drop for Database {
    fn drop(&mut self) {
        self.common.stop.cancel();
    }
}
