//! What goes into one transaction, and how much of it each peer may have.

use crate::queue::{Job, Lane, Query, Write};

/// The most messages of one peer in a transaction.
const MAX_SHARE: usize = 64;
/// The most bytes of one peer in a transaction, unless its first message alone is longer.
const MAX_SHARE_BYTES: usize = 1024 * 1024;
/// The most messages in a transaction.
const MAX_BATCH: usize = 1_024;
/// The most bytes in a transaction, give or take one share.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What is done next.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// To be answered first.
    pub(crate) queries: Vec<Query>,
    /// To be written after that, in this order, in one transaction.
    pub(crate) jobs: Vec<(Lane, Job)>,
    rows: usize,
    bytes: usize,
}

/// What one lane has got of it.
#[derive(Debug, Default)]
pub(crate) struct Share {
    rows: usize,
    bytes: usize,
    writes: bool,
}

impl Batch {
    pub(crate) fn new(queries: Vec<Query>) -> Self {
        Self { queries, ..Self::default() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES
    }

    /// Takes a job of a lane and says whether it is lazy; or gives it back, because it is not its
    /// turn yet.
    pub(crate) fn take(&mut self, lane: &Lane, job: Job, share: &mut Share) -> Result<bool, Job> {
        let len = match &job {
            // It must see what was written before it.
            Job::Query(_) if share.writes => return Err(job),
            Job::Query(_) => 0,
            Job::Lazy(lazies) => {
                self.rows += lazies.len();
                0
            }
            Job::Write(write) => {
                let len = write.len();
                let fits = share.rows < MAX_SHARE && share.bytes + len <= MAX_SHARE_BYTES;
                if self.is_full() || (share.rows > 0 && !fits) {
                    return Err(job);
                }
                share.rows += 1;
                self.rows += 1;
                len
            }
        };
        share.bytes += len;
        self.bytes += len;
        match job {
            Job::Query(query) => {
                self.queries.push(query);
                Ok(false)
            }
            job => {
                share.writes = true;
                let lazy = matches!(job, Job::Lazy(_));
                self.jobs.push((lane.clone(), job));
                Ok(lazy)
            }
        }
    }
}

impl Write {
    /// How many bytes of payload it writes.
    fn len(&self) -> usize {
        match self {
            Self::Append(message, _) => message.payload.len(),
            Self::Bury(letter, _) => letter.payload.len(),
            Self::Attempt(..) | Self::Exhume(..) => 0,
        }
    }
}
