//! P16: a server whose peers exchange messages while others are added and removed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use paddington_bench::{Contender, Experiment, Latencies, Numbers};
use paddington_crypto::KeyPair;
use paddington_exchange::{Config, Exchange, Listen, Server, Setup, Storage, Waiting};
use paddington_transport::Fallbacks;
use paddington_wire::{
    AddressRange, Bucket, Credentials, InvitedClient, LinkId, Message, PeerName, sealed,
};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Settings, progress};

/// Number of peers that are added and removed.
const CHANGES: usize = 1_000;
/// Number of messages per second of all peers together.
const RATE: u32 = 2_000;

/// P16.
pub(crate) async fn churn(settings: &Settings) -> Result<Experiment> {
    let title = "messages of 256 B from connected peers, while 1 000 others are added and removed";
    let mut experiment = Experiment::new("P16", title, "peers", None, "p99, during / before");
    for round in 0..settings.rounds.div_ceil(2) {
        for count in settings.connections(&[1_000], 5_000) {
            progress(&format!("P16: round {}, {count} peers", round + 1));
            let numbers = measure(count, settings.seconds.max(2.0)).await?;
            experiment.add(Contender::Sealed.name(), count as f64, numbers);
        }
    }
    Ok(experiment)
}

async fn measure(count: usize, seconds: f64) -> Result<Numbers> {
    let scene = Scene::open(count).await?;
    scene.send(seconds).await?; // warms up
    let before = scene.send(seconds).await?;
    let adding = tokio::spawn(come_and_go(scene.hub.clone(), seconds));
    let during = scene.send(seconds).await?;
    let (added, removed) = adding.await??;
    let sessions: u64 = scene.hub.peers().iter().map(|peer| peer.counters.sessions).sum();
    anyhow::ensure!(sessions == count as u64, "{sessions} sessions of {count} peers");
    scene.close().await;
    Ok(Numbers::from([
        ("p99 µs before".to_owned(), before),
        ("p99 µs during".to_owned(), during),
        ("p99, during / before".to_owned(), during / before),
        ("ms to add".to_owned(), added),
        ("ms to remove".to_owned(), removed),
    ]))
}

/// Adds and removes peers, evenly over so many `seconds`. Returns the slowest of 99 % of both, in ms.
async fn come_and_go(hub: Exchange, seconds: f64) -> Result<(f64, f64)> {
    let (mut added, mut removed) = (Latencies::new()?, Latencies::new()?);
    let mut ticks = interval(Duration::from_secs_f64(seconds / CHANGES as f64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..CHANGES {
        ticks.tick().await;
        let client = invited(&format!("comes-{number}"))?.0;
        let name = client.name.clone();
        let begun = Instant::now();
        hub.add_client(client).await?;
        added.record(begun.elapsed());
        let begun = Instant::now();
        hub.remove(name.as_str(), Waiting::Refuse).await?;
        removed.record(begun.elapsed());
    }
    Ok((p99(&added)? / 1_000.0, p99(&removed)? / 1_000.0))
}

fn p99(latencies: &Latencies) -> Result<f64> {
    Ok(latencies.sample(Duration::from_secs(1)).latency.context("no latencies")?.p99)
}

/// A server and its connected clients, in one process.
struct Scene {
    hub: Exchange,
    clients: Vec<Exchange>,
    latencies: Arc<Mutex<Latencies>>,
    began: Instant,
}

impl Scene {
    async fn open(count: usize) -> Result<Self> {
        let (latencies, began) = (Arc::new(Mutex::new(Latencies::new()?)), Instant::now());
        let told = Arc::clone(&latencies);
        let hub = Exchange::start(setup("hub")?, move |message: Message| {
            let sent = message.payload().trim_end().parse().ok().map(Duration::from_nanos);
            if let Some(sent) = sent {
                let latency = began.elapsed().saturating_sub(sent);
                told.lock().unwrap_or_else(PoisonError::into_inner).record(latency);
            }
            std::future::ready(Ok::<(), std::io::Error>(()))
        })
        .await?;
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            let (client, credentials) = invited(&format!("stays-{number}"))?;
            let (name, link) = (client.name.clone(), client.link);
            hub.add_client(client).await?;
            let address = hub.address().context("the server does not listen")?;
            let endpoint = format!("ws://{address}/?b={}", Bucket::FIRST).parse()?;
            let (server, tls, renewal) = ("hub".parse()?, None, None);
            let fallbacks = Fallbacks::default();
            let server =
                Server { link, name: server, endpoint, fallbacks, credentials, tls, renewal };
            let setup = Setup { servers: vec![server], ..setup(name.as_str())? };
            clients.push(Exchange::start(setup, ignore).await?);
        }
        while !hub.peers().iter().all(paddington_exchange::PeerStatus::is_connected) {
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { hub, clients, latencies, began })
    }

    /// Lets the clients send in turn. Returns the 99th percentile of the time until a message is
    /// handled, in µs.
    async fn send(&self, seconds: f64) -> Result<f64> {
        *self.lock() = Latencies::new()?;
        let mut ticks = interval(Duration::from_secs(1) / RATE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let count = (seconds * f64::from(RATE)) as usize;
        for client in self.clients.iter().cycle().take(count) {
            ticks.tick().await;
            let sent = self.began.elapsed().as_nanos();
            client.send(Message::new("hub", format!("{sent:<256}"))).await?;
        }
        while self.lock().count() < count as u64 {
            sleep(Duration::from_millis(10)).await;
        }
        p99(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Latencies> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn close(self) {
        for client in self.clients {
            client.ask_to_shut_down_now();
        }
        self.hub.ask_to_shut_down_now();
        self.hub.finished().await;
    }
}

async fn ignore(_: Message) -> Result<(), std::io::Error> {
    Ok(())
}

fn setup(name: &str) -> Result<Setup> {
    Ok(Setup {
        name: name.parse()?,
        listen: Some(Listen {
            address: ([127, 0, 0, 1], 0).into(),
            path: "/".to_owned(),
            tls: None,
        }),
        clients: Vec::new(),
        servers: Vec::new(),
        network: paddington_transport::system(),
        store: Storage::Memory,
        key_store: None,
        config: Config::default(),
    })
}

/// Returns a client of `hub`, and its credentials.
fn invited(name: &str) -> Result<(InvitedClient, Credentials)> {
    let (server, name): (PeerName, PeerName) = ("hub".parse()?, name.parse()?);
    let (keys, range): (_, AddressRange) = (KeyPair::generate()?, "127.0.0.0/8".parse()?);
    let link = LinkId::of(&server, &name, &keys);
    let secrets = Arc::new(sealed::Credentials::new(&server, &name, &keys));
    let credentials = Credentials::Sealed(secrets);
    let bucket = Some(Bucket::FIRST);
    Ok((InvitedClient { link, name, range, bucket, credentials: credentials.clone() }, credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_few_peers_exchange_messages_while_others_come_and_go() {
        let numbers = measure(3, 0.2).await.unwrap();
        assert!(numbers["p99 µs during"] > 0.0 && numbers["ms to add"] > 0.0, "{numbers:?}");
    }
}
