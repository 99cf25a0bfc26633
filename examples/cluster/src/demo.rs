//! The demo: a database, two replicas, a peer, and what goes wrong.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, bail};
use paddington::{Cluster, Message, Service};
use paddington_test_support::{PostgresServer, free_port};
use tokio::time::sleep;

use crate::faults::{Fault, Faults};
use crate::introduction::introduce;
use crate::proof::Way;
use crate::replicas::{Replicas, Sent};

/// The shortest lease that there is.
const LEASE: Duration = Duration::from_secs(4);
/// The time between two messages.
const PAUSE: Duration = Duration::from_millis(3);
/// How long everything may take to be handled after the last fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the sensor has handled.
type Arrived = Arc<Mutex<Vec<(u64, bool)>>>;

/// Runs everything for some `time`, with a fault `every` now and then, and proves that nothing got lost.
pub(crate) async fn run(time: Duration, every: Duration, faults: Faults) -> Result<(), Error> {
    let Some(database) = tokio::task::spawn_blocking(PostgresServer::start).await? else {
        println!("skipped: PostgreSQL is not installed");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let ports = [free_port(), free_port()];
    let urls = ports.map(|port| format!("ws://127.0.0.1:{port}"));
    let cluster = Cluster::new(&database.url())?.with_lease(LEASE)?;
    let introduced = introduce(cluster, &[&urls[0], &urls[1]], 1)?;
    introduced.save(folder.path())?;
    println!("one PostgreSQL, two replicas of hub, one sensor");
    let mut replicas = Replicas::start(&folder.path().join("hub.toml"), &ports).await?;
    let arrived = Arrived::default();
    let keep = Arc::clone(&arrived);
    let sensor = Service::start(&introduced.sensors[0], move |message: Message| {
        if let (false, Ok(number)) = (message.is_control(), message.payload().parse()) {
            lock(&keep).push((number, message.redelivered()));
        }
        async { Ok::<(), std::io::Error>(()) }
    })
    .await?;
    let (mut out, mut back) = (Way::default(), Way::default());
    let (count, losses) =
        rage(&mut replicas, &sensor, &database, (time, every, faults), (&mut out, &mut back))
            .await?;
    settle(&mut replicas, &arrived, &mut out, &mut back).await?;
    sensor.shutdown().await;
    replicas.end().await?;
    drop(database);
    // The sensor, which lives, handles nothing twice. A replica that is lost may leave the one message behind that
    // it was handling: each is acknowledged at once, since the next one comes later.
    out.check("hub to sensor", 0)?;
    let repeats = back.check("sensor to hub", losses)?;
    println!("{count} faults, {losses} of which cost a replica its lease or its life");
    println!(
        "hub to sensor: {} accepted, {} unsure, all accepted handled once, in order",
        out.accepted.len(),
        out.unsure.len()
    );
    println!(
        "sensor to hub: {} accepted, all handled in order, {repeats} of them again after a replica had gone, each \
         marked (at most {losses} may be)",
        back.accepted.len()
    );
    Ok(())
}

/// Sends in both directions while things go wrong. Returns the number of faults, and of those by which a replica
/// was lost.
async fn rage(
    replicas: &mut Replicas,
    sensor: &Service,
    database: &PostgresServer,
    (time, every, faults): (Duration, Duration, Faults),
    (out, back): (&mut Way, &mut Way),
) -> Result<(usize, usize), Error> {
    let begun = Instant::now();
    let (mut count, mut losses, mut next, mut number) = (0, 0, every, 0);
    let mut faults = faults.all();
    let mut mends: Vec<(Instant, usize, Fault)> = Vec::new();
    while begun.elapsed() < time || !mends.is_empty() {
        number += 1;
        let slot = (number % 2) as usize;
        let is_stopped = mends.iter().any(|(_, of, fault)| *of == slot && *fault != Fault::Kill);
        if !is_stopped {
            match replicas.send(slot, number).await {
                Sent::Accepted => out.accepted.push(number),
                Sent::Unsure => out.unsure.push(number),
                Sent::Refused => {}
            }
        }
        if sensor.send(Message::new("hub", number.to_string())).await.is_ok() {
            back.accepted.push(number);
        }
        let (due, waiting) = mends.into_iter().partition(|(at, ..)| *at <= Instant::now());
        mends = waiting;
        for (_, slot, fault) in due {
            match fault {
                Fault::Kill => replicas.begin(slot).await?,
                _ => replicas.signal(slot, "-CONT").await?,
            }
            next = begun.elapsed() + every; // so that the replica is seen to go on
        }
        if begun.elapsed() >= next && begun.elapsed() < time && mends.is_empty() {
            next = begun.elapsed() + every;
            count += 1;
            let slot = count / 2 % 2;
            let Some(fault) = faults.next() else { break };
            losses += usize::from(fault.is_loss());
            tracing::info!(?fault, replica = slot, "fault");
            mends.extend(strike(fault, slot, replicas, sensor, database).await?);
        }
        sleep(PAUSE).await;
    }
    Ok((count, losses))
}

/// Makes something go wrong. Returns when and how it is mended.
async fn strike(
    fault: Fault,
    slot: usize,
    replicas: &mut Replicas,
    sensor: &Service,
    database: &PostgresServer,
) -> Result<Option<(Instant, usize, Fault)>, Error> {
    let mended_after = match fault {
        Fault::Kill => {
            replicas.kill(slot).await?;
            Duration::from_secs(1)
        }
        Fault::LongPause | Fault::ShortPause => {
            replicas.signal(slot, "-STOP").await?;
            if fault == Fault::LongPause { LEASE + Duration::from_secs(2) } else { LEASE / 8 }
        }
        Fault::Move => {
            sensor.exchange().disconnect("hub").await.context("cannot disconnect")?;
            return Ok(None);
        }
        Fault::Database => {
            database.crash();
            database.resume();
            return Ok(None);
        }
    };
    Ok(Some((Instant::now() + mended_after, slot, fault)))
}

/// Waits until everything that was accepted is handled.
async fn settle(
    replicas: &mut Replicas,
    arrived: &Arrived,
    out: &mut Way,
    back: &mut Way,
) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        out.handled.clone_from(&lock(arrived));
        back.handled.clone_from(&replicas.handled());
        let missing = (out.missing(), back.missing());
        if missing == (None, None) {
            break;
        }
        if begun.elapsed() > PATIENCE {
            bail!("still missing after {PATIENCE:?}: {missing:?}");
        }
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(1)).await; // what comes too often comes by now
    out.handled.clone_from(&lock(arrived));
    back.handled.clone_from(&replicas.handled());
    Ok(())
}

fn lock(arrived: &Arrived) -> std::sync::MutexGuard<'_, Vec<(u64, bool)>> {
    arrived.lock().unwrap_or_else(PoisonError::into_inner)
}
