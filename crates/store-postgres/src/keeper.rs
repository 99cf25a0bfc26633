//! The connection for everything that is written but messages: lazy changes are gathered for a while,
//! others take those with them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paddington_exchange::store::parts::{Waiter, ask, failed, stopped};
use paddington_exchange::store::{Answer, DeadLetter, Fence, Mailbox, StoreError};
use paddington_wire::{Instance, LinkId, MessageId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::common::Common;
use crate::connect::{Backoff, Commits, Connection};
use crate::error::Fault;
use crate::flush::{Attempt, Key};
use crate::lazies::Lazies;
use crate::work::{Urgent, Work, write};

/// How long lazy changes wait for others.
const GATHER: Duration = Duration::from_millis(100);
/// Number of rows at which they wait no longer.
const MANY: usize = 1_024;
/// The most links whose changes go into one transaction.
const MAX_LINKS: usize = 512;

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    lazies: BTreeMap<Key, Lazies>,
    /// When the first of them was asked for.
    since: Option<Instant>,
    rows: usize,
    urgent: Vec<Urgent>,
    /// Whether a round is being written, and its trims.
    is_writing: bool,
    running: HashMap<(LinkId, Instance), u64>,
    /// Why nothing can be written at the moment: there is no connection.
    away: Option<StoreError>,
    is_closed: bool,
}

impl Keeper {
    /// Adds a lazy change.
    pub(crate) fn lazy(
        &self,
        link: LinkId,
        fence: Fence,
        change: impl FnOnce(&mut Lazies, Waiter<()>),
    ) -> Answer<()> {
        let mut state = self.lock();
        if state.is_closed {
            return failed(stopped());
        }
        let lazies = state.lazies.entry((link, fence)).or_default();
        let before = lazies.len();
        let answer = ask(|waiter| change(lazies, waiter));
        let added = lazies.len().saturating_sub(before);
        state.rows += added;
        let is_first = state.since.is_none();
        state.since.get_or_insert_with(Instant::now);
        if is_first || state.rows >= MANY {
            self.wake.notify_one();
        }
        answer
    }

    pub(crate) fn attempt(
        &self,
        mailbox: &Mailbox,
        id: MessageId,
        fence: Fence,
        step: i32,
    ) -> Answer<u32> {
        let attempt = Attempt { key: (mailbox.link, fence), id, step };
        self.urge(|waiter| Urgent::Attempt(attempt, waiter))
    }

    pub(crate) fn letter(&self, letter: DeadLetter, fence: Fence) -> Answer<()> {
        self.urge(|waiter| Urgent::Letter(Box::new(letter), fence, waiter))
    }

    /// Writes everything that was asked for before.
    pub(crate) fn sync(&self) -> Answer<()> {
        self.urge(Urgent::Sync)
    }

    /// Returns whether a message is removed, as far as was asked for.
    pub(crate) fn is_trimmed(&self, link: LinkId, id: MessageId) -> bool {
        let state = self.lock();
        let of_link = (link, Fence(0))..=(link, Fence(u64::MAX));
        let waiting =
            state.lazies.range(of_link).filter_map(|(_, lazies)| lazies.trims.get(&id.stream));
        waiting.chain(state.running.get(&(link, id.stream))).any(|upto| *upto >= id.number)
    }

    /// Returns whether something of a link waits to be written.
    pub(crate) fn is_busy_with(&self, links: &[LinkId]) -> bool {
        let state = self.lock();
        let waits = |link: &LinkId| {
            let of_link = (*link, Fence(0))..=(*link, Fence(u64::MAX));
            state.lazies.range(of_link).next().is_some()
        };
        !state.urgent.is_empty() || state.is_writing || links.iter().any(waits)
    }

    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.lock().away.clone()
    }

    /// Takes nothing more, and ends once everything is written.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    fn urge<T: Send + 'static>(&self, urgent: impl FnOnce(Waiter<T>) -> Urgent) -> Answer<T> {
        let mut state = self.lock();
        if state.is_closed {
            return failed(stopped());
        }
        if let Some(away) = &state.away {
            return failed(away.clone());
        }
        let answer = ask(|waiter| state.urgent.push(urgent(waiter)));
        drop(state);
        self.wake.notify_one();
        answer
    }

    /// Writes what arrives, and connects again for as long as it takes.
    pub(crate) async fn run(self: Arc<Self>, common: Arc<Common>) {
        let mut backoff = Backoff::default();
        loop {
            let fault = match common.target.open(Commits::Synced, None).await {
                Ok(connection) => {
                    self.lock().away = None;
                    match self.serve(&common, &connection, &mut backoff).await {
                        Ok(()) => return,
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            if self.leave(&fault) || common.stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = common.stop.cancelled() => {}
            }
        }
    }

    /// Fails whatever does not wait. Returns whether the store is closed.
    fn leave(&self, fault: &Fault) -> bool {
        let error = fault.clone().into_error();
        let (urgent, lazies, is_closed) = {
            let mut state = self.lock();
            state.away = Some(error.clone());
            let lazies =
                if state.is_closed { std::mem::take(&mut state.lazies) } else { BTreeMap::new() };
            (std::mem::take(&mut state.urgent), lazies, state.is_closed)
        };
        urgent.into_iter().for_each(|urgent| urgent.fail(&error));
        for lazies in lazies.into_values() {
            lazies.of_owner.answer(&Err(error.clone()));
            lazies.of_lane.answer(&Err(error.clone()));
        }
        is_closed
    }

    async fn serve(
        &self,
        common: &Common,
        connection: &Connection,
        backoff: &mut Backoff,
    ) -> Result<(), Fault> {
        let mut most = MAX_LINKS;
        while !self.wait(common, connection).await? {
            let mut work = self.take();
            let result = write(common, connection, &mut work, most).await;
            self.put_back(work.lazies);
            match result {
                Ok(()) => {
                    backoff.reset();
                    most = MAX_LINKS;
                }
                Err(fault) => {
                    let error = fault.clone().into_unsure();
                    let attempts = work.attempts.into_iter();
                    attempts.for_each(|(attempt, waiter)| {
                        Urgent::Attempt(attempt, waiter).fail(&error);
                    });
                    work.urgent.into_iter().for_each(|urgent| urgent.fail(&error));
                    if let Fault::Lost(_) = fault {
                        return Err(fault);
                    }
                    tracing::warn!(
                        why = fault.why(),
                        "the database has refused changes; they are tried again"
                    );
                    most = if fault.is_final() { 1 } else { MAX_LINKS };
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
        Ok(())
    }

    /// Waits until something is due. Returns whether the store is closed, and everything written.
    async fn wait(&self, common: &Common, connection: &Connection) -> Result<bool, Fault> {
        loop {
            let due = {
                let state = self.lock();
                let is_empty = state.lazies.is_empty() && state.urgent.is_empty();
                if !is_empty && (state.is_closed || !state.urgent.is_empty() || state.rows >= MANY)
                {
                    return Ok(false);
                }
                if is_empty && state.is_closed {
                    return Ok(true);
                }
                state.since.map(|since| since + GATHER)
            };
            if due.is_some_and(|due| due <= Instant::now()) {
                return Ok(false);
            }
            let until_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = until_due => {}
                () = connection.ended() => {
                    return Err(Fault::Lost("the connection to the database is gone".to_owned()));
                }
                () = common.stop.cancelled() => self.close(),
            }
        }
    }

    /// Takes everything that waits.
    fn take(&self) -> Work {
        let mut state = self.lock();
        let mut work = Work { lazies: std::mem::take(&mut state.lazies), ..Work::default() };
        for urgent in std::mem::take(&mut state.urgent) {
            match urgent {
                Urgent::Attempt(attempt, waiter) => work.attempts.push((attempt, waiter)),
                other => work.urgent.push(other),
            }
        }
        state.since = None;
        state.rows = 0;
        let trims = |((link, _), lazies): (&Key, &Lazies)| {
            let link = *link;
            let trims: Vec<_> =
                lazies.trims.iter().map(|(stream, upto)| ((link, *stream), *upto)).collect();
            trims
        };
        state.running = work.lazies.iter().flat_map(trims).collect();
        state.is_writing = true;
        work
    }

    /// Ends a round, of which this is left.
    fn put_back(&self, left: BTreeMap<Key, Lazies>) {
        let mut state = self.lock();
        state.running.clear();
        state.is_writing = false;
        for (key, mut earlier) in left {
            if let Some(later) = state.lazies.remove(&key) {
                earlier.then(later);
            }
            state.rows += earlier.len();
            state.lazies.insert(key, earlier);
            state.since.get_or_insert_with(Instant::now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
