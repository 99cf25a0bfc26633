//! Messages between a service of two replicas and its peers.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::database::{Database, note};
use super::peers::Peers;
use super::replica::Order;
use super::site::Site;
use crate::rate::Pace;
use crate::{CpuClock, Numbers, Sample, cpu_time};

/// Time after which nothing is written any more of what was sent before.
const SETTLE: Duration = Duration::from_millis(500);

/// Who sends the messages of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The first replica, while the peers are connected to the second one.
    FromAway,
    /// The peers, to the replica that they are connected to.
    FromPeers,
}

/// Messages between a service of two replicas and its peers.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Who sends them.
    pub direction: Direction,
    /// How many of them; each sender has a peer of its own.
    pub pace: Pace,
}

impl Site {
    /// Measures messages: from the moment at which one is sent until its handler is called.
    ///
    /// # Errors
    ///
    /// If one of them is lost.
    pub async fn flow(
        &mut self,
        flow: Flow,
        peers: &Peers,
        database: &Database,
    ) -> Result<Numbers> {
        sleep(SETTLE).await;
        let _warm: Sample = self.replicas[1].ask(&Order::Heard).await?;
        let [away, owner] = [self.replicas[0].id()?, self.replicas[1].id()?];
        let before = (cpu_time(&[away])?, cpu_time(&[owner])?);
        let (usage, clock) = (database.usage().await?, CpuClock::start(&[away, owner])?);
        let (accepted, arrived) = match flow.direction {
            Direction::FromAway => {
                let accepted: Sample = self.replicas[0].ask(&Order::Send(flow.pace)).await?;
                (accepted, peers.all(accepted.count).await?)
            }
            Direction::FromPeers => {
                let accepted = peers.send(flow.pace).await?;
                sleep(SETTLE).await;
                (accepted, self.replicas[1].ask(&Order::Heard).await?)
            }
        };
        sleep(SETTLE).await;
        let (cpu, wal) = database.usage().await?.since(usage);
        let whole = clock.complete(Sample { seconds: accepted.seconds, ..arrived })?;
        let count = accepted.count.max(1) as f64;
        ensure!(arrived.count == accepted.count, "{} of {count} have arrived", arrived.count);
        let each = |process, before| {
            let used = cpu_time(&[process])?.saturating_sub(before);
            Ok::<f64, anyhow::Error>(1e6 * used.as_secs_f64() / count)
        };
        let mut numbers = Sample { cpu: whole.cpu + cpu.as_secs_f64(), ..whole }.numbers();
        note(&mut numbers, &accepted, cpu, wal);
        numbers.insert("CPU µs each, sending replica".to_owned(), each(away, before.0)?);
        numbers.insert("CPU µs each, owner".to_owned(), each(owner, before.1)?);
        let commit = accepted.latency.map_or(0.0, |latency| latency.p50);
        if flow.direction == Direction::FromAway {
            numbers.insert("accepted, p50 µs".to_owned(), commit);
            let p50 = arrived.latency.map_or(0.0, |latency| latency.p50);
            numbers.insert("p50 / accepted".to_owned(), p50 / commit);
        }
        Ok(numbers)
    }

    /// Measures what all of it uses while nothing is sent, in ms of processor time a second.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub async fn silence(&self, database: &Database, lasting: Duration) -> Result<Numbers> {
        sleep(SETTLE).await;
        let before = database.usage().await?;
        let owner = self.replicas[1].id()?;
        let cpu = cpu_time(&[owner])?;
        sleep(lasting).await;
        let (of_database, wal) = database.usage().await?.since(before);
        let of_owner = cpu_time(&[owner])?.saturating_sub(cpu);
        let ms = |time: Duration| 1e3 * time.as_secs_f64() / lasting.as_secs_f64();
        Ok(Numbers::from([
            ("PostgreSQL's CPU ms a second".to_owned(), ms(of_database)),
            ("a replica's CPU ms a second".to_owned(), ms(of_owner)),
            ("WAL B a second".to_owned(), wal as f64 / lasting.as_secs_f64()),
        ]))
    }
}
