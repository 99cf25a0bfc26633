//! A service with its outbox in a file, compared with the store alone: P9.

use std::time::Duration;

use anyhow::Result;
use paddington_bench::{Experiment, Numbers, Sample, service_rate, store_rate};
use tempfile::TempDir;

use super::{Settings, progress};

/// P9. The files are in the system's temporary folder, on a disk, because syncs are measured.
pub(crate) async fn durable(settings: &Settings) -> Result<Experiment> {
    let title = "messages of 256 B accepted and synced, by number of senders";
    let mut experiment = Experiment::new("P9", title, "senders", Some("the store alone"), "per s");
    let lasting = Duration::from_secs_f64(settings.seconds);
    for round in 0..settings.rounds {
        progress(&format!("P9: round {} of {}", round + 1, settings.rounds));
        for senders in [1, 64] {
            let folder = TempDir::new()?;
            let sample = service_rate(folder.path(), senders, lasting).await?;
            experiment.add("paddington", senders as f64, per_second(&sample));
            let folder = TempDir::new()?;
            let sample = store_rate(folder.path(), senders, 1, lasting).await?;
            experiment.add("the store alone", senders as f64, per_second(&sample));
        }
    }
    Ok(experiment)
}

fn per_second(sample: &Sample) -> Numbers {
    Numbers::from([("per s".to_owned(), sample.rate())])
}
