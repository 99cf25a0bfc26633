//! The configurations of the hub and of its sensors.

use std::path::Path;

use anyhow::{Context, Error};
use paddington::{Cluster, ServiceConfig};

/// The hub and its sensors, before anything runs.
pub(crate) struct Introduced {
    pub(crate) hub: ServiceConfig,
    pub(crate) sensors: Vec<ServiceConfig>,
}

/// Makes a hub of several replicas, which sensors reach at these URLs: those of the replicas, or that of a load
/// balancer in front of them.
pub(crate) fn introduce(
    cluster: Cluster,
    urls: &[&str],
    sensors: usize,
) -> Result<Introduced, Error> {
    let (first, others) = urls.split_first().context("a hub needs a URL")?;
    let mut hub = ServiceConfig::new("hub", first, "127.0.0.1", &6501)?;
    hub.set_fallback_urls(others)?;
    hub.set_cluster(cluster)?;
    let sensors = (1..=sensors).map(|number| {
        let name = format!("sensor-{number}");
        let mut sensor = ServiceConfig::new(&name, "ws://localhost:1", "127.0.0.1", &1)?;
        sensor.add_server(hub.add_client(&name, "127.0.0.1")?)?;
        Ok(sensor)
    });
    let sensors = sensors.collect::<Result<_, Error>>()?;
    Ok(Introduced { hub, sensors })
}

impl Introduced {
    /// Writes hub.toml and sensor-1.toml, sensor-2.toml, … into a folder.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), Error> {
        self.hub.save(folder.join("hub.toml")).context("cannot write hub.toml")?;
        for sensor in &self.sensors {
            let file = folder.join(format!("{}.toml", sensor.name()));
            sensor.save(&file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}
