//! The thread of the store, the only one that uses the file.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use paddington_exchange::store::StoreError;
use rusqlite::Connection;
use tracing::{error, info};

use crate::commit::{Memory, Tables, commit};
use crate::error::OpenStoreError;
use crate::files::Files;
use crate::open;
use crate::queries;
use crate::recovery::recover;
use crate::shared::{Shared, Step};
use crate::upkeep::Upkeep;

/// Time until the first retry after a failure.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest time between two retries.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Starts the thread. It ends when the store is closed.
pub(crate) fn start(files: Files, connection: Connection, shared: Arc<Shared>) -> io::Result<()> {
    let run = move || {
        let unexpected = StoreError::new("the thread of the store ended unexpectedly");
        let mut ending = Ending { shared: Arc::clone(&shared), result: Err(unexpected) };
        let mut worker = Worker {
            files,
            shared,
            memory: Memory::default(),
            retry: FIRST_RETRY,
            retry_at: None,
            failures: 0,
        };
        ending.result = worker.run(connection);
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
            opened = open::connect(&mut self.files);
        }
    }

    /// Uses the file until the store is closed, or until something fails.
    fn serve(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if let Err(fault) = recover(connection, &mut self.memory) {
            let _ = connection.execute_batch("ROLLBACK");
            let why = self.failed(fault.into());
            self.only_read(connection);
            return Err(why);
        }
        let mut tables = Tables::prepare(connection).map_err(|fault| self.failed(fault.into()))?;
        let mut upkeep = Upkeep::new(connection).map_err(|fault| self.failed(fault.into()))?;
        if self.failures > 0 {
            info!(failures = self.failures, "the store accepts messages again");
            self.failures = 0;
            self.shared.recovered();
        }
        loop {
            let kept = match self.shared.next(upkeep.patience()) {
                Step::Close => return Ok(()),
                Step::Idle => upkeep.tidy(),
                Step::Work(round) => {
                    for query in round.queries {
                        queries::answer(connection, &mut tables, &mut self.memory, query);
                    }
                    if round.operations.is_empty() {
                        continue;
                    }
                    let (files, memory) = (&self.files, &mut self.memory);
                    commit(&self.shared, files, connection, &mut tables, memory, round.operations)
                        .map_err(|why| self.failed(why))?;
                    self.retry = FIRST_RETRY;
                    upkeep.committed()
                }
            };
            kept.map_err(|fault| self.failed(fault.into()))?;
        }
    }

    /// Answers queries until it is time for the next try.
    fn only_read(&mut self, connection: &Connection) {
        let Ok(mut tables) = Tables::prepare(connection) else { return };
        loop {
            let reads = self.shared.next_read(self.retry_at);
            if reads.is_empty() {
                return;
            }
            for query in reads {
                queries::answer(connection, &mut tables, &mut self.memory, query);
            }
        }
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
