//! A replica that is killed: how long its peer waits for another one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use paddington::{Error, Invite, Message, Service, ServiceConfig};
use paddington_instructions::PING;
use tokio::time::sleep;

use super::site::Site;
use crate::durable::LEN;
use crate::ours::{SERVER, SourceNetwork, client_name};
use crate::stamp::{now, stamped};
use crate::{Latencies, Sample};

/// The shortest time between the start of a replica and the next kill, and the steps by which it grows:
/// kills fall anywhere between two beats.
const SETTLE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(53);

impl Site {
    /// Kills the replica that has the first peer, again and again, and starts it anew each time. Each time
    /// the peer sends a message at once. Measured is the time from before the kill until the other
    /// replica's handler is called.
    ///
    /// # Errors
    ///
    /// If a message does not arrive.
    pub async fn kills(mut self, count: usize) -> Result<Sample> {
        let invite = Invite::load(self.folder.path().join("0.toml"))?;
        let mut config = ServiceConfig::new(&client_name(0), "ws://localhost:1", "127.0.0.1", &0)?;
        config.add_server(invite)?;
        // each kill is the first after a good session
        config.settings_mut().transport.retry.good_session = Duration::from_millis(1);
        let network = Arc::new(SourceNetwork::numbered(0));
        let peer = Service::start_on(network, &config, async |_| Ok::<(), Error>(())).await?;
        let ping = || Message::new(SERVER, stamped(PING, LEN, now()));
        peer.send(ping()).await?;
        let mut owner = 0;
        let _handled: u64 = self.replicas[owner].hear().await?;
        let mut arrivals = Latencies::new()?;
        for kill in 0..count {
            // at any time between two beats
            sleep(SETTLE + STEP.mul_f64((kill % 10) as f64)).await;
            let began = now();
            self.replicas[owner].kill_now().await?;
            peer.send(ping()).await?;
            let handled: u64 = self.replicas[1 - owner].hear().await?;
            arrivals.record(Duration::from_nanos(handled.saturating_sub(began)));
            self.replace(owner).await?;
            owner = 1 - owner;
        }
        peer.shutdown().await;
        self.close().await?;
        Ok(arrivals.sample(Duration::from_secs(1)))
    }
}
