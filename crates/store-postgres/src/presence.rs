//! What makes this replica live in the eyes of the others: a session lock that ends with the connection,
//! and a beat (S7). The same connections hear and tell signals.

use std::sync::Arc;
use std::time::Duration;

use paddington_exchange::store::{DirectoryNews, Signal};
use paddington_wire::Instance;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connect::{Backoff, Commits, Connection, Target};
use crate::error::Fault;
use crate::inbox::Inbox;
use crate::lease::{self, Lease};
use crate::row::{column, loaded};
use crate::signal;

const JOIN: &str = "INSERT INTO replica(token, beat, lease, version) \
                    VALUES ($1, clock_timestamp(), $2, $3) RETURNING n";
/// With the number that another database has given, or again after this database has forgotten it.
const JOIN_AS: &str = "INSERT INTO replica(n, token, beat, lease, version) \
                       VALUES ($1, $2, clock_timestamp(), $3, $4) ON CONFLICT DO NOTHING";
/// Beats, and asks for the greatest version of the directory.
const BEAT: &str = "UPDATE replica SET beat = clock_timestamp() WHERE n = $1 AND token = $2 \
                    RETURNING (SELECT value FROM meta WHERE key = 'directory')";
const LEAVE: &str = "DELETE FROM replica WHERE n = $1 AND token = $2";
const LOCK: &str = "SELECT pg_try_advisory_lock($1, $2)";
const PING: &str = "SELECT 1";
/// Replicas that ended long ago own nothing that matters, and nothing that was written for them is read.
const TIDY: &str = "DELETE FROM replica WHERE beat < clock_timestamp() - interval '1 day'";
const TIDY_WRITERS: &str =
    "DELETE FROM writer w WHERE NOT EXISTS (SELECT FROM replica r WHERE r.n = w.replica)";

/// Pause between attempts to get the session lock, which an earlier connection may still hold.
const LOCK_AGAIN: Duration = Duration::from_millis(200);

/// A replica, as it is known to a database.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    pub(crate) target: Target,
    pub(crate) number: i32,
    pub(crate) token: Instance,
    /// The number of the schema in names of locks and channels.
    pub(crate) lock: i32,
    pub(crate) channel: String,
    pub(crate) time: Duration,
    pub(crate) lease: Lease,
    pub(crate) inbox: Inbox,
    /// What may be new in the directory.
    pub(crate) news: Arc<watch::Sender<DirectoryNews>>,
}

/// The two connections of a replica that is present.
pub(crate) struct Present {
    /// Holds the lock, and listens.
    lock: Arc<Connection>,
    /// Beats and tells.
    beats: Arc<Connection>,
}

/// Gets a number for a new replica.
pub(crate) async fn join(
    connection: &Connection,
    token: Instance,
    time: Duration,
) -> Result<i32, Fault> {
    connection.execute(TIDY, &[]).await?;
    connection.execute(TIDY_WRITERS, &[]).await?;
    let version = env!("CARGO_PKG_VERSION");
    let row = connection.row(JOIN, &[&&token.as_bytes()[..], &millis(time), &version]).await?;
    column(&row, 0)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Presence {
    /// Connects, takes the lock and beats once.
    pub(crate) async fn establish(&self) -> Result<Present, Fault> {
        let inbox = self.inbox.clone();
        let news = Arc::clone(&self.news);
        let hear = move |payload: &str| match signal::version(payload) {
            Some(version) => DirectoryNews::hear(&news, version),
            None => signal::read(payload).for_each(|it| inbox.deliver(it)),
        };
        let lock = self.target.open(Commits::Synced, Some(Box::new(hear))).await?;
        lock.client.batch_execute(&format!("LISTEN \"{}\"", self.channel)).await?;
        while !column::<bool>(&lock.row(LOCK, &[&self.lock, &self.number]).await?, 0)? {
            tokio::time::sleep(LOCK_AGAIN).await;
        }
        let beats = self.target.open(Commits::Lazy, None).await?;
        let present = Present { lock, beats };
        self.beat(&present).await?;
        self.news.send_modify(|news| news.contacts += 1);
        Ok(present)
    }

    /// Beats, and looks whether the lock is still held: its connection answers.
    async fn beat(&self, present: &Present) -> Result<(), Fault> {
        let sent = lease::now();
        let token = &self.token.as_bytes()[..];
        let arguments: crate::connect::Arguments<'_> = &[&self.number, &token];
        let both = async {
            tokio::join!(biased; present.beats.rows(BEAT, arguments), present.lock.rows(PING, &[]))
        };
        let late = |_| Fault::Lost("the database does not answer".to_owned());
        let (beat, ping) = tokio::time::timeout(self.time, both).await.map_err(late)?;
        ping?;
        let beat = beat?;
        if let Some(beat) = beat.first() {
            let version = column::<Option<i64>>(beat, 0)?.unwrap_or_default();
            DirectoryNews::hear(&self.news, loaded(version)?);
        } else {
            let version = env!("CARGO_PKG_VERSION");
            let known = [
                &self.number as &(dyn tokio_postgres::types::ToSql + Sync),
                &token,
                &millis(self.time),
                &version,
            ];
            if present.beats.execute(JOIN_AS, &known).await? == 0 {
                return Err(Fault::refused(
                    "the database has given the number of this replica to another one: restart it",
                ));
            }
        }
        self.lease.beat(sent, self.time);
        Ok(())
    }

    /// Beats, and connects again for as long as it takes.
    pub(crate) async fn run(
        self,
        first: Present,
        beats: watch::Sender<Option<Arc<Connection>>>,
        stop: CancellationToken,
    ) {
        let mut backoff = Backoff::default();
        let mut present = Some(first);
        let mut is_told = false;
        while !stop.is_cancelled() {
            let result = match present.take() {
                Some(present) => {
                    beats.send_replace(Some(Arc::clone(&present.beats)));
                    let fault = self.serve(&present, &stop).await;
                    beats.send_replace(None);
                    self.lease.lapse();
                    fault
                }
                None => tokio::select! {
                    established = self.establish() => established.map(|it| {
                        backoff.reset();
                        if std::mem::take(&mut is_told) {
                            let database = &self.target.url.place;
                            tracing::info!(database, "this replica is in touch with the database again");
                        }
                        present = Some(it);
                        self.inbox.deliver(Signal::Lost);
                    }),
                    () = stop.cancelled() => Ok(()),
                },
            };
            if let Err(fault) = result {
                let (why, database) = (fault.why(), &self.target.url.place);
                if std::mem::replace(&mut is_told, true) {
                    tracing::debug!(
                        why,
                        database,
                        "this replica is still not in touch with the database"
                    );
                } else {
                    tracing::warn!(why, database, "this replica is not in touch with the database");
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        self.lease.lapse();
    }

    async fn serve(&self, present: &Present, stop: &CancellationToken) -> Result<(), Fault> {
        let mut beats = tokio::time::interval(self.time / 4);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => self.beat(present).await?,
                () = present.lock.ended() => return Err(Fault::Lost("the session lock is lost".to_owned())),
                () = present.beats.ended() => return Err(Fault::Lost("the connection is lost".to_owned())),
                () = stop.cancelled() => {
                    let token = &self.token.as_bytes()[..];
                    let _ = present.beats.execute(LEAVE, &[&self.number, &token]).await;
                    return Ok(());
                }
            }
        }
    }
}
