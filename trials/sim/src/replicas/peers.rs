//! The peers of the service: clients, which dial it, and a server, which it dials.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, bail};
use paddington::{Exchange, Handler, Message};
use paddington_exchange::{Listen, Setup, Storage};
use tokio::time::sleep;

use super::balancer::{Balanced, Dialler};
use super::world::{HUB, PORT, World, peer_name};

/// One message of a peer in so many hundred begins a burst of up to so many others, which wait at the replica
/// that has the peer: what happens to it then happens while it has more to handle.
const BURSTS: usize = 4;
const BURST: usize = 20;

/// The address of a peer.
pub(crate) fn address(peer: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, 1 + peer as u8)
}

impl World {
    /// Starts the process of a peer.
    pub(crate) async fn start_peer(self: &Arc<Self>, peer: usize) -> Result<Exchange, Error> {
        self.start(peer, 3_000 + peer as u64, self.peer_handler(peer)).await
    }

    /// Starts a second process with the invitation of a client.
    pub(crate) async fn start_second(self: &Arc<Self>, peer: usize) -> Result<Exchange, Error> {
        let world = Arc::clone(self);
        let handler = move |message: Message| {
            let world = Arc::clone(&world);
            async move {
                if !message.is_control() {
                    world.ledger.failed(format_args!("a second process of {peer} got a message"));
                }
                Ok::<(), Error>(())
            }
        };
        self.start(peer, 4_000 + self.ledger.now().as_secs(), handler).await
    }

    async fn start(
        self: &Arc<Self>,
        peer: usize,
        purpose: u64,
        handler: impl Handler,
    ) -> Result<Exchange, Error> {
        let (link, random) = (&self.links[peer], self.random(purpose));
        let network = Balanced::network(self, address(peer).into(), Dialler::Peer, random);
        let is_client = peer < self.plan.clients;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let listen = (!is_client).then(|| Listen { address: at, path: "/".to_owned(), tls: None });
        let setup = Setup {
            name: peer_name(peer).parse()?,
            listen,
            clients: if is_client { Vec::new() } else { vec![link.invited()] },
            servers: if is_client { vec![link.server_at(PORT)] } else { Vec::new() },
            network,
            store: Storage::Memory,
            key_store: None,
            config: self.settings(),
        };
        Ok(Exchange::start(setup, handler).await?)
    }

    fn peer_handler(self: &Arc<Self>, peer: usize) -> impl Handler + use<> {
        let world = Arc::clone(self);
        move |message: Message| {
            let world = Arc::clone(&world);
            async move {
                if message.is_control() {
                    return Ok(());
                }
                if message.is_request() {
                    return world.answer(peer, &message).await;
                }
                let Ok(number) = message.payload().parse::<usize>() else {
                    world.ledger.failed(format_args!("to {peer} came {:?}", message.payload()));
                    return Ok(());
                };
                let mut random = world.random((peer as u64 + 1) << 40 | number as u64);
                let good = !random.percent(5);
                world.ledger.arrived(peer, number, message.id(), good);
                if random.coin() {
                    sleep(random.up_to(Duration::from_millis(50))).await;
                }
                if !good {
                    bail!("it is bad");
                }
                Ok(())
            }
        }
    }

    /// Sends messages of a peer.
    pub(crate) async fn send_from(self: Arc<Self>, peer: usize, exchange: Exchange) {
        let mut random = self.random(5_000 + peer as u64);
        let mut burst = 0;
        while !self.is_calm() {
            if burst > 0 {
                burst -= 1;
            } else if random.percent(BURSTS) {
                burst = random.below(BURST);
            } else if random.percent(40) {
                let pause = random.up_to(Duration::from_millis(2_500));
                tokio::select! {
                    biased;
                    () = self.hurry.notified() => burst = BURST,
                    () = sleep(pause) => {}
                }
            }
            let number = self.ledger.offer_from(peer);
            let sent = exchange.send(Message::new(HUB, number.to_string())).await;
            let receipt = match sent {
                Ok(receipt) => receipt,
                Err(cause) => {
                    self.ledger.failed(format_args!("from {peer}: {number}: {cause}"));
                    return;
                }
            };
            self.ledger.accepted_from(peer, number);
            let world = Arc::clone(&self);
            tokio::spawn(async move {
                let delivered = receipt.await;
                world.ledger.settled_from(peer, number, delivered);
            });
        }
    }
}
