//! The peers of a service of two replicas, in this process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use paddington::{Control, Error, Message, Service};
use paddington_instructions::COUNT;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::replica::Arrivals;
use super::site::Site;
use crate::Sample;
use crate::durable::LEN;
use crate::ours::{SERVER, SourceNetwork, client};
use crate::rate::{Pace, rate};
use crate::stamp::{now, stamped};

/// How long everything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// Peers that are connected.
#[derive(Debug)]
pub struct Peers {
    services: Arc<[Service]>,
    arrivals: Arrivals,
}

impl Site {
    /// Connects the first `count` peers, to the second replica.
    ///
    /// # Errors
    ///
    /// If they cannot connect.
    pub async fn peers(&self, count: usize) -> Result<Peers> {
        let address = self.second();
        let arrivals = Arrivals::new()?;
        let connected = watch::Sender::new(0);
        let services = (0..count).map(|number| {
            let (arrivals, connected) = (arrivals.clone(), connected.clone());
            async move {
                let config = client(self.folder.path(), number, address)?;
                let network = Arc::new(SourceNetwork::numbered(number));
                let handler = move |message: Message| {
                    match message.control() {
                        Some(Control::Connected { .. }) => connected.send_modify(|it| *it += 1),
                        Some(_) => {}
                        None => arrivals.record(&message),
                    }
                    std::future::ready(Ok::<(), Error>(()))
                };
                Ok::<_, anyhow::Error>(Service::start_on(network, &config, handler).await?)
            }
        });
        let services = try_join_all(services).await?.into();
        let all = connected.subscribe().wait_for(|it| *it >= count).await.map(drop);
        all.context("not all peers are connected")?;
        Ok(Peers { services, arrivals })
    }
}

impl Peers {
    /// Waits until so many messages have arrived.
    pub(super) async fn all(&self, count: u64) -> Result<Sample> {
        let arrive = async {
            while self.arrivals.count() < count {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, arrive).await.context("messages are missing")?;
        Ok(self.arrivals.take()?.sample(Duration::from_secs(1)))
    }

    pub(super) async fn send(&self, pace: Pace) -> Result<Sample> {
        let services = Arc::clone(&self.services);
        rate(pace, move |sender| {
            let services = Arc::clone(&services);
            async move {
                let text = stamped(COUNT, LEN, now());
                services[sender].send(Message::new(SERVER, text)).await?;
                Ok(())
            }
        })
        .await
    }

    /// Ends the peers.
    pub async fn close(self) {
        for service in &*self.services {
            service.shutdown().await;
        }
    }
}
