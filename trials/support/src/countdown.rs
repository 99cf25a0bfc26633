//! The countdown of the examples between two services on real sockets, whose connection is cut
//! again and again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use paddington::{Control, Message, Service, ServiceConfig};
use tokio::sync::watch;

use crate::{FaultyProxy, quick};

/// The result of a countdown.
#[derive(Debug)]
pub struct Countdown {
    /// The numbers that the server and the client have heard, in order.
    pub heard: [Vec<u32>; 2],
    /// Number of times that the server has said "Blast off!".
    pub blasts: usize,
    /// Number of connections.
    pub connections: usize,
    /// Number of connections that were cut.
    pub cut: usize,
    /// Whether every message that was accepted is accounted for, on both sides.
    pub conserved: bool,
}

#[derive(Debug, Default)]
struct Heard {
    numbers: Mutex<[Vec<u32>; 2]>,
    blasts: watch::Sender<usize>,
    progress: watch::Sender<usize>,
}

const PATIENCE: Duration = Duration::from_secs(120);

/// Counts down from `from` while the connection is cut `cuts` times, evenly over the numbers, each
/// time after the pause that `pause` gives.
pub async fn count_down(from: u32, cuts: usize, mut pause: impl FnMut() -> Duration) -> Countdown {
    let (proxy, heard) = (FaultyProxy::start().await, Arc::new(Heard::default()));
    let (server, client) = start(&proxy, from, &heard).await;
    let cutting = async {
        let mut progress = heard.progress.subscribe();
        for cut in 0..cuts {
            let due = (from as usize * cut) / (cuts + 2);
            progress.wait_for(|numbers| *numbers >= due).await.unwrap();
            tokio::time::sleep(pause()).await;
            let before = proxy.connections_cut();
            while proxy.connections_cut() == before {
                proxy.cut();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        heard.blasts.subscribe().wait_for(|blasts| *blasts > 0).await.unwrap();
        // With the last acknowledgements, a repeat would have come as well.
        let settled = || [&server, &client].iter().all(|at| at.peers()[0].outbox_messages == 0);
        while !settled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // If it does not end, the numbers show it.
    let _ = tokio::time::timeout(PATIENCE, cutting).await;
    let conserved = [&server, &client].iter().all(|at| at.peers()[0].is_conserved());
    tokio::join!(client.shutdown(), server.shutdown());
    Countdown {
        heard: std::mem::take(&mut *heard.numbers.lock().unwrap()),
        blasts: *heard.blasts.borrow(),
        connections: proxy.connections(),
        cut: proxy.connections_cut(),
        conserved,
    }
}

async fn start(proxy: &FaultyProxy, from: u32, heard: &Arc<Heard>) -> (Service, Service) {
    let url = format!("ws://{}", proxy.address());
    let mut server = ServiceConfig::new("server", &url, "127.0.0.1", &0).unwrap();
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    client.add_server(server.add_client("client", "127.0.0.1").unwrap()).unwrap();
    for config in [&mut server, &mut client] {
        quick(config);
        config.settings_mut().transport.retry.interval = Duration::from_millis(20);
        config.settings_mut().transport.retry.refused = Duration::from_millis(20);
    }
    let counting = Arc::clone(heard);
    let server = Service::start(&server, move |message: Message| {
        let heard = Arc::clone(&counting);
        async move { heard.at_server(message, from).await }
    });
    let server = server.await.unwrap();
    proxy.forward_to(server.address().unwrap());
    let counting = Arc::clone(heard);
    let client = Service::start(&client, move |message: Message| {
        let heard = Arc::clone(&counting);
        async move { heard.at_client(message).await }
    });
    (server, client.await.unwrap())
}

impl Heard {
    async fn at_server(&self, message: Message, from: u32) -> Result<(), paddington::Error> {
        let (to, next) = match message.control() {
            Some(Control::Connected { agent }) => (agent.as_str(), Some(from)),
            Some(_) => return Ok(()),
            None => (message.sender(), self.note(0, &message).checked_sub(1)),
        };
        match next {
            Some(next) => drop(paddington::send(Message::new(to, next.to_string())).await?),
            None => self.blasts.send_modify(|blasts| *blasts += 1),
        }
        Ok(())
    }

    async fn at_client(&self, message: Message) -> Result<(), paddington::Error> {
        if !message.is_control() {
            self.note(1, &message);
            paddington::send(Message::new(message.sender(), message.payload())).await?;
        }
        Ok(())
    }

    fn note(&self, side: usize, message: &Message) -> u32 {
        let number = message.payload().parse().unwrap();
        self.numbers.lock().unwrap()[side].push(number);
        self.progress.send_modify(|numbers| *numbers += 1 - side);
        number
    }
}
