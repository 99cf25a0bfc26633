//! Runs a handshake over a WebSocket, for both sides and both encodings. The messages and their
//! meaning are defined in `paddington-wire`.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington_wire::sealed::{
    self, Challenge, Greeting, HelloRandom, ReplyRandom, Responder, SealedSession,
};
use paddington_wire::{
    Arrived, Bucket, Credentials, Encoding, Frame, HandshakeError, Instance, InvitedClient,
    InvitedClients, Ready, Recognised, Session, Transmission, Violation, Worthless, hex,
};
use tokio::time::{Instant, timeout};

use crate::admission::PendingConnection;
use crate::contract::{
    AuthenticHello, Host, ReadyReservation, Refusal, Reservation, SessionKeys, WorthlessHello,
};
use crate::error::{AcceptError, Step};
use crate::upgrade::Offer;
use crate::websocket::{SocketError, WebSocket};
use crate::{Config, DialError, Stream, UpgradeError};

/// The time after which a server that hangs up has not done so because of what it received: it
/// refuses a hello at once.
const LATE: Duration = Duration::from_secs(3);
/// The longest message before the hello or the reply, in bytes (`docs/protocol.md` §9).
const HELLO_LIMIT: usize = 2_048;
/// The longest message from then to READY, in bytes.
const READY_LIMIT: usize = Ready::MAX_LEN as usize;

/// An authenticated connection that has taken its slot.
pub(crate) struct Established<T> {
    pub(crate) socket: WebSocket,
    pub(crate) session: Session,
    pub(crate) traffic: T,
}

/// A client's connection after the upgrade, on the server's side.
pub(crate) struct Upgraded<'a> {
    pub(crate) stream: Stream,
    pub(crate) address: IpAddr,
    pub(crate) offer: Offer,
    /// The bucket that the client has asked for.
    pub(crate) bucket: Option<Bucket>,
    pub(crate) pending: &'a PendingConnection,
}

/// The traffic of the connections of a host's clients.
pub(crate) type TrafficOf<H> = <<H as Host>::Reservation as Reservation>::Traffic;

/// The credentials with which a client proves its name.
#[derive(Clone, Debug)]
pub struct Login {
    /// The secrets of the link. Of keys with generations, an attempt uses one.
    pub credentials: Credentials,
    /// The instance of the client.
    pub instance: Instance,
}

/// Performs the server's side of the handshake: authenticates the client and takes its slot.
pub(crate) async fn respond<H: Host>(
    host: &H,
    decoy: &Arc<sealed::Credentials>,
    upgraded: Upgraded<'_>,
    config: &Config,
) -> Result<Established<TrafficOf<H>>, AcceptError> {
    let clients = host.clients();
    match upgraded.offer {
        Offer::Sealed(challenge) => {
            let responder = Responder::new(challenge, Arc::clone(decoy));
            respond_sealed(host, &clients, responder, upgraded, config).await
        }
        Offer::Hex => respond_hex(host, &clients, upgraded, config).await,
    }
}

async fn respond_sealed<H: Host>(
    host: &H,
    clients: &InvitedClients,
    responder: Responder,
    upgraded: Upgraded<'_>,
    config: &Config,
) -> Result<Established<TrafficOf<H>>, AcceptError> {
    let timeouts = &config.timeouts;
    let mut socket =
        WebSocket::server(upgraded.stream, max_message_len(Encoding::Sealed, config)).await;
    socket.allow(HELLO_LIMIT);
    let hello = step(timeouts.handshake_step, next_binary(&mut socket)).await?;

    let (address, bucket) = (upgraded.address, upgraded.bucket);
    let Recognised { client, generation, authenticated } =
        recognise(host, clients, address, bucket, responder, &hello)?;
    upgraded.pending.authenticated();
    let instance = Some(authenticated.instance());
    let hello =
        AuthenticHello { client, address, generation, encoding: Encoding::Sealed, instance };
    let random = ReplyRandom::generate().map_err(HandshakeError::from)?;
    let (mut waiting, reply) = authenticated.reply(&random)?;
    let (reservation, first) = match host.reserve(hello).await {
        Ok(reservation) => {
            let (ready, reservation) = reservation.ready();
            (Ok(reservation), Frame::Ready(ready))
        }
        Err(Refusal::Close(code)) => (Err(AcceptError::Refused(Some(code))), Frame::Close(code)),
        Err(Refusal::Silent) => return Err(AcceptError::Refused(None)),
    };
    let first = waiting.first(&first)?;
    socket.allow(READY_LIMIT);
    step(timeouts.handshake_step, async {
        socket.send(Transmission::Binary(reply[..].into())).await?;
        Ok(socket.send(Transmission::Binary(first.into())).await?)
    })
    .await?;
    let reservation = reservation?;
    // packets may be lost both ways before it
    let theirs = step(timeouts.establish, next_binary(&mut socket)).await?;
    let Greeting::Ready(mut session, theirs) =
        waiting.finish(&theirs, config.limits.max_payload)?
    else {
        return Err(AcceptError::Gone);
    };
    step(timeouts.handshake_step, async { Ok(socket.establish().await?) }).await?;
    let keys = SessionKeys { generation, exporter: session.take_exporter() };
    match reservation.establish(&theirs, keys) {
        Ok(traffic) => Ok(Established { socket, session: session.into(), traffic }),
        Err(refusal) => {
            let sent = farewell(&mut socket, &mut session, refusal);
            let _ = timeout(timeouts.close, sent).await;
            Err(refused(refusal))
        }
    }
}

/// Finds out who has sent a hello. The host is told if it is somebody with keys that are no longer valid,
/// who then learns no more than any stranger.
fn recognise<H: Host>(
    host: &H,
    clients: &InvitedClients,
    address: IpAddr,
    bucket: Option<Bucket>,
    responder: Responder,
    hello: &[u8],
) -> Result<Recognised<InvitedClient>, AcceptError> {
    let candidates = clients.sealed_candidates(address, bucket, host.unix_time());
    candidates.authenticate(responder, hello).map_err(|refused| {
        let Some(Worthless { client, generation, why }) = refused.worthless else {
            return refused.error.into();
        };
        host.recognised(WorthlessHello { client, address, generation, why });
        AcceptError::Worthless(why)
    })
}

async fn respond_hex<H: Host>(
    host: &H,
    clients: &InvitedClients,
    upgraded: Upgraded<'_>,
    config: &Config,
) -> Result<Established<TrafficOf<H>>, AcceptError> {
    let timeouts = &config.timeouts;
    let mut socket =
        WebSocket::server(upgraded.stream, max_message_len(Encoding::Hex, config)).await;
    socket.allow(hex::MAX_HANDSHAKE_LEN);
    let hello = step(timeouts.handshake_step, next_text(&mut socket)).await?;

    let candidates = clients.hex_candidates(upgraded.address);
    let client = hex::authenticate(&hello, candidates.credentials())?;
    let hello = AuthenticHello {
        client: Arc::clone(candidates.client(client.candidate())),
        address: upgraded.address,
        generation: 0,
        encoding: Encoding::Hex,
        instance: None,
    };
    let reservation = host.reserve(hello).await.map_err(refused)?;
    let (session, reply) = client.reply()?;
    let sent = async { Ok(socket.send(Transmission::Text(reply)).await?) };
    step(timeouts.handshake_step, sent).await?;
    socket.allow_all();
    let traffic = reservation.establish().map_err(refused)?;
    Ok(Established { socket, session: session.into(), traffic })
}

/// Performs the client's side of the handshake: authenticates both services and takes the slot. Of keys
/// with generations, it uses those that are `back` before the newest.
pub(crate) async fn initiate<P: Reservation>(
    reservation: P,
    login: &Login,
    back: usize,
    stream: Stream,
    offer: Offer,
    config: &Config,
) -> Result<Established<P::Traffic>, DialError> {
    let max_message = max_message_len(login.credentials.encoding(), config);
    let socket = WebSocket::client(stream, max_message).await;
    match (&login.credentials, offer) {
        (Credentials::Sealed(link), Offer::Sealed(challenge)) => {
            let initiator = sealed::Initiator::new(Arc::clone(link), login.instance);
            initiate_sealed(reservation, initiator, 0, &challenge, socket, config).await
        }
        (Credentials::Ring(ring), Offer::Sealed(challenge)) => {
            let mut newest_first = ring.generations().iter().rev();
            let offered = newest_first.nth(back).or(ring.generations().last());
            let offered = offered.ok_or(DialError::NoKeys)?;
            let initiator =
                sealed::Initiator::new(Arc::clone(offered.credentials()), login.instance);
            let generation = offered.number();
            initiate_sealed(reservation, initiator, generation, &challenge, socket, config).await
        }
        (Credentials::Hex(link), Offer::Hex) => {
            initiate_hex(reservation, hex::Initiator::new(Arc::clone(link)), socket, config).await
        }
        _ => Err(DialError::Upgrade(UpgradeError::OtherEncoding("it uses the other encoding"))),
    }
}

async fn initiate_sealed<P: Reservation>(
    reservation: P,
    initiator: sealed::Initiator,
    generation: u64,
    challenge: &Challenge,
    mut socket: WebSocket,
    config: &Config,
) -> Result<Established<P::Traffic>, DialError> {
    let may_speak =
        |reservation: &P| reservation.may_speak().then_some(()).ok_or(DialError::NotNow);
    let random = HelloRandom::generate().map_err(HandshakeError::from)?;
    let (waiting, hello) = initiator.hello(challenge, random)?;
    socket.allow(HELLO_LIMIT);
    may_speak(&reservation)?;
    let hello = Transmission::Binary(hello[..].into());
    said(config, socket.send(hello)).await?;
    let reply = answer(config, next_binary(&mut socket)).await?;
    let waiting = waiting.finish(&reply)?;
    socket.allow(READY_LIMIT);
    let theirs = answer(config, next_binary(&mut socket)).await?;
    let (mut session, theirs) = match waiting.finish(&theirs, config.limits.max_payload)? {
        Greeting::Ready(session, theirs) => (session, theirs),
        Greeting::Closed(code) => return Err(DialError::Refused(code)),
    };
    may_speak(&reservation)?;
    let (ready, reservation) = reservation.ready();
    let first = session.encode(&Frame::Ready(ready)).map_err(DialError::Transmit)?;
    said(config, async {
        socket.send(Transmission::Binary(first.into())).await?;
        socket.establish().await
    })
    .await?;
    let keys = SessionKeys { generation, exporter: session.take_exporter() };
    match reservation.establish(&theirs, keys) {
        Ok(traffic) => Ok(Established { socket, session: session.into(), traffic }),
        Err(refusal) => {
            let sent = farewell(&mut socket, &mut session, refusal);
            let _ = timeout(config.timeouts.close, sent).await;
            Err(DialError::Superseded)
        }
    }
}

async fn initiate_hex<P: Reservation>(
    reservation: P,
    initiator: hex::Initiator,
    mut socket: WebSocket,
    config: &Config,
) -> Result<Established<P::Traffic>, DialError> {
    socket.allow(hex::MAX_HANDSHAKE_LEN);
    let (waiting, hello) = initiator.hello()?;
    said(config, socket.send(Transmission::Text(hello))).await?;
    let reply = answer(config, next_text(&mut socket)).await?;
    let session = waiting.finish(&reply)?;
    socket.allow_all();
    let traffic = reservation.establish().map_err(|_| DialError::Superseded)?;
    Ok(Established { socket, session: session.into(), traffic })
}

fn refused(refusal: Refusal) -> AcceptError {
    match refusal {
        Refusal::Close(code) => AcceptError::Refused(Some(code)),
        Refusal::Silent => AcceptError::Refused(None),
    }
}

/// Tells an authenticated peer why it is refused, if it is to know.
async fn farewell(socket: &mut WebSocket, session: &mut SealedSession, refusal: Refusal) {
    if let Refusal::Close(code) = refusal
        && let Ok(close) = session.encode(&Frame::Close(code))
    {
        // The peer may be gone already.
        let _ = socket.send(Transmission::Binary(close.into())).await;
    }
}

/// Returns the longest message that a connection may ever receive. Less is allowed before it is
/// established.
fn max_message_len(encoding: Encoding, config: &Config) -> usize {
    Session::max_message_len(encoding, config.limits.max_payload).max(READY_LIMIT)
}

/// Performs a step of the server's side within its time limit.
async fn step<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, AcceptError>>,
) -> Result<T, AcceptError> {
    timeout(limit, step).await.map_err(|_| AcceptError::Timeout)?
}

/// Sends a message of the client's side within the time limit of an answer.
async fn said(
    config: &Config,
    said: impl Future<Output = Result<(), SocketError>>,
) -> Result<(), DialError> {
    match timeout(config.timeouts.reply, said).await {
        Ok(said) => said.map_err(DialError::HungUp),
        Err(_) => Err(DialError::Timeout(Step::Say)),
    }
}

/// Waits for an answer on the client's side within its time limit.
async fn answer<T>(
    config: &Config,
    answer: impl Future<Output = Result<T, AcceptError>>,
) -> Result<T, DialError> {
    let asked = Instant::now();
    match timeout(config.timeouts.reply, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(AcceptError::Lost(error))) if asked.elapsed() >= LATE => {
            Err(DialError::HungUpLate(error))
        }
        Ok(Err(AcceptError::Lost(error))) => Err(DialError::HungUp(error)),
        Ok(Err(AcceptError::Handshake(error))) => Err(DialError::Handshake(error)),
        Ok(Err(_)) => {
            Err(DialError::Handshake(HandshakeError::Violation(Violation::OtherEncoding)))
        }
        Err(_) => Err(DialError::Timeout(Step::Handshake)),
    }
}

/// Returns the next message, which must be binary. Pings are skipped.
async fn next_binary(socket: &mut WebSocket) -> Result<Vec<u8>, AcceptError> {
    loop {
        match socket.receive().await?.take() {
            Some(Arrived::Binary(bytes)) => return Ok(bytes.into()),
            Some(Arrived::Ping | Arrived::Pong) | None => {}
            Some(Arrived::Text(_) | Arrived::Close) => return Err(other_encoding()),
        }
    }
}

/// Returns the next message, which must be text. Pings are skipped.
async fn next_text(socket: &mut WebSocket) -> Result<String, AcceptError> {
    loop {
        match socket.receive().await?.take() {
            Some(Arrived::Text(text)) => return Ok(text.to_owned()),
            Some(Arrived::Ping | Arrived::Pong) | None => {}
            Some(Arrived::Binary(_) | Arrived::Close) => return Err(other_encoding()),
        }
    }
}

fn other_encoding() -> AcceptError {
    HandshakeError::Violation(Violation::OtherEncoding).into()
}
