//! Listens for clients: a place in the door first, then HTTP, then the handshake, then traffic.
//! Implements `docs/protocol.md` §9 and §10 for the server.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use paddington_wire::sealed::{self, Challenge};
use paddington_wire::{Admission, HandshakeError, KeyError};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, trace, warn};

use crate::error::GreetError;
use crate::gate::{Gate, Pending, Refused};
use crate::handshake::{self, Established, TrafficOf, Visitor};
use crate::traffic::Host;
use crate::upgrade::{self, Policy};
use crate::{Acceptor, Config, Connection, Network, Stream, TrustedProxies, head};

/// The first pause after an error of `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause after errors of `accept`.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A bound listener, ready to run.
pub struct Listener {
    acceptor: Box<dyn Acceptor>,
    address: SocketAddr,
    network: Arc<dyn Network>,
}

/// What stands between a listener and its host: who may come in, and on what terms.
pub struct Door<H> {
    host: H,
    path: String,
    config: Arc<Config>,
    gate: Arc<Gate>,
    decoy: Arc<sealed::Credentials>,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    ///
    /// What the operating system says of the address.
    pub async fn bind(network: Arc<dyn Network>, address: SocketAddr) -> io::Result<Self> {
        let acceptor = network.bind(address).await?;
        let address = acceptor.local_address()?;
        Ok(Self { acceptor, address, network })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts clients until `stop` is cancelled. Their connections run on `tasks` and outlive the
    /// listener. A listener that fails is bound again.
    pub async fn run<H: Host>(self, door: Door<H>, tasks: TaskTracker, stop: CancellationToken) {
        let Self { acceptor, address, network } = self;
        let mut acceptor = Some(acceptor);
        let door = Arc::new(door);
        let mut pause = ACCEPT_PAUSE;
        loop {
            let next = async {
                door.gate.room().await;
                let accepted = accept(&mut acceptor, &network, address).await;
                door.gate.room().await; // it may have come much later
                accepted
            };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = ACCEPT_PAUSE;
                    let visit = Visit {
                        stream,
                        direct: peer.ip().to_canonical(),
                        network: Arc::clone(&network),
                    };
                    door.open(visit, &tasks, &stop);
                }
                Err(error) => {
                    warn!(%address, %error, ?pause, "no connection could be accepted");
                    if wait(pause, &stop).await.is_err() {
                        return;
                    }
                    if pause == ACCEPT_PAUSE_MAX {
                        acceptor = None; // its address is free again only when it is gone
                    }
                    pause = (2 * pause).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl<H> fmt::Debug for Door<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The next connection. A listener that is gone is bound again first.
async fn accept(
    acceptor: &mut Option<Box<dyn Acceptor>>,
    network: &Arc<dyn Network>,
    address: SocketAddr,
) -> io::Result<(Stream, SocketAddr)> {
    let bound = match acceptor.take() {
        Some(bound) => bound,
        None => {
            let bound = network.bind(address).await?;
            info!(%address, "listening again");
            bound
        }
    };
    acceptor.insert(bound).accept().await
}

async fn wait(pause: Duration, stop: &CancellationToken) -> Result<(), ()> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(()),
        () = sleep(pause) => Ok(()),
    }
}

impl<H: Host> Door<H> {
    /// A door to `host`. Clients of the `sealed` encoding are to ask for `path`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the operating system gives no random bytes.
    pub fn new(host: H, path: &str, config: Arc<Config>) -> Result<Self, KeyError> {
        let decoy = Arc::new(sealed::Credentials::decoy()?);
        let gate = Gate::new(config.limits);
        Ok(Self { host, path: path.to_owned(), config, gate, decoy })
    }

    /// Lets a connection in, if it may, and sees to it on a task of its own.
    fn open(self: &Arc<Self>, visit: Visit, tasks: &TaskTracker, stop: &CancellationToken) {
        let Visit { stream, direct, network } = visit;
        let pending = match self.enter(direct) {
            Ok(pending) => pending,
            Err(error) => return note(direct, &error),
        };
        let (door, stop, connections) = (Arc::clone(self), stop.clone(), tasks.clone());
        tasks.spawn(async move {
            let greeted = Box::pin(door.greet(stream, direct, &pending));
            let greeted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = pending.evicted() => Err(GreetError::Evicted),
                greeted = greeted => greeted,
            };
            match greeted {
                Ok(established) => {
                    pending.established();
                    let connection =
                        Connection::new(established, door.config.timeouts.listening(), network);
                    connections.spawn(async move { drop(connection.run().await) });
                }
                Err(error) => note(direct, &error),
            }
        });
    }

    fn enter(&self, direct: IpAddr) -> Result<Pending, GreetError> {
        let proxied = self.config.proxies.trusts(direct);
        if !proxied && !self.host.admission().admits(direct) {
            return Err(GreetError::Address);
        }
        let address = (!proxied).then_some(direct);
        self.gate.enter(address, Instant::now()).map_err(GreetError::from)
    }

    /// From the first byte to an established connection, each step within its time and all of them
    /// within theirs.
    async fn greet(
        &self,
        mut stream: Stream,
        direct: IpAddr,
        pending: &Pending,
    ) -> Result<Established<TrafficOf<H>>, GreetError> {
        let timeouts = &self.config.timeouts;
        let deadline = Instant::now() + timeouts.establish;
        let whole = async {
            let head = timeout(timeouts.request, head::read(&mut stream, &self.config.limits));
            let head = head.await.map_err(|_| GreetError::Timeout)?;
            let head = head.map_err(|_| GreetError::Head)?;
            let visitor = self.upgrade(stream, head, direct, pending).await?;
            handshake::greet(&self.host, &self.decoy, visitor, &self.config).await
        };
        timeout_at(deadline, whole).await.map_err(|_| GreetError::Timeout)?
    }

    async fn upgrade<'a>(
        &self,
        mut stream: Stream,
        head: Bytes,
        direct: IpAddr,
        pending: &'a Pending,
    ) -> Result<Visitor<'a>, GreetError> {
        let challenge = Challenge::random().map_err(HandshakeError::from)?;
        let rules = Rules {
            path: &self.path,
            admission: self.host.admission(),
            proxies: self.config.proxies.trusts(direct).then_some(&self.config.proxies),
            pending,
        };
        stream.set_budget(None);
        stream.unread(head);
        let answered = upgrade::answer(stream, &self.config.limits, direct, challenge, &rules);
        let answered = timeout(self.config.timeouts.handshake_step, answered).await;
        let (stream, address, offer) =
            answered.map_err(|_| GreetError::Timeout)?.map_err(GreetError::Upgrade)?;
        pending.answered(Instant::now());
        Ok(Visitor { stream, address, offer, pending })
    }
}

/// A connection that was accepted.
struct Visit {
    stream: Stream,
    /// The other end, before any proxy is taken into account.
    direct: IpAddr,
    network: Arc<dyn Network>,
}

/// How one request is judged.
struct Rules<'a> {
    path: &'a str,
    admission: Arc<Admission>,
    proxies: Option<&'a TrustedProxies>,
    pending: &'a Pending,
}

impl Policy for Rules<'_> {
    fn path(&self) -> &str {
        self.path
    }

    fn proxies(&self) -> Option<&TrustedProxies> {
        self.proxies
    }

    fn admit(&self, address: IpAddr) -> Result<(), StatusCode> {
        if !self.admission.admits(address) {
            return Err(StatusCode::FORBIDDEN);
        }
        let resolved = self.pending.resolve(address, Instant::now());
        resolved.map_err(|_| StatusCode::TOO_MANY_REQUESTS)
    }

    fn admits_hex(&self, address: IpAddr) -> bool {
        self.admission.admits_hex(address)
    }
}

impl From<Refused> for GreetError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooManyAttempts => Self::Attempts,
            Refused::TooManyPending => Self::Pending,
        }
    }
}

/// Tells the log why somebody was not let in. Strangers cannot fill it: only an address that no
/// invitation names and a hello that does not open are worth more than a debug line, and those are
/// limited by the attempts that an address has.
fn note(address: IpAddr, error: &GreetError) {
    match error {
        GreetError::Handshake(cause) => {
            info!(%address, %cause, "a client was not let in");
        }
        GreetError::Lost(cause) => trace!(%address, %cause, "a client went away"),
        _ => debug!(%address, cause = %error, "a client was not let in"),
    }
}
