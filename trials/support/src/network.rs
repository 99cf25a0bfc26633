//! A network in memory, whose cables can be cut and frozen.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use paddington_transport::{Network, NetworkListener, Stream};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cable::{Cable, CableEnd, State};

/// A network in memory. Copies are the same network; [`from`](Self::from) gives another address in
/// it.
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    shared: Arc<Shared>,
    source: IpAddr,
}

#[derive(Debug, Default)]
struct Shared {
    listeners: Mutex<HashMap<SocketAddr, mpsc::Sender<(Stream, SocketAddr)>>>,
    cables: Mutex<Vec<Laid>>,
    ports: AtomicU16,
    dialled: AtomicUsize,
    slept: AtomicU64,
    /// When the clock was first asked for, in seconds since 1970 and on tokio's clock.
    clock: OnceLock<(u64, Instant)>,
}

/// A cable of the network, and where it leads.
#[derive(Debug)]
struct Laid {
    cable: Arc<Cable<DuplexStream>>,
    listener: SocketAddr,
    source: IpAddr,
}

/// Number of bytes that a cable holds.
const CABLE: usize = 64 * 1024;
/// The two ends of a cable.
const DIALLING: usize = 0;
const LISTENING: usize = 1;

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryNetwork {
    /// Makes an empty network.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Arc::default(), source: Ipv4Addr::LOCALHOST.into() }
    }

    /// Returns the same network, seen from another address.
    #[must_use]
    pub fn from(&self, source: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), source: source.parse().unwrap() }
    }

    /// Returns the network in the form that services take.
    #[must_use]
    pub fn network(&self) -> Arc<dyn Network> {
        Arc::new(self.clone())
    }

    /// Lets the machine sleep for a while, as far as services can tell.
    pub fn sleep(&self, time: Duration) {
        self.shared.slept.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    /// Makes all listeners fail, as if their interface had gone.
    pub fn fail_listeners(&self) {
        self.shared.listeners.lock().unwrap().clear();
    }

    /// Cuts all cables: both ends see a reset.
    pub fn cut(&self) {
        for laid in self.shared.cables.lock().unwrap().drain(..) {
            laid.cable.cut();
        }
    }

    /// Freezes all cables that are there now: no byte and no end passes any more.
    pub fn freeze(&self) {
        self.pick(|_, _| true).freeze();
    }

    /// Holds back what has been sent and will be sent over the cables that are there now, both
    /// ways, on the listening ends' side.
    #[must_use]
    pub fn hold(&self) -> Held {
        let laid = self.shared.cables.lock().unwrap().drain(..).map(|laid| laid.cable).collect();
        let held = Held { cables: laid };
        held.hold();
        held
    }

    /// Returns the cables that are there now and for which `which` holds, given the address of the
    /// listener and that from which it was dialled. They stay in the network.
    #[must_use]
    pub fn pick(&self, which: impl Fn(SocketAddr, IpAddr) -> bool) -> Held {
        let mut cables = self.shared.cables.lock().unwrap();
        cables.retain(|laid| Arc::strong_count(&laid.cable) > 1);
        let picked = cables.iter().filter(|laid| which(laid.listener, laid.source));
        Held { cables: picked.map(|laid| Arc::clone(&laid.cable)).collect() }
    }

    /// Number of connections that were opened so far.
    #[must_use]
    pub fn dialled(&self) -> usize {
        self.shared.dialled.load(Ordering::Relaxed)
    }

    /// Opens a connection as a stranger would.
    ///
    /// # Errors
    ///
    /// If nobody listens at `address`.
    pub async fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        Network::connect(self, address).await
    }
}

impl Network for MemoryNetwork {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let address = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Box::pin(async move { Ok(vec![SocketAddr::new(address, port)]) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let listener = self.shared.listeners.lock().unwrap().get(&address).cloned();
            let listener = listener.ok_or(io::ErrorKind::ConnectionRefused)?;
            let cable = Arc::new(Cable::default());
            let (near, far) = duplex(CABLE);
            let end = |io, side| Stream::new(CableEnd::new(io, side, &cable));
            let port = self.shared.ports.fetch_add(1, Ordering::Relaxed);
            let source = SocketAddr::new(self.source, 30_000 + port % 30_000);
            let far = (end(far, LISTENING), source);
            listener.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            self.shared.dialled.fetch_add(1, Ordering::Relaxed);
            let near = end(near, DIALLING);
            let laid = Laid { cable, listener: address, source: self.source };
            self.shared.cables.lock().unwrap().push(laid);
            Ok(near)
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        let _ = self.unix_time(); // the clock runs from now on
        Box::pin(async move {
            let mut listeners = self.shared.listeners.lock().unwrap();
            if listeners.get(&address).is_some_and(|listener| !listener.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (sender, connections) = mpsc::channel(1024);
            listeners.insert(address, sender);
            let acceptor: Box<dyn NetworkListener> =
                Box::new(MemoryAcceptor { address, connections });
            Ok(acceptor)
        })
    }

    fn slept(&self) -> Duration {
        Duration::from_secs(self.shared.slept.load(Ordering::Relaxed))
    }

    /// Goes on with tokio's clock, which a test may pause.
    fn unix_time(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (began, at) = *self.shared.clock.get_or_init(|| (now(), Instant::now()));
        began + at.elapsed().as_secs()
    }
}

/// Cables that are held back, or were picked for that.
#[derive(Clone, Debug)]
pub struct Held {
    cables: Vec<Arc<Cable<DuplexStream>>>,
}

impl Held {
    /// Holds back what is sent, both ways, on the listening ends' side.
    pub fn hold(&self) {
        self.cables.iter().for_each(|cable| cable.set(LISTENING, State::Frozen));
    }

    /// Freezes both ends: no byte and no end passes any more.
    pub fn freeze(&self) {
        self.cables.iter().for_each(|cable| cable.set_both(State::Frozen));
    }

    /// Lets both ends go on, unless they were reset.
    pub fn thaw(&self) {
        self.cables.iter().for_each(|cable| cable.thaw());
    }

    /// Resets both ends.
    pub fn cut(&self) {
        self.cables.iter().for_each(|cable| cable.cut());
    }

    /// Resets the dialling ends. The listening ends see nothing of it.
    pub fn strand(&self) {
        self.cables.iter().for_each(|cable| cable.set(DIALLING, State::Cut));
    }

    /// Lets the listening ends go on: what was sent before arrives now, after everything since.
    pub fn release(self) {
        self.cables.iter().for_each(|cable| cable.set(LISTENING, State::Whole));
    }
}

struct MemoryAcceptor {
    address: SocketAddr,
    connections: mpsc::Receiver<(Stream, SocketAddr)>,
}

impl NetworkListener for MemoryAcceptor {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async { self.connections.recv().await.ok_or(io::ErrorKind::NotConnected.into()) })
    }
}
