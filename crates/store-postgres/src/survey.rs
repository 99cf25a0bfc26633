//! What is asked of a database now and then: how much waits there for all peers together, and how much room is
//! taken by rows that are removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
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
#[derive(Debug)]
pub(crate) struct Survey {
    /// Bytes of each link that do not count. Before anybody has said how many, all of them.
    floor: AtomicU64,
    /// That they are others now.
    other_floor: Notify,
    /// Bytes that waited beyond that.
    found: AtomicU64,
    /// What this replica has stored beyond that since.
    stored: AtomicU64,
    bloat: AtomicU64,
}

impl Default for Survey {
    fn default() -> Self {
        let [found, stored, bloat] = [0; 3].map(AtomicU64::new);
        Self { floor: AtomicU64::new(u64::MAX), other_floor: Notify::new(), found, stored, bloat }
    }
}

impl Survey {
    /// Returns how many bytes wait beyond `floor` of each link, as far as is known. If it is another floor than
    /// before, the database is asked at once.
    pub(crate) fn beyond(&self, floor: u64) -> u64 {
        if self.floor.swap(floor, Ordering::Relaxed) != floor {
            self.other_floor.notify_one();
        }
        self.found.load(Ordering::Relaxed).saturating_add(self.stored.load(Ordering::Relaxed))
    }

    /// Counts what this replica has stored for a link for which so much waited `before`; all of it, if that is
    /// not known.
    pub(crate) fn add(&self, before: Option<u64>, stored: u64) {
        let floor = self.floor.load(Ordering::Relaxed);
        let beyond = |bytes: u64| bytes.saturating_sub(floor);
        let before = before.unwrap_or(floor);
        let more = beyond(before.saturating_add(stored)) - beyond(before);
        self.stored.fetch_add(more, Ordering::Relaxed);
    }

    /// Returns the number of removed rows that still take room, for each row that is there.
    pub(crate) fn bloat(&self) -> u64 {
        self.bloat.load(Ordering::Relaxed)
    }

    /// Looks once in each `pause`, and when the floor is another one, until it is told to stop.
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
                tokio::select! {
                    _ = looks.tick() => {}
                    () = self.other_floor.notified() => {}
                }
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
        // What is stored while the database is asked may count twice until the next look.
        let stored = self.stored.load(Ordering::Relaxed);
        let row = connection.row(LOOK, &[&floor, &schema]).await?;
        self.found.store(loaded(column(&row, 0)?)?, Ordering::Relaxed);
        self.stored.fetch_sub(stored, Ordering::Relaxed);
        self.bloat.store(loaded(column(&row, 1)?)?, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_within_the_floor_of_a_link_does_not_count() {
        let survey = Survey::default();
        survey.add(Some(0), 1_000);
        assert_eq!(survey.beyond(100), 0, "nobody had said which part is a link's own");
        for _ in 0..1_000 {
            survey.add(Some(0), 60); // it is delivered at once
        }
        assert_eq!(survey.beyond(100), 0);
        survey.add(Some(90), 30);
        survey.add(Some(120), 30);
        survey.add(None, 5);
        assert_eq!(survey.beyond(100), 20 + 30 + 5);
    }
}
