//! The sensor, which takes readings whether the collector is connected or not.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, bail};
use paddington::{Delivered, Message, Service, ServiceConfig};
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::collector::DONE;

/// The file that holds the number of readings that were taken and accepted.
const TAKEN: &str = "taken";

/// Takes readings until there are `count`, and then waits until the collector has handled all.
pub(crate) async fn run(count: u64, every: Duration) -> Result<(), Error> {
    let config = ServiceConfig::load("sensor.toml")
        .context("cannot load sensor.toml: run `introduce` first")?;
    let service = Service::start(&config, async |message: Message| {
        info!("sensor: {message}");
        Ok::<(), Error>(())
    })
    .await?;
    let mut clock = interval(every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in taken()? + 1..=count {
        clock.tick().await;
        let reading = format!("{number} {:.1}", temperature(number));
        service.send(Message::new("collector", reading)).await?;
        // the reading is safe now. If this process is killed before it has noted that, it takes the
        // reading again, with the same number
        note(number)?;
        info!("sensor: took reading {number}");
    }
    let receipt = service.send(Message::new("collector", DONE)).await?;
    match receipt.await {
        Delivered::Handled => info!("sensor: the collector has everything"),
        other => bail!("the collector did not get everything: {other:?}"),
    }
    service.shutdown().await;
    Ok(())
}

fn temperature(number: u64) -> f64 {
    20.0 + (number as f64 / 50.0).sin()
}

fn taken() -> Result<u64, Error> {
    match fs::read_to_string(TAKEN) {
        Ok(text) => text.trim().parse().context("the file `taken` holds no number"),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).context("cannot read the file `taken`"),
    }
}

/// Writes the number to a second file and renames that, so that `taken` is always complete.
fn note(number: u64) -> Result<(), Error> {
    let next = Path::new("taken.next");
    fs::write(next, number.to_string())?;
    fs::rename(next, TAKEN).context("cannot write the file `taken`")
}
