//! A replica as a process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use paddington::{Error, Message, Service, ServiceConfig};
use paddington_instructions::{COUNT, PING};
use serde::{Deserialize, Serialize};

use crate::durable::LEN;
use crate::ours::client_name;
use crate::rate::{Pace, rate};
use crate::stamp::{now, stamp, stamped};
use crate::{Latencies, read_commands, tell};

/// A command to a replica.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Sends messages, each sender to a peer of its own, and answers how long it took until they were
    /// accepted, as a [`Sample`](crate::Sample).
    Send(Pace),
    /// Answers how long messages of peers took until their handler was called, since it was asked last.
    Heard,
}

/// The latencies of messages that say when they were sent.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals(Arc<Mutex<Latencies>>);

impl Arrivals {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Latencies::new()?))))
    }

    /// Records a message, if it says when it was sent.
    pub(crate) fn record(&self, message: &Message) {
        if let Some(sent) = stamp(message.payload().as_bytes()) {
            let latency = Duration::from_nanos(now().saturating_sub(sent));
            self.0.lock().unwrap_or_else(PoisonError::into_inner).record(latency);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count()
    }

    /// Takes what was recorded.
    pub(crate) fn take(&self) -> Result<Latencies> {
        let mut latencies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *latencies, Latencies::new()?))
    }
}

/// The file with the configuration of all replicas, in a folder.
pub(crate) fn configuration(folder: &Path) -> PathBuf {
    folder.join("hub.toml")
}

/// Runs a replica until it is told to end. It tells when a message that begins with [`PING`] is handled.
///
/// # Errors
///
/// If it cannot start.
pub async fn run_replica(folder: &Path, port: u16) -> Result<()> {
    let mut config = ServiceConfig::load(configuration(folder))?;
    config.set_port(port);
    let arrivals = Arrivals::new()?;
    let heard = arrivals.clone();
    let service = Service::start(&config, move |message: Message| {
        match message.payload().as_bytes().first() {
            Some(&COUNT) => heard.record(&message),
            Some(&PING) => drop(tell(&now())),
            _ => {}
        }
        std::future::ready(Ok::<(), Error>(()))
    })
    .await?;
    tell(&port)?;
    let mut orders = read_commands();
    while let Some(order) = orders.recv().await {
        match serde_json::from_str(&order)? {
            Order::Send(pace) => {
                let service = service.clone();
                let sent = rate(pace, move |sender| {
                    let service = service.clone();
                    async move {
                        let text = stamped(COUNT, LEN, now());
                        service.send(Message::new(client_name(sender), text)).await?;
                        Ok(())
                    }
                });
                tell(&sent.await?)?;
            }
            Order::Heard => tell(&arrivals.take()?.sample(Duration::from_secs(1)))?,
        }
    }
    service.shutdown().await;
    Ok(())
}
