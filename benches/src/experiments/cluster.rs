//! P13: replicas over PostgreSQL, compared with plain programs over the same server, and with a file of
//! SQLite on the same disk.

use std::time::Duration;

use anyhow::Result;
use paddington_bench::{
    Contender, CpuClock, Database, Direction, Experiment, Flow, Numbers, Pace, Site, accept_rate,
    batch_rate, claim_rate, row_rate, store_rate,
};
use tempfile::TempDir;

use super::{Settings, folder, links, progress};

const SQLITE: &str = "SQLite";
const ROWS: &str = "PostgreSQL, a row per transaction";
pub(crate) const SYNCHRONOUS: &str = "paddington, with a synchronous standby";
const BATCHES: &str = "PostgreSQL, in batches";

/// Number of connected peers.
const PEERS: usize = 200;
/// Time between two messages of one peer, where they are paced.
const EVERY: Duration = Duration::from_millis(100);
/// Time between two messages where there is one at a time.
const SELDOM: Duration = Duration::from_millis(17);
/// Number of links that are claimed, and of kills.
const CLAIMS: usize = 2_000;
const KILLS: usize = 40;

/// P13: hands each of its experiments on as soon as it has ended. There are none where PostgreSQL is not
/// installed.
pub(crate) async fn cluster(
    settings: &Settings,
    mut add: impl FnMut(Experiment) -> Result<()>,
) -> Result<()> {
    let Some(database) = Database::start().await? else { return Ok(()) };
    if settings.includes("P13") {
        let synchronous = Database::start_with_standby().await?;
        add(accepted(settings, &database, synchronous.as_ref()).await?)?;
    }
    if settings.includes("P13f") {
        add(flows(settings, &database).await?)?;
    }
    if settings.includes("P13c") {
        add(claims(settings, &database).await?)?;
    }
    if settings.includes("P13k") {
        add(kills(settings, &database).await?)?;
    }
    if settings.includes("P13m") {
        add(links::configured_at_replicas(settings, &database).await?)?;
    }
    Ok(())
}

/// P13: messages accepted and synced. The files of both databases are in the system's temporary folder.
async fn accepted(
    settings: &Settings,
    database: &Database,
    synchronous: Option<&Database>,
) -> Result<Experiment> {
    let title = "messages of 256 B accepted and synced, by number of senders";
    let mut experiment = Experiment::new("P13", title, "senders", Some(SQLITE), "per s");
    let lasting = Duration::from_secs_f64(settings.seconds);
    for round in 0..settings.rounds {
        progress(&format!("P13: round {} of {}", round + 1, settings.rounds));
        for senders in [1, 64] {
            let at = senders as f64;
            let mut ours = accept_rate(database, senders, senders, lasting).await?;
            let rows = row_rate(database, senders, lasting).await?;
            let batches = batch_rate(database, senders, lasting).await?;
            ours.insert("/ a row per transaction".to_owned(), ours["per s"] / rows["per s"]);
            ours.insert("/ in batches".to_owned(), ours["per s"] / batches["per s"]);
            experiment.add(Contender::Sealed.name(), at, ours);
            experiment.add(SQLITE, at, in_sqlite(senders, lasting).await?);
            experiment.add(ROWS, at, rows);
            experiment.add(BATCHES, at, batches);
            if let Some(synchronous) = synchronous {
                let ours = accept_rate(synchronous, senders, senders, lasting).await?;
                experiment.add(SYNCHRONOUS, at, ours);
            }
            if senders > 1 {
                let ours = accept_rate(database, senders, 1, lasting).await?;
                experiment.add("paddington, all to one peer", at, ours);
            }
        }
    }
    Ok(experiment)
}

async fn in_sqlite(senders: usize, lasting: Duration) -> Result<Numbers> {
    let (folder, clock) = (TempDir::new()?, CpuClock::start(&[])?);
    let sample = store_rate(folder.path(), senders, senders, lasting).await?;
    Ok(clock.complete(sample)?.numbers())
}

/// P13f: messages to peers that are connected to another replica, and from peers.
async fn flows(settings: &Settings, database: &Database) -> Result<Experiment> {
    let title = "messages of 256 B, from `send` to the handler, by number of senders";
    let mut experiment = Experiment::new("P13f", title, "senders", None, "p50 µs");
    let lasting = Duration::from_secs_f64(settings.seconds.max(2.0));
    let (away, peers) = (Direction::FromAway, Direction::FromPeers);
    let paced = Pace { senders: PEERS, every: EVERY, lasting };
    let flows = [
        ("to a peer at another replica", away, Pace { senders: 1, every: SELDOM, lasting }),
        ("to peers at another replica", away, Pace::busy(32, lasting)),
        ("the same, 10 a second each", away, paced),
        ("from peers, 10 a second each", peers, paced),
    ];
    for round in 0..settings.rounds.div_ceil(2) {
        progress(&format!("P13f: round {}", round + 1));
        let mut site = Site::open(&settings.program, folder()?, database, PEERS).await?;
        let peers = site.peers(PEERS).await?;
        experiment.add("nothing", 0.0, site.silence(database, 2 * lasting).await?);
        for (contender, direction, pace) in flows {
            let numbers = site.flow(Flow { direction, pace }, &peers, database).await?;
            experiment.add(contender, pace.senders as f64, numbers);
        }
        peers.close().await;
        site.close().await?;
    }
    Ok(experiment)
}

/// P13c: links claimed by a replica after their owner has died.
async fn claims(settings: &Settings, database: &Database) -> Result<Experiment> {
    let title = "links claimed after their owner has died, 64 at a time";
    let mut experiment = Experiment::new("P13c", title, "links", None, "per s");
    for round in 0..settings.rounds.div_ceil(2) {
        progress(&format!("P13c: round {}", round + 1));
        let numbers = claim_rate(database, CLAIMS).await?;
        experiment.add(Contender::Sealed.name(), CLAIMS as f64, numbers);
    }
    Ok(experiment)
}

/// P13k: a replica that is killed.
async fn kills(settings: &Settings, database: &Database) -> Result<Experiment> {
    let title =
        "from the kill of a replica until the peer's next message is handled by the other one";
    let mut experiment = Experiment::new("P13k", title, "kills", None, "p99 ms");
    let count = if settings.full { 3 * KILLS } else { KILLS };
    progress(&format!("P13k: {count} kills"));
    let site = Site::open(&settings.program, folder()?, database, 1).await?;
    let latency = site.kills(count).await?.latency.unwrap_or_default();
    let ms = [("p50 ms", latency.p50), ("p99 ms", latency.p99), ("max ms", latency.max)];
    let numbers = ms.map(|(name, micros)| (name.to_owned(), micros / 1e3));
    experiment.add(Contender::Sealed.name(), count as f64, numbers.into());
    Ok(experiment)
}
