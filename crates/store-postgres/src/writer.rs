//! The connection that stores messages, one batch after the other, so that those of one link are stored in
//! the order of the calls (S4).
//!
//! There is one. A database syncs one commit after the other: with a second connection, each waits for the
//! sync of the other one, with half of the messages in each batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paddington_exchange::store::parts::{ask, failed, stopped};
use paddington_exchange::store::{Accepted, Answer, Mailbox, StoreError, Submission};
use paddington_wire::Instance;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::append::{self, Batch, Stored, append};
use crate::common::Common;
use crate::connect::{Backoff, Commits, Connection};
use crate::error::Fault;
use crate::round::{Part, Queue, Waiting};

/// Time within which the server has to answer a batch.
const STORE: Duration = Duration::from_secs(30);
/// Time within which it is found out whether a batch whose commit broke is stored.
const DECIDE: Duration = Duration::from_secs(10);
/// How often a batch is tried that collides with other transactions.
const ATTEMPTS: u32 = 5;

const BEGIN: &str = "INSERT INTO writer(id, replica) VALUES ($1, $2)";
/// Once a writer is closed, what it has sent before is in the database, or never will be (S8).
const CLOSE: &str =
    "UPDATE writer SET closed = true WHERE id = $1 RETURNING streams, firsts, stored, batch";
const FORGET: &str = "DELETE FROM writer WHERE id = $1";
/// The code by which the server refuses the batch of a writer that is closed.
const CLOSED: &str = "PD001";

/// What waits for one connection.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    /// Why nothing is accepted at the moment: there is no connection.
    away: Option<StoreError>,
    /// Why the last batch was refused.
    refused: Option<StoreError>,
    is_closed: bool,
}

/// A batch whose answer has not arrived.
struct Undecided {
    round: Vec<Part>,
    batch: Batch,
    timeline: i64,
}

/// How a connection ended.
enum Ended {
    Closed,
    Lost(Fault, Option<Undecided>),
}

impl Writer {
    pub(crate) fn accept(&self, mailbox: &Mailbox, submission: Submission) -> Answer<Accepted> {
        let mut state = self.lock();
        if state.is_closed {
            return failed(stopped());
        }
        if let Some(away) = &state.away {
            return failed(away.clone());
        }
        let answer = ask(|waiter| {
            let waiting = Waiting::new(mailbox.link, submission, waiter);
            if let Err(waiting) = state.queue.push(mailbox, waiting) {
                let error = StoreError::new("too much waits to be stored");
                let _ = waiting.waiter.send(Err(error));
            }
        });
        drop(state);
        self.wake.notify_one();
        answer
    }

    /// Returns why nothing is accepted, if so.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        let state = self.lock();
        state.away.clone().or_else(|| state.refused.clone())
    }

    /// Accepts nothing more, and ends once everything is stored.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// Stores what arrives, and connects again for as long as it takes.
    pub(crate) async fn run(self: Arc<Self>, common: Arc<Common>) {
        let mut backoff = Backoff::default();
        loop {
            let fault = match begin(&common).await {
                Ok((connection, writer)) => {
                    backoff.connected();
                    self.arrive();
                    match self.serve(&common, &connection, writer, &mut backoff).await {
                        Ended::Closed => return,
                        Ended::Lost(fault, undecided) => {
                            self.leave(&fault);
                            if let Some(undecided) = undecided {
                                decide(&common, undecided, &fault).await;
                            }
                            fault
                        }
                    }
                }
                Err(fault) => fault,
            };
            self.leave(&fault);
            if self.lock().is_closed || common.stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = common.stop.cancelled() => {}
            }
        }
    }

    async fn serve(
        &self,
        common: &Common,
        connection: &Connection,
        writer: Instance,
        backoff: &mut Backoff,
    ) -> Ended {
        let mut batch = Batch { writer, number: 0, by: common.number() };
        loop {
            let (round, is_closed) = {
                let mut state = self.lock();
                (state.queue.round(), state.is_closed)
            };
            if !round.is_empty() {
                batch.number += 1;
                if let Err(ended) = self.store(common, connection, batch, round).await {
                    return ended;
                }
                backoff.reset();
                continue;
            }
            if is_closed {
                let _ = connection.execute(FORGET, &[&&writer.as_bytes()[..]]).await;
                return Ended::Closed;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = connection.ended() => {
                    return Ended::Lost(Fault::Lost("the connection to the database is gone".to_owned()), None);
                }
                () = common.stop.cancelled() => self.close(),
            }
        }
    }

    /// Stores one round, and answers it.
    async fn store(
        &self,
        common: &Common,
        connection: &Connection,
        batch: Batch,
        mut round: Vec<Part>,
    ) -> Result<(), Ended> {
        let started = Instant::now();
        let mut attempt = 1;
        let result = loop {
            let late = |_| Fault::Lost("the database does not answer".to_owned());
            let storing = tokio::time::timeout(STORE, append(connection, batch, &round));
            match storing.await.map_err(late).flatten() {
                Err(fault) if fault.is_collision() && attempt < ATTEMPTS => attempt += 1,
                result => break result,
            }
        };
        match result {
            Ok(stored) => {
                let count = stored.iter().map(|stored| stored.count as u64).sum();
                common.record(started.elapsed(), count);
                self.lock().refused = None;
                self.answer(common, round, &stored);
                Ok(())
            }
            Err(fault @ Fault::Lost(_)) => {
                let timeline = connection.timeline;
                Err(Ended::Lost(fault, Some(Undecided { round, batch, timeline })))
            }
            Err(fault) => {
                let error = fault.clone().into_error();
                for waiting in round.drain(..).flat_map(|part| part.messages) {
                    let _ = waiting.waiter.send(Err(error.clone()));
                }
                tracing::warn!(why = fault.why(), "the database has refused messages");
                self.lock().refused = Some(error);
                if fault.is(CLOSED) { Err(Ended::Lost(fault, None)) } else { Ok(()) }
            }
        }
    }

    fn answer(&self, common: &Common, round: Vec<Part>, stored: &[Stored]) {
        for (mut part, stored) in round.into_iter().zip(stored) {
            let told = append::told(&part, stored);
            let bytes = append::answer(&mut part, stored);
            common.survey.add(stored.waited(), bytes);
            self.lock().queue.put_back(part);
            if let Some((owner, signal)) = told {
                common.notifier.tell(owner, signal);
            }
        }
    }

    /// There is a new connection.
    fn arrive(&self) {
        let mut state = self.lock();
        (state.away, state.refused) = (None, None);
    }

    /// Fails whatever waits: there is no connection.
    fn leave(&self, fault: &Fault) {
        let error = fault.clone().into_error();
        let waiting: Vec<_> = {
            let mut state = self.lock();
            state.away = Some(error.clone());
            state.queue.drain().collect()
        };
        for waiting in waiting {
            let _ = waiting.waiter.send(Err(error.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a connection, and begins a row for it.
async fn begin(common: &Common) -> Result<(Arc<Connection>, Instance), Fault> {
    let connection = common.target.open(Commits::Synced, None).await?;
    let writer = Instance::random().map_err(|error| Fault::refused(error.to_string()))?;
    connection.execute(BEGIN, &[&&writer.as_bytes()[..], &common.number()]).await?;
    Ok((connection, writer))
}

/// Finds out whether a batch is stored whose commit broke, and answers it (S8).
async fn decide(common: &Common, undecided: Undecided, fault: &Fault) {
    let Undecided { round, batch, timeline } = undecided;
    let found = tokio::time::timeout(DECIDE, async {
        let mut backoff = Backoff::default();
        loop {
            match close(common, batch, timeline).await {
                Ok(found) => return found,
                Err(_) => tokio::time::sleep(backoff.next()).await,
            }
        }
    })
    .await;
    let (stored, error) = match found {
        Ok(Some(stored)) => (stored, fault.clone().into_error()),
        // Another server may have known more than this one.
        Ok(None) | Err(_) => (Vec::new(), StoreError::unsure(fault.why())),
    };
    let mut stored = stored.into_iter();
    for mut part in round {
        if let Some(stored) = stored.next() {
            let bytes = append::answer(&mut part, &stored);
            common.survey.add(stored.waited(), bytes);
        }
        for waiting in part.messages {
            let _ = waiting.waiter.send(Err(error.clone()));
        }
    }
}

/// Closes a writer, and returns what its last batch has stored; `None` if that cannot be known.
async fn close(common: &Common, batch: Batch, timeline: i64) -> Result<Option<Vec<Stored>>, Fault> {
    let connection = common.target.open(Commits::Synced, None).await?;
    let writer = &batch.writer.as_bytes()[..];
    let Some(row) = connection.rows(CLOSE, &[&writer]).await?.into_iter().next() else {
        return Ok((connection.timeline == timeline).then(Vec::new));
    };
    let number: i64 = crate::row::column(&row, 3)?;
    let found = match number == batch.number {
        true => Some(append::numbers(&row)?),
        false => (connection.timeline == timeline).then(Vec::new),
    };
    let _ = connection.execute(FORGET, &[&writer]).await;
    Ok(found)
}
