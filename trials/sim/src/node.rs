//! A host and all instances of its service, which sends, handles and is watched.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paddington::{Event, Exchange, Handler, Message, OnError, PeerStatus, SendError, SendOptions};
use paddington_exchange::{Config, Listen, Server, Setup};
use paddington_test_support::{Lag, MemoryDisk, Random};
use paddington_transport::Fallbacks;
use paddington_wire::{Credentials, InvitedClient, LinkId, PeerName};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use crate::keys::KeyDisk;
use crate::ledger::{Arrival, Bound, Ledger, Outcome, now};
use crate::network::SimNetwork;
use crate::plan::{Flow, Renewals};

/// Time between two looks at a service.
const LOOK: Duration = Duration::from_millis(100);
/// Time that a sender waits after a message was not accepted.
const AGAIN: Duration = Duration::from_millis(200);

/// A host.
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) name: PeerName,
    pub(crate) settings: Config,
    pub(crate) links: Vec<Link>,
    pub(crate) keys: Arc<KeyDisk>,
    /// How keys are renewed, if they are.
    pub(crate) renewals: Option<Renewals>,
    pub(crate) disk: Option<(MemoryDisk, Lag)>,
    pub(crate) network: Arc<SimNetwork>,
    /// All flows of the run, by number.
    pub(crate) flows: Vec<Flow>,
    pub(crate) seed: u64,
    pub(crate) ledger: Ledger,
    /// Whether nothing new is to be sent.
    pub(crate) calm: Arc<AtomicBool>,
    pub(crate) instance: AtomicU32,
    pub(crate) stop: Notify,
    /// The last look at the service, and when that was.
    pub(crate) seen: Mutex<Option<(Duration, Vec<PeerStatus>)>>,
}

/// A link of a host.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) peer: PeerName,
    /// Whether the peer is the server.
    pub(crate) dials: bool,
}

/// The port of every service.
const PORT: u16 = 6_500;

/// The name of a service and of its host.
pub(crate) fn name(index: usize) -> String {
    format!("s{index}")
}

impl Node {
    /// Runs one instance until the machine dies, or the service is asked to stop.
    pub(crate) async fn live(self: Arc<Self>) -> turmoil::Result {
        let instance = self.instance.fetch_add(1, Ordering::Relaxed) + 1;
        let mut random = Random::new(self.seed ^ u64::from(instance) << 32);
        let service = self.start(instance, &mut random).await;
        for (number, flow) in self.flows.iter().enumerate() {
            if flow.from == self.index {
                let sender =
                    Arc::clone(&self).send(service.clone(), number, instance, random.fork());
                tokio::spawn(sender);
            }
        }
        if let Some(pause) = self.renewals.and_then(|renewals| renewals.asked) {
            let asker = Arc::clone(&self).ask_for_keys(service.clone(), pause, random.fork());
            tokio::spawn(asker);
        }
        tokio::spawn(Arc::clone(&self).hear_alarms(service.clone()));
        let watched = Arc::clone(&self).watch(service.clone());
        tokio::select! {
            biased;
            () = self.stop.notified() => {}
            () = watched => {}
        }
        let report = service.shutdown().await;
        let unsent = report.unsent.into_iter().map(|(peer, unsent)| (peer.to_string(), unsent));
        self.ledger.died(self.index, instance, now(), Some(unsent.collect()));
        Ok(())
    }

    /// Starts the service, as often as that takes.
    async fn start(self: &Arc<Self>, instance: u32, random: &mut Random) -> Exchange {
        loop {
            let store = self.disk.as_ref();
            let store = store.map(|(disk, lag)| disk.open_lagging(*lag, random.fork()));
            let network = Arc::clone(&self.network);
            let handler = Arc::clone(self).handler(instance);
            let (mut clients, mut servers) = (Vec::new(), Vec::new());
            for link in &self.links {
                let Some(ring) = self.keys.ring(&link.peer) else { continue };
                let (id, name, credentials) = (link.id, link.peer.clone(), Credentials::Ring(ring));
                if link.dials {
                    let Ok(endpoint) = format!("ws://{name}:{PORT}").parse() else { continue };
                    let (tls, renewal) = (None, None);
                    servers.push(Server {
                        link: id,
                        name,
                        endpoint,
                        fallbacks: Fallbacks::default(),
                        credentials,
                        tls,
                        renewal,
                    });
                } else {
                    let Ok(range) = "0.0.0.0/0".parse() else { continue };
                    let bucket = None;
                    clients.push(InvitedClient { link: id, name, range, bucket, credentials });
                }
            }
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
            let setup = Setup {
                name: self.name.clone(),
                listen: Some(Listen { address, path: "/".to_owned(), tls: None }),
                clients,
                servers,
                network,
                store: store.into(),
                key_store: self.renewals.map(|_| self.keys.open()),
                config: self.settings.clone(),
            };
            match Exchange::start(setup, handler).await {
                Ok(service) => return service,
                Err(_) => sleep(10 * AGAIN).await,
            }
        }
    }

    /// Asks for new keys of any link, again and again.
    async fn ask_for_keys(self: Arc<Self>, service: Exchange, pause: Duration, random: Random) {
        let mut random = random;
        while !self.calm.load(Ordering::Relaxed) {
            sleep(random.up_to(pause)).await;
            let link = &self.links[random.below(self.links.len())];
            // Without a session there is nothing to ask.
            let _ = service.renew_keys(link.peer.as_str()).await;
        }
    }

    /// Takes every alarm for a failure: nobody uses a stolen copy.
    async fn hear_alarms(self: Arc<Self>, service: Exchange) {
        let mut events = service.events();
        drop(service);
        loop {
            match events.recv().await {
                Ok(Event::BurnedKeys { peer, generation, .. }) => self.ledger.failed(format!(
                    "{:.3} s: {} takes {peer} for a thief with generation {generation}",
                    now().as_secs_f64(),
                    self.index
                )),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn send(
        self: Arc<Self>,
        service: Exchange,
        number: usize,
        instance: u32,
        random: Random,
    ) {
        let (flow, mut random) = (self.flows[number], random);
        let mut sent = 0;
        loop {
            if sent % flow.burst == 0 {
                sleep(random.up_to(flow.pause)).await;
            }
            sent += 1;
            if self.calm.load(Ordering::Relaxed) {
                return;
            }
            let Some(message) = self.ledger.offer(number, instance) else { return };
            let padding = "x".repeat(random.below(flow.payload));
            let text = format!("{message} {padding}");
            if !self.send_one(&service, number, message, &text).await {
                return;
            }
        }
    }

    /// Sends one message, as often as that takes. Returns whether another one may be sent.
    async fn send_one(&self, service: &Exchange, number: usize, message: u64, text: &str) -> bool {
        let flow = &self.flows[number];
        let ttl = message.is_multiple_of(flow.mortal).then_some(flow.ttl);
        loop {
            let envelope = Message::new(name(flow.to), text);
            let options = SendOptions { ttl };
            match service.send_with(envelope, options).await {
                Ok(receipt) => {
                    self.ledger.accepted(number, message, receipt.id());
                    let ledger = self.ledger.clone();
                    tokio::spawn(async move {
                        ledger.settled(number, message, receipt.await);
                    });
                    return true;
                }
                Err(error) => {
                    self.ledger.refused(number, message);
                    if matches!(error, SendError::Full { .. }) {
                        self.ledger.reached(Bound::Outbox);
                    }
                    if !error.is_retryable() {
                        if !matches!(error, SendError::ShuttingDown) {
                            self.ledger.failed(format!("{} cannot send: {error}", self.index));
                        }
                        return false;
                    }
                    sleep(AGAIN).await;
                    if self.calm.load(Ordering::Relaxed) {
                        return false;
                    }
                }
            }
        }
    }

    fn handler(self: Arc<Self>, instance: u32) -> impl Handler {
        move |message: Message| {
            let node = Arc::clone(&self);
            async move { node.handle(instance, message).await }
        }
    }

    async fn handle(&self, instance: u32, message: Message) -> Result<(), &'static str> {
        if message.is_control() {
            return Ok(());
        }
        let is_its = |flow: &Flow| flow.to == self.index && name(flow.from) == message.sender();
        let flow = self.flows.iter().position(is_its);
        let number = message.payload().split(' ').next().and_then(|number| number.parse().ok());
        let (Some(flow), Some(number)) = (flow, number) else {
            self.ledger.failed(format!("{} was given what nobody has sent", self.index));
            return Ok(());
        };
        let arrival = Arrival { flow, number, instance };
        self.ledger.begun(arrival, &message);
        let plan = &self.flows[flow];
        let mut random = Random::new(self.seed ^ number << 16 ^ flow as u64);
        if random.next_number().is_multiple_of(plan.slow) {
            sleep(random.up_to(plan.handling)).await;
        }
        // It fails once, twice, or too often.
        let fails = match random.next_number().is_multiple_of(plan.failing) {
            true => 1 + random.below(4) as u32,
            false => 0,
        };
        let allowed = match self.settings.on_error {
            OnError::Retry { attempts, .. } => attempts,
            _ => 1,
        };
        let outcome = match message.attempt() {
            attempt if attempt > fails => Outcome::Handled,
            attempt if attempt >= allowed => Outcome::GivenUp,
            _ => Outcome::Failed,
        };
        self.ledger.ended(arrival, outcome);
        if outcome == Outcome::Handled { Ok(()) } else { Err("as planned") }
    }

    /// Looks at the service again and again.
    async fn watch(self: Arc<Self>, service: Exchange) {
        loop {
            let peers = service.peers();
            for peer in peers.iter().filter(|peer| !peer.is_conserved()) {
                let (name, counts) = (&peer.name, peer.counts);
                let waiting = peer.outbox_messages;
                self.ledger.failed(format!(
                    "{}: messages for {name} are not accounted for: {counts:?}, {waiting} wait",
                    self.index
                ));
            }
            let room = u64::from(self.settings.window) / 8;
            let full = |peer: &PeerStatus| peer.inbox_bytes + room > 8 * room;
            if peers.iter().any(full) {
                self.ledger.reached(Bound::Window);
            }
            *self.seen() = Some((now(), peers));
            sleep(LOOK).await;
        }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Option<(Duration, Vec<PeerStatus>)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
