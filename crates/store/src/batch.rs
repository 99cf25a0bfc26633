//! What goes into one transaction, and how much of it each peer may have.

use crate::queue::{Operation, Query, QueueKey, Write};

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
    pub(crate) operations: Vec<(QueueKey, Operation)>,
    rows: usize,
    bytes: usize,
}

/// What one key has got of it.
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

    /// Takes a operation of a key and says whether it is lazy; or gives it back, because it is not its
    /// turn yet.
    pub(crate) fn take(
        &mut self,
        key: &QueueKey,
        operation: Operation,
        share: &mut Share,
    ) -> Result<bool, Operation> {
        let len = match &operation {
            // It must see what was written before it.
            Operation::Query(_) if share.writes => return Err(operation),
            Operation::Query(_) => 0,
            Operation::Lazy(lazies) => {
                self.rows += lazies.len();
                0
            }
            Operation::Write(write) => {
                let len = write.len();
                let fits = share.rows < MAX_SHARE && share.bytes + len <= MAX_SHARE_BYTES;
                if self.is_full() || (share.rows > 0 && !fits) {
                    return Err(operation);
                }
                share.rows += 1;
                self.rows += 1;
                len
            }
        };
        share.bytes += len;
        self.bytes += len;
        match operation {
            Operation::Query(query) => {
                self.queries.push(query);
                Ok(false)
            }
            operation => {
                share.writes = true;
                let lazy = matches!(operation, Operation::Lazy(_));
                self.operations.push((key.clone(), operation));
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
            Self::AddLetter(letter, _) => letter.payload.len(),
            Self::Attempt(..) | Self::TakeLetter(..) => 0,
        }
    }
}
