//! The collector, which stores each reading once.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Error, bail};
use paddington::{Message, Service, ServiceConfig};
use tracing::info;

use crate::readings::Readings;

/// The message that the sensor sends after its last reading.
pub(crate) const DONE: &str = "done";

/// Stores the readings that arrive, until the sensor is done.
pub(crate) async fn run() -> Result<(), Error> {
    let config = ServiceConfig::load("collector.toml")
        .context("cannot load collector.toml: run `introduce` first")?;
    let readings =
        Readings::open(Path::new("readings")).context("cannot open the file `readings`")?;
    info!("collector: {} readings are stored already", readings.count());
    let readings = Arc::new(Mutex::new(readings));
    let (told, mut done) = tokio::sync::mpsc::channel(1);
    let service = Service::start(&config, move |message: Message| {
        let (readings, told) = (Arc::clone(&readings), told.clone());
        async move {
            if message.is_control() {
                info!("collector: {message}");
            } else if message.payload() == DONE {
                let _ = told.try_send(()); // once is enough
            } else {
                store(&readings, &message).await?;
            }
            Ok::<(), Error>(())
        }
    })
    .await?;
    done.recv().await;
    let report = service.shutdown().await;
    if !report.is_clean() {
        bail!("the shutdown was not clean: {report:?}");
    }
    Ok(())
}

/// Stores a reading, unless one with its number is stored already. A reading arrives twice if this
/// process was killed before it had acknowledged a stored reading, or if the sensor was killed
/// before it had noted an accepted one.
async fn store(readings: &Arc<Mutex<Readings>>, message: &Message) -> Result<(), Error> {
    let (readings, reading) = (Arc::clone(readings), message.payload().to_owned());
    let redelivered = message.redelivered();
    // waiting for the disk blocks the thread, which a handler must not do
    tokio::task::spawn_blocking(move || {
        let mut readings = readings.lock().unwrap_or_else(PoisonError::into_inner);
        if readings.store(&reading)? {
            info!("collector: stored reading {}", readings.count());
        } else {
            info!("collector: reading {reading} was stored before (redelivered: {redelivered})");
        }
        Ok(())
    })
    .await?
}
