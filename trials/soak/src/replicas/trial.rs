//! The trial: replicas, their database and their peers, and what goes wrong with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, ensure};
use paddington::{Cluster, ServiceConfig};
use paddington_test_support::{FaultyProxy, PostgresServer, Random, quick};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::peer::Peer;
use super::rule::Rule;
use super::verdict::{MOST_REPEATS, Verdict};
use crate::child::{QUIET, Role};
use crate::fleet::Process;
use crate::journal::{Journal, shared_text};
use crate::{in_real_time, median_and_most};

const REPLICAS: usize = 3;
const PEERS: usize = 3;
/// At least for so long, and with so many faults.
const TIME: Duration = Duration::from_secs(10 * 60);
const FAULTS: usize = 100;
/// The default. A replica beats four times in it.
const LEASE: Duration = Duration::from_secs(10);
/// The longest time between two faults.
const CALM: Duration = Duration::from_millis(500);
/// Until a process that was told to stop has stopped.
const STOPPING: Duration = Duration::from_millis(20);
/// A long pause: the replica that has the peers by then claims their links once the lease is over.
const LONG: Duration = Duration::from_secs(13);
/// A short pause: until its peers reach another replica, and from then on. Together with the time between two
/// beats, it is shorter than the lease.
const SHORT: [Duration; 2] = [Duration::from_secs(4), Duration::from_millis(1_300)];
/// The longest wait for whatever has to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time in which what was under way arrives.
const AFTER: Duration = Duration::from_secs(1);

pub(crate) fn run(random: Random, short: bool) -> Result<(), Error> {
    in_real_time(async {
        let Some(database) = start_database().await? else { return Ok(()) };
        let mut trial = Trial::start(random, database, None).await?;
        let ended = trial.run(short).await;
        if ended.is_err() {
            trial.keep();
        }
        ended
    })
}

/// Starts a PostgreSQL, where it is installed.
pub(super) async fn start_database() -> Result<Option<Arc<PostgresServer>>, Error> {
    let database = spawn_blocking(PostgresServer::start).await?;
    if database.is_none() {
        println!("replicas: skipped, because PostgreSQL is not installed");
    }
    Ok(database.map(Arc::new))
}

/// One of the replicas.
struct Replica {
    process: Process,
    instance: u64,
    address: SocketAddr,
}

impl Replica {
    async fn start(folder: &Path, instance: u64) -> Result<Self, Error> {
        let mut process = Process::start(Role::Replica, folder, instance, None)?;
        let address = process.address().await?;
        Ok(Self { process, instance, address })
    }
}

pub(super) struct Trial {
    random: Random,
    folder: TempDir,
    database: Arc<PostgresServer>,
    schema: &'static str,
    log: Arc<Journal>,
    replicas: Vec<Replica>,
    peers: Vec<Peer>,
    instances: u64,
    /// How often each fault has happened, by its name.
    faults: BTreeMap<String, usize>,
    /// The times until messages went on.
    times: Vec<Duration>,
}

impl Trial {
    /// Starts everything, over a database that leaves a rule out if one is given.
    pub(super) async fn start(
        random: Random,
        database: Arc<PostgresServer>,
        without: Option<Rule>,
    ) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let schema = without.map_or("paddington", Rule::schema);
        let cluster = Cluster::new(&database.url())?.with_schema(schema).with_lease(LEASE)?;
        let (hub, invited) = introduce(cluster).await?;
        hub.save(Role::Replica.config(folder.path()))?;
        hub.migrate_cluster().await?;
        if let Some(rule) = without {
            let database = Arc::clone(&database);
            spawn_blocking(move || rule.leave_out(&database)).await??;
        }
        let mut replicas = Vec::new();
        for instance in 0..REPLICAS {
            replicas.push(Replica::start(folder.path(), instance as u64).await?);
        }
        let log = Arc::new(Journal::shared(folder.path())?);
        let mut peers = Vec::new();
        for (config, proxy) in invited {
            proxy.forward_to(replicas[0].address);
            peers.push(Peer::start(&config, proxy, &log).await?);
        }
        Ok(Self {
            random,
            folder,
            database,
            schema,
            log,
            replicas,
            peers,
            instances: REPLICAS as u64,
            faults: BTreeMap::new(),
            times: Vec::new(),
        })
    }

    async fn run(&mut self, short: bool) -> Result<(), Error> {
        let raged = self.rage(short).await;
        self.print();
        raged?;
        self.settle().await?;
        let verdict = self.verdict(true)?;
        println!(
            "replicas: {} messages of peers and {} for them accepted: {verdict} (bar: 0)",
            verdict.of_peers, verdict.of_replicas
        );
        println!(
            "replicas: {} handled again after {} losses of a replica (bar: some), at most {} of one \
             peer after one (bar: {MOST_REPEATS}), each of them marked and not acknowledged",
            verdict.repeats, verdict.losses, verdict.most_repeats
        );
        verdict.check()?;
        // Something is being handled nearly all the time.
        ensure!(verdict.repeats > 0, "no loss has met a message that was being handled");
        Ok(())
    }

    async fn rage(&mut self, short: bool) -> Result<(), Error> {
        self.heals().await?;
        let begun = Instant::now();
        let is_over = |faults: usize| short || (begun.elapsed() >= TIME && faults >= FAULTS);
        loop {
            let round = if short { Fault::EACH.to_vec() } else { Fault::round(&mut self.random) };
            for fault in round {
                let calm = self.random.up_to(CALM);
                sleep(calm).await;
                self.inflict(fault).await?;
                let time = self.heals().await?;
                self.times.push(time);
            }
            if is_over(self.faults.values().sum()) {
                return Ok(());
            }
        }
    }

    /// Makes something go wrong, and mends it.
    pub(super) async fn inflict(&mut self, fault: Fault) -> Result<(), Error> {
        *self.faults.entry(format!("{fault:?}")).or_default() += 1;
        match fault {
            Fault::Kill => self.kill().await,
            Fault::LongPause => {
                let paused = self.victim();
                self.replicas[paused].process.signal(Signal::STOP)?;
                sleep(STOPPING).await;
                self.log.append(&format!("paused {}", self.replicas[paused].instance))?;
                self.lead_away_from(paused);
                sleep(LONG).await;
                self.replicas[paused].process.signal(Signal::CONT)
            }
            Fault::ShortPause => {
                let paused = self.victim();
                self.replicas[paused].process.signal(Signal::STOP)?;
                sleep(SHORT[0]).await;
                self.lead_away_from(paused);
                sleep(SHORT[1]).await;
                self.replicas[paused].process.signal(Signal::CONT)
            }
            Fault::Move => {
                let moved = self.random.below(PEERS);
                for peer in 0..PEERS {
                    if peer == moved || self.random.coin() {
                        self.lead_away(peer);
                    }
                }
                Ok(())
            }
            Fault::Cut => {
                self.peers.iter().for_each(Peer::cut);
                Ok(())
            }
            Fault::Crash => {
                let database = Arc::clone(&self.database);
                let crash = move || {
                    database.crash();
                    database.resume();
                };
                Ok(spawn_blocking(crash).await?)
            }
        }
    }

    async fn kill(&mut self) -> Result<(), Error> {
        let killed = self.victim();
        self.replicas[killed].process.kill().await?;
        // Before its peers can reach another replica.
        self.log.append(&format!("lost {}", self.replicas[killed].instance))?;
        self.lead_away_from(killed);
        let pause = self.random.up_to(CALM);
        sleep(pause).await;
        self.replicas[killed] = Replica::start(self.folder.path(), self.instances).await?;
        self.instances += 1;
        Ok(())
    }

    /// Draws a replica that a peer reaches.
    fn victim(&mut self) -> usize {
        self.peers[self.random.below(PEERS)].at
    }

    fn lead_away_from(&mut self, replica: usize) {
        for peer in 0..PEERS {
            if self.peers[peer].at == replica {
                self.lead_away(peer);
            }
        }
    }

    /// Lets a peer reach another replica than before.
    fn lead_away(&mut self, peer: usize) {
        let at = (self.peers[peer].at + 1 + self.random.below(REPLICAS - 1)) % REPLICAS;
        self.peers[peer].lead_to(at, self.replicas[at].address);
    }

    /// Returns the time from now until messages go on: of each peer one is acknowledged that is sent from now on,
    /// and each handles one of each replica.
    pub(super) async fn heals(&self) -> Result<Duration, Error> {
        let begun = Instant::now();
        let instances: Vec<u64> = self.replicas.iter().map(|replica| replica.instance).collect();
        let marks: Vec<_> = self.peers.iter().map(Peer::mark).collect();
        for (peer, mark) in self.peers.iter().zip(&marks) {
            while !peer.goes_on(mark, &instances)? {
                let faults = &self.faults;
                ensure!(begun.elapsed() < PATIENCE, "messages do not go on after {faults:?}");
                sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(begun.elapsed())
    }

    /// Ends everything in order, once all is handled.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        File::create(self.folder.path().join(QUIET))?;
        self.peers.iter().for_each(Peer::fall_silent);
        for peer in &mut self.peers {
            peer.settle().await?;
        }
        sleep(AFTER).await; // a replica may be sending its last message
        let begun = Instant::now();
        while self.waiting().await? != "0" {
            ensure!(begun.elapsed() < PATIENCE, "messages of replicas are not acknowledged");
            sleep(Duration::from_millis(100)).await;
        }
        sleep(AFTER).await; // what comes too often comes by now
        for replica in &mut self.replicas {
            replica.process.finish().await?;
        }
        for peer in &self.peers {
            peer.end().await;
        }
        Ok(())
    }

    /// The number of messages that wait for peers.
    async fn waiting(&self) -> Result<String, Error> {
        let (database, schema) = (Arc::clone(&self.database), self.schema);
        let sql = format!("SELECT coalesce(sum(waiting), 0) FROM {schema}.link");
        Ok(spawn_blocking(move || database.sql(&sql)).await?)
    }

    /// The verdict so far.
    pub(super) fn verdict(&self, is_end: bool) -> Result<Verdict, Error> {
        Verdict::judge(&shared_text(self.folder.path())?, is_end)
    }

    /// Keeps what was written down.
    fn keep(&mut self) {
        self.folder.disable_cleanup(true);
        println!("replicas: what was written down is in {}", self.folder.path().display());
    }

    fn print(&mut self) {
        let [median, most] = median_and_most(&mut self.times);
        println!(
            "replicas: {} faults, {:?}; messages went on {median:.1} s afterwards in the median, \
             {most:.1} s at most (bar: {PATIENCE:?})",
            self.faults.values().sum::<usize>(),
            self.faults
        );
    }
}

/// Makes the configuration of all replicas, and those of the peers, each with the proxy by which it reaches one.
async fn introduce(
    cluster: Cluster,
) -> Result<(ServiceConfig, Vec<(ServiceConfig, FaultyProxy)>), Error> {
    let mut hub = ServiceConfig::new("hub", "ws://localhost:1", "127.0.0.1", &0)?;
    hub.set_cluster(cluster)?;
    hasty(&mut hub);
    let mut invited = Vec::new();
    for number in 1..=PEERS {
        let name = format!("peer-{number}");
        let proxy = FaultyProxy::start().await;
        let invite = hub.add_client(&name, "127.0.0.1")?;
        let mut peer = ServiceConfig::new(&name, "ws://localhost:1", "127.0.0.1", &0)?;
        peer.add_server(invite.at(&format!("ws://{}", proxy.address()))?)?;
        hasty(&mut peer);
        invited.push((peer, proxy));
    }
    Ok((hub, invited))
}

/// Sets delays short enough for a fault every few seconds.
fn hasty(config: &mut ServiceConfig) {
    quick(config);
    config.settings_mut().transport.retry.refused = Duration::from_millis(500);
    config.settings_mut().probe = Duration::from_millis(200);
}
