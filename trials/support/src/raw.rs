//! HTTP and WebSocket by hand, for peers that do not behave.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use paddington::{Invite, PeerName};
use paddington_crypto::{KeyPair, SecretKey};
use paddington_transport::Stream;
use paddington_wire::sealed::{
    AwaitReady, AwaitReply, Challenge, Credentials, Greeting, HelloRandom, Initiator, SealedSession,
};
use paddington_wire::{CallsState, Features, Frame, Instance, Ready, Software, StreamState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::MemoryNetwork;

/// One WebSocket frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// The first byte: FIN, RSV and opcode.
    pub head: u8,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// Makes a whole binary message.
    #[must_use]
    pub fn binary(payload: &[u8]) -> Self {
        Self { head: 0x82, payload: payload.to_vec() }
    }

    /// Makes a whole text message.
    #[must_use]
    pub fn text(payload: &str) -> Self {
        Self { head: 0x81, payload: payload.as_bytes().to_vec() }
    }

    /// Returns whether this is a binary message.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.head == 0x82
    }

    /// Returns the bytes on the wire; a client's are masked.
    #[must_use]
    pub fn encode(&self, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![self.head];
        match self.payload.len() {
            len @ 0..=125 => bytes.push(mask | len as u8),
            len @ 126..=0xffff => {
                bytes.push(mask | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(mask | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([0; 4]);
        }
        bytes.extend(&self.payload);
        bytes
    }

    /// Reads the next frame.
    ///
    /// # Errors
    ///
    /// If the stream ends.
    pub async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Self> {
        let head = stream.read_u8().await?;
        let len = stream.read_u8().await?;
        let masked = len & 0x80 != 0;
        let len = match len & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            len => u64::from(len),
        };
        let mut mask = [0; 4];
        if masked {
            stream.read_exact(&mut mask).await?;
        }
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        stream.read_exact(&mut payload).await?;
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        Ok(Self { head, payload })
    }
}

/// A client that sends what it is told to.
#[derive(Debug)]
pub struct RawClient {
    /// The connection.
    pub stream: Stream,
}

/// The request of a well-behaved client of the `sealed` encoding.
pub const REQUEST: &str = "GET / HTTP/1.1\r\nHost: server.example:6501\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: paddington.sealed.1\r\n\r\n";

impl RawClient {
    /// Connects to a service on a network.
    pub async fn connect(network: &MemoryNetwork, address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        Self { stream: network.dial(address).await.unwrap() }
    }

    /// Connects and asks for a WebSocket of the `sealed` encoding. Returns the challenge. `address` may
    /// be followed by `?` and a query; else the client is one of the first bucket.
    pub async fn upgrade(network: &MemoryNetwork, address: &str) -> (Self, Challenge) {
        let (address, query) = address.split_once('?').unwrap_or((address, "b=000"));
        let mut client = Self::connect(network, address).await;
        let request = REQUEST.replacen("GET / ", &format!("GET /?{query} "), 1);
        client.write(request.as_bytes()).await;
        let answer = client.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
        let challenge = answer
            .lines()
            .find_map(|line| line.strip_prefix("paddington-challenge: "))
            .expect("a challenge");
        (client, challenge.trim().parse().unwrap())
    }

    /// Sends bytes. A connection that is closed already takes none.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &RawFrame) {
        self.write(&frame.encode(true)).await;
    }

    /// Reads the head of the server's answer.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.expect("a whole head"));
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads everything until the server closes the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end like any other.
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }

    /// Reads the next frame.
    ///
    /// # Errors
    ///
    /// If the connection ends.
    pub async fn receive(&mut self) -> io::Result<RawFrame> {
        RawFrame::read(&mut self.stream).await
    }
}

/// Returns the secrets of the link that an invitation is for.
#[must_use]
pub fn credentials(invite: &Invite) -> Arc<Credentials> {
    let server: PeerName = invite.name().parse().unwrap();
    let client: PeerName = invite.client().unwrap().parse().unwrap();
    Arc::new(Credentials::new(&server, &client, &keys(invite)))
}

/// Returns the keys of an invitation.
#[must_use]
pub fn keys(invite: &Invite) -> KeyPair {
    let [inner, outer] = key_digits(invite);
    let key = |digits: &str| Arc::new(SecretKey::from_hex(digits).unwrap());
    KeyPair::new(key(&inner), key(&outer)).unwrap()
}

/// Reads the keys of an invitation from its file, as hexadecimal digits: inner, outer.
#[must_use]
pub fn key_digits(invite: &Invite) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invitation.toml");
    invite.save(&path).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let mut digits = text.lines().filter_map(|line| line.strip_prefix("data = "));
    let mut next = || digits.next().unwrap().trim_matches('"').to_owned();
    [next(), next()]
}

/// A client that knows its invitation and stops where it is told to.
#[derive(Debug)]
pub struct Intruder {
    /// The connection.
    pub client: RawClient,
    /// Its instance.
    pub instance: Instance,
}

impl Intruder {
    /// Connects, asks for the upgrade, and seals a HELLO that it does not send yet.
    pub async fn prepare(
        network: &MemoryNetwork,
        address: &str,
        credentials: &Arc<Credentials>,
        instance: Instance,
    ) -> (Self, AwaitReply, Vec<u8>) {
        let (client, challenge) = RawClient::upgrade(network, address).await;
        let initiator = Initiator::new(Arc::clone(credentials), instance);
        let random = HelloRandom::generate().unwrap();
        let (waiting, hello) = initiator.hello(&challenge, random).unwrap();
        (Self { client, instance }, waiting, hello.to_vec())
    }

    /// Sends HELLO and takes the REPLY. Returns `None` if the server hangs up.
    pub async fn handshake(
        mut self,
        waiting: AwaitReply,
        hello: &[u8],
    ) -> Option<(Self, AwaitReady)> {
        self.client.send(&RawFrame::binary(hello)).await;
        let reply = self.client.receive().await.ok()?;
        Some((self, waiting.finish(&reply.payload).unwrap()))
    }

    /// Makes the whole handshake up to this side's READY. Returns the server's first frame.
    pub async fn enter(
        network: &MemoryNetwork,
        address: &str,
        credentials: &Arc<Credentials>,
        instance: Instance,
    ) -> Option<(Self, Greeting)> {
        let (intruder, waiting, hello) =
            Self::prepare(network, address, credentials, instance).await;
        let (mut intruder, waiting) = intruder.handshake(waiting, &hello).await?;
        let first = intruder.client.receive().await.ok()?;
        Some((intruder, waiting.finish(&first.payload, 1024 * 1024).unwrap()))
    }

    /// Makes the whole handshake, with the READY of a service that has just started.
    pub async fn establish(
        network: &MemoryNetwork,
        address: &str,
        credentials: &Arc<Credentials>,
        instance: Instance,
    ) -> (Self, Box<SealedSession>) {
        let (mut intruder, greeting) =
            Self::enter(network, address, credentials, instance).await.unwrap();
        let Greeting::Ready(mut session, _) = greeting else { panic!("closed") };
        let ready = Frame::Ready(empty_ready(instance));
        intruder.say(&mut session, &ready).await;
        (intruder, session)
    }

    /// Seals and sends a frame.
    pub async fn say(&mut self, session: &mut SealedSession, frame: &Frame) {
        let sealed = session.encode(frame).unwrap();
        self.client.send(&RawFrame::binary(&sealed)).await;
    }

    /// Reads the next frame that the server seals. Returns `None` if it hangs up.
    pub async fn hear(&mut self, session: &mut SealedSession) -> Option<Frame> {
        loop {
            let frame = self.client.receive().await.ok()?;
            if frame.is_binary() {
                return Some(session.decode(&frame.payload).unwrap());
            }
        }
    }
}

/// The READY of a service that has just started.
#[must_use]
pub fn empty_ready(instance: Instance) -> Ready {
    Ready {
        instance,
        max_payload: 1024 * 1024,
        window: 8 * 1024 * 1024,
        features: Features::NONE,
        mine: vec![StreamState { instance, base: 1, next: 1 }],
        yours: Vec::new(),
        software: Software::default(),
        calls: CallsState::default(),
    }
}
