//! A hub and a sensor that renew the keys of their link in every session, and are killed at any
//! moment of that (`docs/links.md` §4): nobody may be locked out, lose messages, or raise an alarm.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Error, ensure};
use paddington::ServiceConfig;
use paddington_test_support::{FaultyProxy, Random, quick};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::child::{DOWN, HANDLED, QUIET, Role, UP, empty};
use crate::fleet::Process;
use crate::journal::{Verdict, keys, next_handled, next_number};
use crate::{in_real_time, median_and_most};

const KILLS: usize = 1_000;
const SHORT: usize = 8;
/// The most kills before both have to find each other again.
const MOST_AT_ONCE: usize = 3;
/// The longest time between two kills.
const CALM: Duration = Duration::from_millis(400);
/// The longest time until messages go on both ways after a kill. Who is not back by then is locked
/// out.
const HEALING: Duration = Duration::from_secs(20);
/// The longest wait for messages under way at the end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(random: Random, short: bool) -> Result<(), Error> {
    let kills = if short { SHORT } else { KILLS };
    in_real_time(async {
        let mut trial = Trial::start(random).await?;
        let ended = trial.rage(kills).await;
        trial.print();
        ended?;
        trial.settle().await?;
        trial.check()
    })
}

struct Trial {
    random: Random,
    folder: TempDir,
    proxy: FaultyProxy,
    hub: Process,
    sensor: Process,
    instances: u64,
    /// The kills of the hub, and of the sensor.
    kills: [usize; 2],
    times: Vec<Duration>,
}

impl Trial {
    async fn start(random: Random) -> Result<Self, Error> {
        let proxy = FaultyProxy::start().await;
        let folder = tempfile::tempdir()?;
        configure(folder.path(), &format!("ws://{}", proxy.address()))?;
        let hub = hub(folder.path(), &proxy, 0).await?;
        let sensor = Process::start(Role::Sensor, folder.path(), 0, None)?;
        let (instances, kills, times) = (0, [0; 2], Vec::new());
        Ok(Self { random, folder, proxy, hub, sensor, instances, kills, times })
    }

    async fn rage(&mut self, kills: usize) -> Result<(), Error> {
        self.heals().await?;
        while self.kills.iter().sum::<usize>() < kills {
            for _ in 0..=self.random.below(MOST_AT_ONCE) {
                let calm = self.random.up_to(CALM);
                sleep(calm).await;
                let of_hub = self.random.coin();
                self.kill(of_hub).await?;
            }
            let time = self.heals().await?;
            self.times.push(time);
        }
        Ok(())
    }

    async fn kill(&mut self, of_hub: bool) -> Result<(), Error> {
        let process = if of_hub { &mut self.hub } else { &mut self.sensor };
        process.kill().await?;
        self.kills[usize::from(!of_hub)] += 1;
        self.instances += 1;
        let (path, instance) = (self.folder.path(), self.instances);
        if of_hub {
            self.hub = hub(path, &self.proxy, instance).await?;
        } else {
            self.sensor = Process::start(Role::Sensor, path, instance, None)?;
        }
        Ok(())
    }

    /// Returns the time from now until messages are handled at both sides that are sent from now on.
    async fn heals(&self) -> Result<Duration, Error> {
        let begun = Instant::now();
        for way in self.ways() {
            let due = next_number(&way)?;
            while next_handled(&way)? <= due {
                let after = self.kills;
                ensure!(begun.elapsed() < HEALING, "a side is locked out after {after:?} kills");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(begun.elapsed())
    }

    fn ways(&self) -> [std::path::PathBuf; 2] {
        [UP, DOWN].map(|way| self.folder.path().join(way))
    }

    /// Ends both in order, once everything is handled and acknowledged: of two sides whose keys are being renewed, the one
    /// that ends first may have no connection any more on which the other one's acknowledgements could go.
    async fn settle(&mut self) -> Result<(), Error> {
        let folder = self.folder.path();
        File::create(folder.join(QUIET))?;
        let begun = Instant::now();
        for way in self.ways() {
            while next_handled(&way)? < next_number(&way)? && begun.elapsed() < PATIENCE {
                sleep(Duration::from_millis(20)).await;
            }
        }
        File::create(folder.join(HANDLED))?;
        for way in [UP, DOWN] {
            while !empty(folder, way).exists() {
                ensure!(begun.elapsed() < PATIENCE, "not everything is acknowledged: {way}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        self.sensor.finish().await?;
        self.hub.finish().await
    }

    fn print(&mut self) {
        let [median, most] = median_and_most(&mut self.times);
        let [hub, sensor] = self.kills;
        println!(
            "renewals: {hub} kills of the hub, {sensor} of the sensor; messages went on both ways \
             {median:.1} s afterwards in the median, {most:.1} s at most (bar: {HEALING:?}), {} times",
            self.times.len()
        );
    }

    fn check(&self) -> Result<(), Error> {
        let ([up, down], mut renewed, mut alarmed) = (self.ways(), 0, 0);
        let verdicts = [Verdict::of(&up)?, Verdict::of(&down)?];
        for way in [up, down] {
            let (generation, alarms) = keys(&way)?;
            renewed = renewed.max(generation);
            alarmed += alarms;
        }
        let sum = |count: fn(&Verdict) -> usize| verdicts.iter().map(count).sum::<usize>();
        println!(
            "renewals: generation {renewed} reached; {alarmed} alarms (bar: 0); {} messages \
             accepted, {} lost, {} out of order (bar: 0 each)",
            sum(|verdict| verdict.accepted),
            sum(|verdict| verdict.lost),
            sum(|verdict| verdict.disorder)
        );
        ensure!(renewed > 1, "keys were not renewed");
        ensure!(alarmed == 0, "{alarmed} alarms about honest peers");
        verdicts.iter().try_for_each(Verdict::check)
    }
}

/// Introduces a sensor to a hub, each with a file of messages and a folder of links.
fn configure(folder: &Path, url: &str) -> Result<(), Error> {
    let mut hub = ServiceConfig::new("hub", url, "127.0.0.1", &0)?;
    let mut sensor = ServiceConfig::new("sensor", "ws://localhost:1", "127.0.0.1", &0)?;
    for (config, way, role) in [(&mut hub, DOWN, Role::Hub), (&mut sensor, UP, Role::Sensor)] {
        fs::create_dir(folder.join(way))?;
        config.set_links(folder.join(format!("{}-links", role.name())))?;
        config.set_outbox(folder.join(format!("{}.sqlite", role.name())));
        quick(config);
        let settings = config.settings_mut();
        settings.renew_keys = Duration::from_secs(1);
        settings.transport.retry.refused = Duration::from_millis(500);
        settings.transport.retry.good_session = Duration::from_millis(50);
        settings.transport.timeouts.session_age = Duration::from_millis(300);
        settings.probe = Duration::from_millis(200);
    }
    sensor.add_server(hub.add_client("sensor", "127.0.0.1")?)?;
    hub.save(Role::Hub.config(folder))?;
    sensor.save(Role::Sensor.config(folder))?;
    Ok(())
}

async fn hub(folder: &Path, proxy: &FaultyProxy, instance: u64) -> Result<Process, Error> {
    let mut hub = Process::start(Role::Hub, folder, instance, None)?;
    proxy.forward_to(hub.address().await?);
    Ok(hub)
}
