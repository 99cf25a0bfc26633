//! Keys with generations, over connections: which a client offers, which a server knows, and what it
//! notices (`docs/protocol.md` §3.6).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use paddington_crypto::KeyPair;
use paddington_test_support::{FakeServer, Intruder, MemoryNetwork, RawFrame};
use paddington_transport::{
    Acceptor, AuthenticHello, Caller, Config, Dialer, End, Fallbacks, Host, Listener, Login,
    ReadyReservation, Refusal, Renewed, Reservation, SessionKeys, Traffic, WorthlessHello,
    stay_connected,
};
use paddington_wire::keys::{KeyRing, Origin, StoredGeneration, Why};
use paddington_wire::sealed::{Challenge, Credentials as SealedCredentials, Exporter, Responder};
use paddington_wire::{
    CloseCode, Credentials, Frame, Instance, InvitedClient, InvitedClients, PeerName, Ready,
    Violation,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SERVER: &str = "127.0.0.1:6501";
const NOW: u64 = 1_800_000_000;

/// What one side tells the test about a session that began.
type Begun = (u64, Exporter);

#[derive(Clone, Debug)]
struct Place {
    begun: mpsc::UnboundedSender<Begun>,
    instance: Instance,
    stop: CancellationToken,
    /// How often it may speak yet.
    turns: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Carrier(CancellationToken);

impl Traffic for Carrier {
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<Frame> {
        self.poll_closing(cx).map(Frame::Close)
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<CloseCode> {
        let stopped = std::pin::pin!(self.0.cancelled());
        let code = std::future::Future::poll(stopped, cx).map(|()| CloseCode::Shutdown);
        if code.is_pending() {
            let (stop, waker) = (self.0.clone(), cx.waker().clone());
            tokio::spawn(async move {
                stop.cancelled().await;
                waker.wake();
            });
        }
        code
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn receive(&mut self, _: Frame) -> Result<(), Violation> {
        Ok(())
    }

    fn ended(self, _: &End) {}
}

impl Reservation for Place {
    type Traffic = Carrier;
    type ReadyReservation = Self;

    fn may_speak(&self) -> bool {
        let turn = |left: usize| left.checked_sub(1);
        self.turns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, turn).is_ok()
    }

    fn ready(self) -> (Ready, Self) {
        (paddington_test_support::empty_ready(self.instance), self)
    }

    fn establish(self) -> Result<Carrier, Refusal> {
        Err(Refusal::Silent)
    }
}

impl ReadyReservation for Place {
    type Traffic = Carrier;

    fn establish(self, _: &Ready, keys: SessionKeys) -> Result<Carrier, Refusal> {
        let _ = self.begun.send((keys.generation, keys.exporter.unwrap()));
        Ok(Carrier(self.stop))
    }
}

#[derive(Clone, Debug)]
struct Hub {
    clients: Arc<InvitedClients>,
    place: Place,
    time: Arc<AtomicU64>,
    worthless: mpsc::UnboundedSender<WorthlessHello>,
    used: Arc<AtomicU64>,
}

impl Host for Hub {
    type Reservation = Place;

    fn clients(&self) -> Arc<InvitedClients> {
        Arc::clone(&self.clients)
    }

    async fn reserve(&self, hello: AuthenticHello) -> Result<Place, Refusal> {
        self.used.store(hello.generation, Ordering::Relaxed);
        Ok(self.place.clone())
    }

    fn unix_time(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    fn recognised(&self, hello: WorthlessHello) {
        let _ = self.worthless.send(hello);
    }
}

#[derive(Debug)]
struct Sensor {
    ring: Arc<Mutex<Arc<KeyRing>>>,
    place: Place,
    asked: Arc<AtomicUsize>,
    renewed: Arc<Mutex<Option<Renewed>>>,
}

impl Caller for Sensor {
    type Reservation = Place;

    fn reserve(&self) -> Place {
        self.place.clone()
    }

    async fn keys(&self) -> Option<Arc<KeyRing>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&self.ring.lock().unwrap()))
    }

    fn is_renewable(&self) -> bool {
        true
    }

    fn renewed(&self) -> Option<Renewed> {
        self.renewed.lock().unwrap().take()
    }
}

fn place(
    begun: mpsc::UnboundedSender<Begun>,
    instance: Instance,
    stop: &CancellationToken,
) -> Place {
    let turns = Arc::new(AtomicUsize::new(usize::MAX));
    Place { begun, instance, stop: stop.clone(), turns }
}

fn names() -> [PeerName; 2] {
    ["hub", "sensor"].map(|name| name.parse().unwrap())
}

/// Makes a ring: the first generation is in use, the others wait.
fn ring(generations: &[(u64, Origin, &Arc<KeyPair>)]) -> KeyRing {
    let [hub, sensor] = names();
    let mut stored =
        KeyRing::begin([&hub, &sensor], Arc::clone(generations[0].2), 0, None, NOW).to_stored();
    let first = stored.generations.remove(0);
    for (index, (number, origin, keys)) in generations.iter().enumerate() {
        stored.generations.push(StoredGeneration {
            number: *number,
            keys: Arc::clone(keys),
            origin: *origin,
            used: index == 0,
            ..first.clone()
        });
    }
    KeyRing::from_stored(&hub, &sensor, stored).unwrap()
}

fn keys() -> Arc<KeyPair> {
    Arc::new(KeyPair::generate().unwrap())
}

struct Listening {
    hub: Hub,
    begun: mpsc::UnboundedReceiver<Begun>,
    worthless: mpsc::UnboundedReceiver<WorthlessHello>,
    _tasks: TaskTracker,
}

async fn listen(network: &MemoryNetwork, ring: KeyRing) -> Listening {
    let (begun, sessions) = mpsc::unbounded_channel();
    let (worthless, alarms) = mpsc::unbounded_channel();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let client = InvitedClient {
        link: ring.invitation(),
        name: names()[1].clone(),
        range: "127.0.0.1".parse().unwrap(),
        bucket: None,
        credentials: Credentials::Ring(Arc::new(ring)),
    };
    let hub = Hub {
        clients: Arc::new(InvitedClients::new(vec![client])),
        place: place(begun, [2; 16].into(), &stop),
        time: Arc::new(AtomicU64::new(NOW)),
        worthless,
        used: Arc::default(),
    };
    let acceptor = Acceptor::new(hub.clone(), "/", Arc::new(Config::default())).unwrap();
    let listener = Listener::bind(network.network(), SERVER.parse().unwrap()).await.unwrap();
    listener.spawn(acceptor, &tasks, stop);
    Listening { hub, begun: sessions, worthless: alarms, _tasks: tasks }
}

struct Dialling {
    ring: Arc<Mutex<Arc<KeyRing>>>,
    turns: Arc<AtomicUsize>,
    begun: mpsc::UnboundedReceiver<Begun>,
    asked: Arc<AtomicUsize>,
    renewed: Arc<Mutex<Option<Renewed>>>,
    stop: CancellationToken,
}

fn dial(network: &MemoryNetwork, ring: KeyRing) -> Dialling {
    let (begun, sessions) = mpsc::unbounded_channel();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let ring = Arc::new(ring);
    let instance = Instance::from([1; 16]);
    let caller = Sensor {
        ring: Arc::new(Mutex::new(Arc::clone(&ring))),
        place: place(begun, instance, &stop),
        asked: Arc::default(),
        renewed: Arc::default(),
    };
    let (kept, asked, renewed) =
        (Arc::clone(&caller.ring), Arc::clone(&caller.asked), Arc::clone(&caller.renewed));
    let dialer = Dialer {
        endpoint: format!("ws://{SERVER}/").parse().unwrap(),
        fallbacks: Fallbacks::default(),
        login: Login { credentials: Credentials::Ring(ring), instance },
        network: network.network(),
        tls: None,
        config: Arc::new(Config::default()),
    };
    let turns = Arc::clone(&caller.place.turns);
    stay_connected(dialer, caller, &tasks, stop.clone());
    Dialling { ring: kept, turns, begun: sessions, asked, renewed, stop }
}

async fn next<T>(events: &mut mpsc::UnboundedReceiver<T>) -> T {
    timeout(Duration::from_secs(120), events.recv()).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_begins_with_the_newest_keys_and_both_sides_know_which() {
    let (old, new) = (keys(), keys());
    let both = ring(&[(4, Origin::Agreed, &old), (5, Origin::Agreed, &new)]);
    let network = MemoryNetwork::new();
    let mut server = listen(&network, both.clone()).await;
    let mut client = dial(&network, both);
    let (number, ours) = next(&mut client.begun).await;
    let (known, theirs) = next(&mut server.begun).await;
    assert_eq!((number, known), (5, 5));
    assert_eq!(server.hub.used.load(Ordering::Relaxed), 5);
    assert_eq!(ours.keys(6).unwrap(), theirs.keys(6).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_may_not_speak_any_more_says_nothing_more() {
    let only = ring(&[(5, Origin::Agreed, &keys())]);
    let network = MemoryNetwork::new();
    let mut server = listen(&network, only.clone()).await;
    let mut client = dial(&network, only);
    let used = || server.hub.used.load(Ordering::Relaxed);
    // Nothing was dialled yet: this task has not waited for anything.
    for (turns, dialled, hello) in [(0, false, 0), (1, true, 0), (2, true, 5)] {
        let before = network.dialled();
        client.turns.store(turns, Ordering::Relaxed);
        sleep(Duration::from_secs(20)).await;
        assert_eq!((network.dialled() > before, used()), (dialled, hello), "{turns} turns");
    }
    assert!(client.begun.try_recv().is_err() && server.begun.try_recv().is_err());
    client.turns.store(3, Ordering::Relaxed);
    next(&mut client.begun).await;
    next(&mut server.begun).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_falls_back_at_once_and_one_by_one_to_keys_that_the_server_knows() {
    let pairs = [keys(), keys(), keys()];
    let origins = [Origin::Agreed, Origin::Agreed, Origin::HandedOver];
    let list: Vec<_> = (1..).zip(origins).zip(&pairs).map(|((n, o), k)| (n, o, k)).collect();
    let network = MemoryNetwork::new();
    for known in [2, 1] {
        let network = network.clone();
        let mut server = listen(&network, ring(&list[..known])).await;
        let began = Instant::now();
        let before = network.dialled();
        let mut client = dial(&network, ring(&list));
        assert_eq!(next(&mut client.begun).await.0, known as u64);
        next(&mut server.begun).await;
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        assert_eq!(network.dialled() - before, 2 * (3 - known) + 1, "each of them twice");
        client.stop.cancel();
        server.hub.place.stop.cancel();
        sleep(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_keys_nobody_knows_tries_all_of_them_each_time_and_waits_between() {
    let pairs = [keys(), keys(), keys()];
    let (first, second) = ((1, Origin::Agreed, &pairs[0]), (2, Origin::Agreed, &pairs[1]));
    let network = MemoryNetwork::new();
    let mut server = listen(&network, ring(&[(9, Origin::Agreed, &pairs[2])])).await;
    let client = dial(&network, ring(&[first, second]));
    sleep(Duration::from_secs(600)).await;
    let dialled = network.dialled();
    assert_eq!(dialled % 3, 0, "the newer ones twice and the older ones once, however often");
    assert!((15..=60).contains(&dialled), "{dialled} attempts in ten minutes");
    assert!(client.asked.load(Ordering::Relaxed) >= dialled, "it asks for its keys each time");
    assert!(server.worthless.try_recv().is_err(), "nobody knows them");

    // What is stored meanwhile counts for the next attempt, and begins anew.
    *client.ring.lock().unwrap() = Arc::new(ring(&[(9, Origin::Agreed, &pairs[2])]));
    assert_eq!(next(&mut server.begun).await.0, 9);
}

#[tokio::test(start_paused = true)]
async fn a_newer_invitation_is_looked_for_only_when_all_keys_are_refused() {
    let pairs = [keys(), keys(), keys()];
    let (first, second) = ((1, Origin::Agreed, &pairs[0]), (2, Origin::Agreed, &pairs[1]));
    let newer = ring(&[(7, Origin::HandedOver, &pairs[2])]);
    let network = MemoryNetwork::new();
    let mut server = listen(&network, newer.clone()).await;
    let client = dial(&network, ring(&[first, second]));
    *client.ring.lock().unwrap() = Arc::new(ring(&[first, second]));
    *client.renewed.lock().unwrap() = Some(Renewed {
        endpoint: format!("ws://{SERVER}/").parse().unwrap(),
        fallbacks: Fallbacks::default(),
        credentials: Credentials::Ring(Arc::new(newer.clone())),
        tls: None,
    });
    // Whoever takes an invitation stores it, and passes it on by `keys`.
    let stored = Arc::clone(&client.ring);
    let taken = Arc::clone(&client.renewed);
    tokio::spawn(async move {
        while taken.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        *stored.lock().unwrap() = Arc::new(newer);
    });
    assert_eq!(next(&mut server.begun).await.0, 7);
    assert!(network.dialled() >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_network_is_no_reason_to_offer_older_keys() {
    let (old, new) = (keys(), keys());
    let both = ring(&[(4, Origin::Agreed, &old), (5, Origin::Agreed, &new)]);
    let network = MemoryNetwork::new();
    let client = dial(&network, both.clone());
    sleep(Duration::from_secs(20)).await; // nobody listens
    let mut server = listen(&network, both).await;
    assert_eq!(next(&mut server.begun).await.0, 5);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_behind_the_hello_is_no_reason_to_offer_burned_keys() {
    let (old, new) = (keys(), keys());
    let both = ring(&[(4, Origin::Agreed, &old), (5, Origin::Agreed, &new)]);
    let network = MemoryNetwork::new();
    let mut broken = FakeServer::new(&network, SERVER).await;
    let mut client = dial(&network, both.clone());
    let mut stream = broken.answer(&FakeServer::good_answer(&Challenge::from([7; 32]))).await;
    RawFrame::read(&mut stream).await.unwrap();
    drop((stream, broken));
    let mut server = listen(&network, both.used(5, NOW).unwrap()).await;
    assert_eq!((next(&mut client.begun).await.0, next(&mut server.begun).await.0), (5, 5));
    assert!(server.worthless.try_recv().is_err(), "there is no alarm");
}

#[tokio::test(start_paused = true)]
async fn burned_and_expired_keys_are_refused_like_a_strangers_and_noticed() {
    let (first, second) = (keys(), keys());
    let [hub, sensor] = names();
    let server_ring = ring(&[(0, Origin::HandedOver, &first)]);
    let invited = server_ring.invite(Arc::clone(&second), Some(NOW + 50), NOW).unwrap();
    let network = MemoryNetwork::new();
    let mut server = listen(&network, invited.clone()).await;
    let secrets = |keys| Arc::new(paddington_wire::sealed::Credentials::new(&hub, &sensor, keys));
    let refused = async |secrets| {
        let entered =
            Intruder::enter(&network, "127.0.0.1:6501?", &secrets, Instance::from([9; 16])).await;
        assert!(entered.is_none(), "it gets no answer");
    };
    server.hub.time.store(NOW + 50, Ordering::Relaxed);
    refused(secrets(&second)).await;
    let told = next(&mut server.worthless).await;
    assert_eq!((told.generation, told.why), (1, Why::Expired));
    assert_eq!(told.client.name, sensor);
    assert_eq!(told.address, "127.0.0.1".parse::<IpAddr>().unwrap());

    let link = invited.invitation();
    let link = server.hub.clients.get(link).map_or(server_ring.invitation(), |it| it.link);
    let used = Credentials::Ring(Arc::new(invited.used(1, NOW).unwrap()));
    assert!(server.hub.clients.change(link, |client| client.credentials = used));
    refused(secrets(&first)).await;
    let told = next(&mut server.worthless).await;
    assert_eq!((told.generation, told.why), (0, Why::Burned));
    refused(secrets(&keys())).await;
    assert!(server.worthless.try_recv().is_err(), "a stranger is none of these");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_offers_one_generation_and_a_ring_without_keys_offers_none() {
    let (old, new) = (keys(), keys());
    let both = ring(&[(4, Origin::Agreed, &old), (5, Origin::Agreed, &new)]);
    let network = MemoryNetwork::new();
    let mut server = FakeServer::new(&network, SERVER).await;
    let client = dial(&network, both.clone());
    let secrets: Vec<_> =
        both.generations().iter().map(|it| Arc::clone(it.credentials())).collect();
    let mut offered = Vec::new();
    let challenge = Challenge::from([7; 32]);
    for attempt in 0..8 {
        if attempt == 4 {
            // A proxy whose server is gone says nothing of the keys.
            drop(server.answer("HTTP/1.1 503 Service Unavailable\r\n\r\n").await);
            continue;
        }
        let mut stream = server.answer(&FakeServer::good_answer(&challenge)).await;
        let hello = RawFrame::read(&mut stream).await.unwrap().payload;
        let responder = Responder::new(challenge, Arc::new(SealedCredentials::decoy().unwrap()));
        offered.push(responder.authenticate(&hello, &secrets).unwrap().candidate());
    }
    assert_eq!(offered, [1, 1, 0, 1, 1, 1, 0], "it begins anew after another failure");
    client.stop.cancel();

    let empty = both.invite(keys(), Some(NOW), NOW).unwrap().expire(NOW + 100 * 86_400).unwrap();
    assert!(empty.generations().is_empty());
    let before = network.dialled();
    let _client = dial(&network, empty);
    for _ in 0..2 {
        let mut stream = server.answer(&FakeServer::good_answer(&challenge)).await;
        assert!(RawFrame::read(&mut stream).await.is_err(), "it says nothing");
    }
    assert!(network.dialled() - before >= 2);
}
