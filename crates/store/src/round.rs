//! The operations of one transaction, and each mailbox's share of it.

use crate::operation::{Operation, Query, QueueKey, Write};

/// The most messages of one mailbox in a transaction.
const MAX_SHARE: usize = 64;
/// The most bytes of one mailbox in a transaction, unless its first message alone is longer.
const MAX_SHARE_BYTES: usize = 1024 * 1024;
/// The most messages in a transaction.
const MAX_ROUND: usize = 1_024;
/// The most bytes in a transaction, which one share may exceed.
const MAX_ROUND_BYTES: usize = 8 * 1024 * 1024;

/// The work that the thread does next.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Queries, which are answered first.
    pub(crate) queries: Vec<Query>,
    /// Operations that are then written in this order, in one transaction.
    pub(crate) operations: Vec<(QueueKey, Operation)>,
    rows: usize,
    bytes: usize,
}

/// The part of a round that comes from one queue.
#[derive(Debug, Default)]
pub(crate) struct Share {
    rows: usize,
    bytes: usize,
    writes: bool,
    /// Whether the rest of the queue has to wait for the next step of a purge.
    purges: bool,
}

impl Round {
    pub(crate) fn new(queries: Vec<Query>) -> Self {
        Self { queries, ..Self::default() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= MAX_ROUND || self.bytes >= MAX_ROUND_BYTES
    }

    /// Takes an operation of a queue and returns whether it is lazy, or gives it back if it has to
    /// wait for a later round.
    pub(crate) fn take(
        &mut self,
        key: &QueueKey,
        operation: Operation,
        share: &mut Share,
    ) -> Result<bool, Operation> {
        if share.purges {
            return Err(operation);
        }
        let len = match &operation {
            // A query must see what was written before it.
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
                share.purges = matches!(write, Write::Purge(..));
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
