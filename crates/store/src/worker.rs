//! The thread of the store, the only one that uses the file.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use paddington_exchange::store::StoreError;
use rusqlite::Connection;
use tracing::{error, info, warn};

use crate::commit::{Memory, Tables, commit};
use crate::error::{Fault, OpenStoreError};
use crate::files::Files;
use crate::open::{self, Opened};
use crate::operation::Query;
use crate::queries;
use crate::recovery::recover;
use crate::reserve::Reserve;
use crate::shared::{Shared, Step};
use crate::upkeep::Upkeep;

/// Time until the first retry after a failure.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Time between two attempts to take the reserve again.
const RESERVE_RETRY: Duration = Duration::from_secs(1);
/// The longest time between two retries.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Starts the thread. It ends when the store is closed.
pub(crate) fn start(files: Files, opened: Opened, shared: Arc<Shared>) -> io::Result<()> {
    let run = move || {
        let unexpected = StoreError::new("the thread of the store ended unexpectedly");
        let mut ending = Ending { shared: Arc::clone(&shared), result: Err(unexpected) };
        let mut worker = Worker {
            reserve: Reserve::of(files.path()),
            short_until: None,
            files,
            key: opened.key,
            shared,
            memory: Memory::default(),
            retry: FIRST_RETRY,
            retry_at: None,
            failures: 0,
        };
        ending.result = worker.run(opened.connection);
    };
    thread::Builder::new().name("paddington-store".to_owned()).spawn(run).map(drop)
}

/// Answers all waiting callers when the thread ends, even by a panic.
struct Ending {
    shared: Arc<Shared>,
    result: Result<(), StoreError>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.finished(&self.result);
    }
}

struct Worker {
    files: Files,
    /// The id of the key under which payloads are sealed.
    key: Option<u64>,
    reserve: Reserve,
    /// Time of the next attempt to take the reserve, if the disk was full.
    short_until: Option<Instant>,
    shared: Arc<Shared>,
    memory: Memory,
    /// Time to wait after the next failure.
    retry: Duration,
    /// Time of the next try.
    retry_at: Option<Instant>,
    /// Number of tries in a row that have failed.
    failures: u64,
}

impl Worker {
    fn run(&mut self, connection: Connection) -> Result<(), StoreError> {
        let mut opened: Result<_, OpenStoreError> = Ok(connection);
        let mut is_last = false;
        loop {
            let ended = match opened {
                Ok(connection) => self.serve(&connection),
                Err(error) => Err(self.failed(error.into_failure())),
            };
            let Err(why) = ended else { return Ok(()) };
            if is_last {
                return Err(why);
            }
            // Queries wait for one retry, but not for all of them.
            if self.failures > 1 {
                self.shared.refuse_reads(&why);
            }
            is_last = self.shared.pause(self.retry_at.take());
            let reopened = open::connect(&mut self.files, Some(self.key.as_slice()));
            opened = reopened.map(|opened| opened.connection);
        }
    }

    /// Uses the file until the store is closed, or until something fails.
    fn serve(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if let Err(fault) = recover(connection, &mut self.memory) {
            let _ = connection.execute_batch("ROLLBACK");
            let why = self.fault(&fault);
            self.only_read(connection);
            return Err(why);
        }
        let mut tables = Tables::prepare(connection).map_err(|fault| self.fault(&fault))?;
        let mut upkeep = Upkeep::new(connection).map_err(|fault| self.fault(&fault))?;
        self.reserve();
        loop {
            if self.short_until.is_some_and(|until| until <= Instant::now()) {
                upkeep.shrink().map_err(|fault| self.fault(&fault))?;
                self.reserve();
            }
            let kept = match self.shared.next(self.patience(&upkeep)) {
                Step::Close => return Ok(()),
                Step::Idle if self.short_until.is_some() => Ok(()),
                Step::Idle => upkeep.tidy(),
                Step::Work(round) => {
                    self.answer(connection, &mut tables, round.queries);
                    if round.operations.is_empty() {
                        continue;
                    }
                    let (files, memory) = (&self.files, &mut self.memory);
                    commit(&self.shared, files, connection, &mut tables, memory, round.operations)
                        .map_err(|fault| self.fault(&fault))?;
                    self.retry = FIRST_RETRY;
                    upkeep.committed()
                }
            };
            kept.map_err(|fault| self.fault(&fault))?;
        }
    }

    /// Takes the reserve if it is not kept, and accepts messages if that succeeds.
    fn reserve(&mut self) {
        match self.reserve.keep() {
            Ok(()) => {
                if self.failures > 0 || self.short_until.is_some() {
                    info!(failures = self.failures, "the store accepts messages again");
                    self.shared.recovered();
                }
                self.short_until = None;
            }
            Err(why) => {
                if self.short_until.is_none() {
                    error!(%why, "only what is stored is delivered and removed");
                }
                self.short_until = Some(Instant::now() + RESERVE_RETRY);
                self.shared.short(StoreError::new(why));
            }
        }
        self.failures = 0;
    }

    /// Idle time after which there is something to do, if at all.
    fn patience(&self, upkeep: &Upkeep<'_>) -> Option<Duration> {
        let until_reserve = |until: Instant| until.saturating_duration_since(Instant::now());
        self.short_until.map(until_reserve).or_else(|| upkeep.patience())
    }

    /// Answers queries until it is time for the next try.
    fn only_read(&mut self, connection: &Connection) {
        let Ok(mut tables) = Tables::prepare(connection) else { return };
        loop {
            let reads = self.shared.next_read(self.retry_at);
            if reads.is_empty() {
                return;
            }
            self.answer(connection, &mut tables, reads);
        }
    }

    fn answer(&mut self, connection: &Connection, tables: &mut Tables<'_>, queries: Vec<Query>) {
        for query in queries {
            let more = queries::answer(connection, tables, &mut self.memory, query);
            more.into_iter().for_each(|query| self.shared.ask_on(query));
        }
    }

    fn fault(&mut self, fault: &Fault) -> StoreError {
        // What was being written is answered already; the rest was not tried.
        let is_given_up = (fault.is_full() && self.reserve.give_up())
            || (fault.may_be_full() && self.reserve.give_up_if_full());
        if is_given_up {
            warn!("the disk is full: the room that was kept in reserve is given up");
        }
        self.failed(StoreError::from(fault).for_others())
    }

    /// Stops accepting until the disk works again.
    fn failed(&mut self, why: StoreError) -> StoreError {
        self.failures += 1;
        if self.failures == 1 {
            error!(%why, "no messages are accepted until the store works again");
        }
        self.retry_at = Some(Instant::now() + self.retry);
        self.retry = (self.retry * 2).min(LAST_RETRY);
        self.memory.undo.get_or_insert_default();
        self.shared.failed(&why);
        why
    }
}
