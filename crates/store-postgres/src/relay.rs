//! Requests that one replica makes and another one answers, over connections of their own: nothing else
//! waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use paddington_exchange::store::parts::{of_those_that_answer, stopped};
use paddington_exchange::store::{
    Answer, Ending, Mailbox, Relay, RelayId, Relayed, SharedStore, Signal, StoreError, TakeOf,
};
use paddington_wire::LinkId;

use crate::batches::{Batches, Done};
use crate::common::Common;
use crate::connect::{Commits, Connection};
use crate::database::Database;
use crate::error::Fault;
use crate::pool::Pool;
use crate::requests::{self, Question};
use crate::store::PostgresStore;

/// Number of connections: what this replica asks, what it answers, and a look at each of the two.
pub(crate) const CONNECTIONS: usize = 4;
/// The most requests of which one statement writes something.
const MOST: usize = 256;
/// Time within which the server has to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The requests that go through one database. A clone is the same.
#[derive(Clone)]
pub(crate) struct Requests {
    common: Arc<Common>,
    pool: Arc<Pool>,
    asked: Arc<Batches<Asked>>,
    ended: Arc<Batches<(RelayId, Option<Ending>)>>,
}

/// What a replica writes about its own requests.
enum Asked {
    Ask(Question),
    Withdraw(u64),
}

impl Requests {
    /// Connects when the first request comes.
    pub(crate) fn new(common: &Arc<Common>) -> Self {
        let pool = Arc::new(Pool::new(common.target.clone(), Commits::Lazy, CONNECTIONS));
        // Requests, and what withdraws them, are written in their order.
        let (asked, ended) = (Batches::new(1, MOST), Batches::new(1, MOST));
        let (asked, ended) = (Arc::new(asked), Arc::new(ended));
        Self { common: Arc::clone(common), pool, asked, ended }
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// Runs an operation with a connection. One that does not answer in time is closed.
    async fn with<T, F>(
        &self,
        operation: impl FnOnce(Arc<Connection>, i32) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let taken = self.pool.take().await.map_err(Fault::into_error)?;
        let running = operation(Arc::clone(&taken.connection), self.common.number());
        let late = |_| Fault::Lost("the database does not answer".to_owned());
        let answered = tokio::time::timeout(ANSWER, running).await.map_err(late);
        if answered.is_ok() {
            self.pool.give_back(taken);
        }
        answered.flatten().map_err(Fault::into_unsure)
    }

    /// Runs an operation at once, whether or not its answer is awaited.
    fn now<T, F>(
        &self,
        operation: impl FnOnce(Arc<Connection>, i32) -> F + Send + 'static,
    ) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let requests = self.clone();
        let running = tokio::spawn(async move { requests.with(operation).await });
        async move { running.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
    }

    fn write_asked(&self, asked: Asked, bytes: usize) -> Answer<()> {
        let requests = self.clone();
        self.asked.add(asked, bytes, move |batch| {
            let requests = requests.clone();
            async move {
                let count = batch.len();
                Done::all(vec![requests.ask(batch).await; count])
            }
        })
    }

    fn write_ended(&self, id: RelayId, ending: Option<Ending>) -> Answer<()> {
        let bytes = if let Some(Ending::Reply(payload)) = &ending { payload.len() } else { 0 };
        let requests = self.clone();
        self.ended.add((id, ending), bytes, move |batch| {
            let requests = requests.clone();
            async move {
                let count = batch.len();
                Done::all(vec![requests.end(batch).await; count])
            }
        })
    }

    /// Puts requests into the database, and removes others, which were put there before.
    async fn ask(&self, batch: Vec<Asked>) -> Result<(), StoreError> {
        let (mut questions, mut withdrawn) = (Vec::new(), Vec::new());
        for asked in batch {
            match asked {
                Asked::Ask(question) => questions.push(question),
                Asked::Withdraw(number) => withdrawn.push(number),
            }
        }
        withdrawn.sort_unstable(); // as others lock them
        let notifier = &self.common.notifier;
        self.with(|connection, by| async move {
            if !questions.is_empty() {
                for (link, owner) in requests::ask(&connection, by, &questions).await? {
                    notifier.tell(owner, Signal::Asked { link });
                }
            }
            if withdrawn.is_empty() {
                return Ok(());
            }
            let running = requests::withdraw(&connection, by, withdrawn).await;
            let asker = self.common.replica;
            // What was put there before may be there.
            let running = running.map_err(|fault| Fault::Lost(fault.why().to_owned()))?;
            for (link, number, owner) in running {
                notifier.tell(owner, Signal::GivenUp { link, asker, number });
            }
            Ok(())
        })
        .await
    }

    /// Writes how requests have ended, or gives them back.
    async fn end(&self, batch: Vec<(RelayId, Option<Ending>)>) -> Result<(), StoreError> {
        let ending = |connection: Arc<Connection>, by| async move {
            requests::end(&connection, by, batch).await
        };
        let (askers, owners) = self.with(ending).await?;
        let notifier = &self.common.notifier;
        for (link, asker) in askers.into_iter().collect::<BTreeSet<_>>() {
            notifier.tell(asker, Signal::Answered { link });
        }
        for (link, owner) in owners {
            notifier.tell(owner, Signal::Asked { link });
        }
        Ok(())
    }

    /// Looks after requests, and tells owners again of those that they have not taken.
    fn look_after(&self, numbers: Vec<u64>) -> Answer<Vec<(u64, Ending)>> {
        let common = Arc::clone(&self.common);
        self.now(move |connection, by| async move {
            let (endings, owners) = requests::look_after(&connection, by, numbers).await?;
            for (link, owner) in owners {
                common.notifier.tell(owner, Signal::Asked { link });
            }
            Ok(endings)
        })
    }
}

impl PostgresStore {
    /// Sorts what belongs to links by their databases, and asks those that have some of it. What a database
    /// does not answer is omitted, unless none answers.
    fn spread<I, T: Send + 'static>(
        &self,
        items: Vec<I>,
        link: impl Fn(&I) -> LinkId,
        ask: impl Fn(&Requests, Vec<I>) -> Answer<Vec<T>>,
    ) -> Answer<Vec<T>> {
        let mut parts: Vec<(&Arc<Database>, Vec<I>)> = Vec::new();
        for item in items {
            let database = self.of(link(&item));
            match parts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, database)) {
                Some((_, part)) => part.push(item),
                None => parts.push((database, vec![item])),
            }
        }
        gather(parts.into_iter().map(|(database, part)| ask(&database.requests, part)).collect())
    }
}

/// Gathers the answers of databases.
fn gather<T: Send + 'static>(answers: Vec<Answer<Vec<T>>>) -> Answer<Vec<T>> {
    async move { of_those_that_answer(join_all(answers).await) }.boxed()
}

impl Relay for PostgresStore {
    fn ask(&self, mailbox: &Mailbox, number: u64, request: Relayed) -> Answer<()> {
        let (link, bytes) = (mailbox.link, request.payload.len());
        let asked = Asked::Ask(Question { link, number, request });
        self.of(link).requests.write_asked(asked, bytes)
    }

    fn take(&self, of: TakeOf) -> Answer<Vec<(RelayId, Relayed)>> {
        let take = |requests: &Requests, of: TakeOf| {
            requests.now(|connection, by| async move { requests::take(&connection, by, &of).await })
        };
        match of {
            TakeOf::Links(links) => {
                self.spread(links, |link| *link, |it, links| take(it, TakeOf::Links(links)))
            }
            TakeOf::All(shard) => take(&self.databases[shard].requests, TakeOf::All(shard)),
        }
    }

    fn end(&self, id: RelayId, ending: Ending) -> Answer<()> {
        self.of(id.link).requests.write_ended(id, Some(ending))
    }

    fn give_back(&self, id: RelayId) -> Answer<()> {
        self.of(id.link).requests.write_ended(id, None)
    }

    fn endings(&self, links: Vec<LinkId>) -> Answer<Vec<(u64, Ending)>> {
        let endings = |requests: &Requests, links: Vec<LinkId>| {
            requests.now(|connection, by| async move {
                requests::endings(&connection, by, &links).await
            })
        };
        self.spread(links, |link| *link, endings)
    }

    fn look_after(&self, requests: Vec<(LinkId, u64)>) -> Answer<Vec<(u64, Ending)>> {
        let numbers = |all: Vec<(LinkId, u64)>| all.into_iter().map(|(_, number)| number).collect();
        self.spread(requests, |(link, _)| *link, |it, part| it.look_after(numbers(part)))
    }

    fn withdraw(&self, link: LinkId, number: u64) -> Answer<()> {
        self.of(link).requests.write_asked(Asked::Withdraw(number), 0)
    }

    fn over(&self, shard: usize, mut taken: Vec<RelayId>) -> Answer<Vec<RelayId>> {
        taken.retain(|id| self.shard_of(id.link) == shard);
        let over = |connection: Arc<Connection>, by| async move {
            requests::over(&connection, by, &taken).await
        };
        self.databases[shard].requests.now(over)
    }
}
