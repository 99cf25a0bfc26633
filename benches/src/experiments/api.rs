//! The local API, compared with the service that it belongs to: P12.

use std::time::Duration;

use anyhow::Result;
use paddington_bench::{Experiment, Numbers, Way, api_rate};

use super::{Settings, folder, progress};

/// P12.
pub(crate) async fn api(settings: &Settings) -> Result<Experiment> {
    let title = "messages of 256 B through the local API, in batches of 100 on one connection";
    let mut experiment = Experiment::new("P12", title, "batch", Some("embedded"), "per s");
    let lasting = Duration::from_secs_f64(settings.seconds);
    for round in 0..settings.rounds {
        progress(&format!("P12: round {} of {}", round + 1, settings.rounds));
        for (name, way) in
            [("embedded", Way::Embedded), ("paddington", Way::Api), ("axum echo", Way::Echo)]
        {
            let rate = api_rate(way, folder()?.path(), lasting).await?;
            experiment.add(name, 100.0, Numbers::from([("per s".to_owned(), rate)]));
        }
    }
    Ok(experiment)
}
