//! What is asked of a database now and then: how much waits there for all peers together, and how much room is
//! taken by rows that are removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::connect::Connection;
use crate::error::Fault;
use crate::pool::Pool;
use crate::row::{self, column, loaded};

/// `$1` bytes of each link do not count. Tables with few removed rows are not worth a number.
const LOOK: &str = "SELECT coalesce((SELECT sum(greatest(bytes - $1, 0)) FROM link), 0)::bigint, \
     coalesce((SELECT max(n_dead_tup / greatest(n_live_tup, 1)) FROM pg_stat_user_tables \
               WHERE schemaname = $2 AND n_dead_tup >= 10000), 0)::bigint";

/// From how many removed rows on, for each that is there, the operator is told.
const BLOATED: u64 = 10;

/// What was found last.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Bytes of each link that do not count.
    floor: AtomicU64,
    /// Bytes that waited beyond that, and what this replica has stored since.
    beyond: AtomicU64,
    bloat: AtomicU64,
}

impl Survey {
    /// Returns how many bytes wait beyond `floor` of each link, as far as is known. The next look counts from
    /// another floor on, if it is another one.
    pub(crate) fn beyond(&self, floor: u64) -> u64 {
        self.floor.store(floor, Ordering::Relaxed);
        self.beyond.load(Ordering::Relaxed)
    }

    /// Counts what this replica has stored.
    pub(crate) fn add(&self, bytes: u64) {
        self.beyond.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the number of removed rows that still take room, for each row that is there.
    pub(crate) fn bloat(&self) -> u64 {
        self.bloat.load(Ordering::Relaxed)
    }

    /// Looks once in each `pause`, until it is told to stop.
    pub(crate) async fn run(
        self: Arc<Self>,
        pool: Arc<Pool>,
        (database, schema): (String, String),
        pause: Duration,
        stop: CancellationToken,
    ) {
        let mut looks = tokio::time::interval(pause);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_told = false;
        let follow = async {
            loop {
                looks.tick().await;
                if let Err(fault) = self.look_over(&pool, &schema).await {
                    tracing::debug!(why = fault.why(), database, "the database was not surveyed");
                    continue;
                }
                let bloat = self.bloat();
                if bloat > BLOATED && !is_told {
                    tracing::warn!(
                        database,
                        bloat,
                        "for each row there are many that are removed and still take room: a long transaction or an unused \
                         replication slot keeps them (pg_stat_activity, pg_replication_slots)"
                    );
                }
                is_told = bloat > BLOATED;
            }
        };
        tokio::select! {
            () = follow => {}
            () = stop.cancelled() => {}
        }
    }

    async fn look_over(&self, pool: &Pool, schema: &str) -> Result<(), Fault> {
        let taken = pool.take().await?;
        let looked = self.look(&taken.connection, schema).await;
        pool.give_back(taken);
        looked
    }

    async fn look(&self, connection: &Connection, schema: &str) -> Result<(), Fault> {
        let floor = row::at_most(self.floor.load(Ordering::Relaxed));
        let row = connection.row(LOOK, &[&floor, &schema]).await?;
        self.beyond.store(loaded(column(&row, 0)?)?, Ordering::Relaxed);
        self.bloat.store(loaded(column(&row, 1)?)?, Ordering::Relaxed);
        Ok(())
    }
}
