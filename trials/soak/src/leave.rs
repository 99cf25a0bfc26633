//! Shutdowns under load, with outboxes in memory (`docs/delivery.md` §8): whichever side leaves,
//! everything that it has accepted is handled, in time, as long as its peers run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Error, ensure};
use paddington::{Handler, Message, SendError, Service, ServiceConfig};
use paddington_test_support::Random;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::in_real_time;
use crate::services::settle;

const ROUNDS: usize = 10;
const SHORT_ROUNDS: usize = 1;
const PEERS: usize = 4;
/// The longest time under load.
const LOAD: Duration = Duration::from_secs(2);
/// Time that the handler takes for one message in a hundred.
const HANDLER: Duration = Duration::from_millis(10);
/// Number of messages that are sent without a pause, and the pause.
const BURST: usize = 50;
const PACE: Duration = Duration::from_millis(1);
/// The length of a message.
const LEN: usize = 500;

pub(crate) fn run(mut random: Random, short: bool) -> Result<(), Error> {
    let rounds = if short { SHORT_ROUNDS } else { ROUNDS };
    for who in [Leaver::Client, Leaver::Server] {
        let (mut messages, mut longest) = (0, Duration::ZERO);
        for _ in 0..rounds {
            let (sent, took) = in_real_time(trial(random.fork(), who))?;
            messages += sent;
            longest = longest.max(took);
        }
        let budget = budget();
        println!(
            "shutdown: {who:?} leaves under load, {rounds} times: {messages} messages, 0 lost (bar: \
             0), {longest:.1?} at most (bar: {budget:?})"
        );
    }
    Ok(())
}

/// Time for the handlers, the outboxes and the connections to end.
fn budget() -> Duration {
    let settings = paddington::Config::default();
    2 * settings.drain + settings.transport.timeouts.close
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaver {
    Client,
    Server,
}

/// Counts messages that are handled.
#[derive(Clone, Debug, Default)]
struct Counter {
    handled: Arc<AtomicUsize>,
}

impl Counter {
    fn count(&self) -> usize {
        self.handled.load(Ordering::Relaxed)
    }

    fn handler(&self) -> impl Handler + use<> {
        let handled = Arc::clone(&self.handled);
        move |message: Message| {
            let handled = Arc::clone(&handled);
            async move {
                if message.is_control() {
                    return Ok::<(), Error>(());
                }
                if message.id().is_some_and(|id| id.number.is_multiple_of(100)) {
                    sleep(HANDLER).await;
                }
                handled.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

/// A server, its clients, and what both sides have handled.
struct Scene {
    server_config: ServiceConfig,
    client_configs: Vec<ServiceConfig>,
    server: Service,
    clients: Vec<Service>,
    at_server: Counter,
    at_clients: Counter,
}

impl Scene {
    async fn start() -> Result<Self, Error> {
        let (at_server, at_clients) = (Counter::default(), Counter::default());
        // The server is started again at the same address.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let url = format!("ws://127.0.0.1:{port}");
        let mut server_config = ServiceConfig::new("server", &url, "127.0.0.1", &port)?;
        server_config.settings_mut().transport.limits.pending_per_address = PEERS;
        let mut client_configs = Vec::new();
        for peer in 0..PEERS {
            let name = format!("client-{peer}");
            let mut config = ServiceConfig::new(&name, "ws://localhost:1", "127.0.0.1", &0)?;
            config.add_server(server_config.add_client(&name, "127.0.0.1")?)?;
            client_configs.push(config);
        }
        let server = Service::start(&server_config, at_server.handler()).await?;
        let mut clients = Vec::new();
        for config in &client_configs {
            clients.push(Service::start(config, at_clients.handler()).await?);
        }
        Ok(Self { server_config, client_configs, server, clients, at_server, at_clients })
    }

    /// Makes the server and every client send to each other.
    fn load(&self) -> JoinSet<Result<(), Error>> {
        let mut senders = JoinSet::new();
        for client in &self.clients {
            senders.spawn(send(client.clone(), "server".to_owned()));
            senders.spawn(send(self.server.clone(), client.name().to_owned()));
        }
        senders
    }

    /// Shuts one service down and starts it again. Returns the time that the shutdown took, and the
    /// service that has left.
    async fn leave(&mut self, who: Leaver) -> Result<(Duration, Service), Error> {
        let place = match who {
            Leaver::Server => &mut self.server,
            Leaver::Client => &mut self.clients[0],
        };
        let leaver = place.clone();
        let begun = Instant::now();
        let report = leaver.shutdown().await;
        let took = begun.elapsed();
        ensure!(report.is_clean(), "the service that left says: {report:?}");
        *place = match who {
            Leaver::Server => Service::start(&self.server_config, self.at_server.handler()).await?,
            Leaver::Client => {
                Service::start(&self.client_configs[0], self.at_clients.handler()).await?
            }
        };
        Ok((took, leaver))
    }

    /// Compares what was accepted with what was handled, on both sides and in all instances.
    async fn settle(&self, who: Leaver, left: &Service) -> Result<usize, Error> {
        settle(&self.clients.iter().chain([&self.server]).collect::<Vec<_>>()).await?;
        let accepted = |services: &[&Service]| -> Result<usize, Error> {
            let mut sum = 0;
            for peer in services.iter().flat_map(|service| service.peers()) {
                ensure!(peer.is_conserved(), "a message is not accounted for");
                sum += usize::try_from(peer.counts.map_or(0, |counts| counts.accepted))?;
            }
            Ok(sum)
        };
        let (mut servers, mut clients) = (vec![&self.server], Vec::from_iter(&self.clients));
        if who == Leaver::Server {
            servers.push(left);
        } else {
            clients.push(left);
        }
        let (to_server, to_clients) = (accepted(&clients)?, accepted(&servers)?);
        let (at_server, at_clients) = (self.at_server.count(), self.at_clients.count());
        ensure!(at_server == to_server, "{at_server} of {to_server} handled at the server");
        ensure!(at_clients == to_clients, "{at_clients} of {to_clients} handled at the clients");
        Ok(to_server + to_clients)
    }
}

/// Sends as much as the outbox takes, until the service shuts down.
async fn send(service: Service, to: String) -> Result<(), Error> {
    loop {
        for _ in 0..BURST {
            match service.send(Message::new(to.as_str(), "x".repeat(LEN))).await {
                Ok(_) | Err(SendError::Full { .. }) => {}
                Err(SendError::ShuttingDown) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        sleep(PACE).await;
    }
}

async fn trial(mut random: Random, who: Leaver) -> Result<(usize, Duration), Error> {
    let mut scene = Scene::start().await?;
    let mut load = scene.load();
    sleep(LOAD / 2 + random.up_to(LOAD / 2)).await;
    let (took, left) = scene.leave(who).await?;
    load.shutdown().await;
    let messages = scene.settle(who, &left).await?;
    let budget = budget();
    ensure!(took <= budget, "it took {took:?} to leave, and has {budget:?}");
    for service in scene.clients.iter().chain([&scene.server]) {
        service.shutdown().await;
    }
    Ok((messages, took))
}
