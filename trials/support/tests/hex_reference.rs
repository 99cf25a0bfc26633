//! The `hex` encoding against the original, written here as naively as the original writes it:
//! orion, serde_json and hex, twice. Neither shares a line with `paddington-crypto`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use orion::aead;
use paddington::{Encoding, Invite, Message, Service, ServiceConfig};
use paddington_test_support::{Inbox, key_digits};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

const COUNT: u64 = 1000;

/// A key as the original holds and sends it: 64 digits, called `data`.
#[derive(Clone, Deserialize, Serialize)]
struct Key {
    data: String,
}

impl Key {
    fn generate() -> Self {
        Self { data: hex::encode(aead::SecretKey::generate().unwrap().unprotected_as_ref()) }
    }

    fn secret(&self) -> aead::SecretKey {
        aead::SecretKey::try_from(hex::decode(&self.data).unwrap().as_slice()).unwrap()
    }

    fn encrypt(&self, value: &impl Serialize) -> String {
        let json = serde_json::to_string(value).unwrap();
        hex::encode(aead::seal(&self.secret(), json.as_bytes()).unwrap())
    }

    fn decrypt<T: DeserializeOwned>(&self, text: &str) -> T {
        let json = aead::open(&self.secret(), &hex::decode(text).unwrap()).unwrap();
        serde_json::from_str(std::str::from_utf8(&json).unwrap()).unwrap()
    }
}

/// The two keys of an invitation or of a session.
#[derive(Clone)]
struct Keys {
    inner: Key,
    outer: Key,
}

impl Keys {
    fn of(invite: &Invite) -> Self {
        let [inner, outer] = key_digits(invite).map(|data| Key { data });
        Self { inner, outer }
    }

    fn seal(&self, value: &impl Serialize) -> Frame {
        Frame::text(self.outer.encrypt(&self.inner.encrypt(value)))
    }

    fn open<T: DeserializeOwned>(&self, frame: &Frame) -> T {
        let Frame::Text(text) = frame else { panic!("not a text: {frame:?}") };
        self.inner.decrypt(&self.outer.decrypt::<String>(text))
    }
}

/// How the original leaves: without a Close, with its last message sent or only queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Sent,
    Queued,
}

/// A connection of the original, after its handshake.
struct Reference {
    socket: WebSocketStream<TcpStream>,
    session: Keys,
}

impl Reference {
    /// Connects as a client: HELLO, then REPLY.
    async fn dial(address: &str, invitation: Keys) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/any/path");
        let (mut socket, answer) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        assert!(answer.headers().get("sec-websocket-protocol").is_none());
        let client_key = Key::generate();
        socket.send(invitation.seal(&client_key)).await.unwrap();
        let waiting = Keys { inner: invitation.inner, outer: client_key };
        let server_key = waiting.open(&socket.next().await.unwrap().unwrap());
        Self { socket, session: Keys { inner: server_key, outer: waiting.outer } }
    }

    /// Waits for a client: HELLO, which has to be its first message, then REPLY.
    async fn accept(listener: TcpListener, invitation: Keys) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let client_key: Key = invitation.open(&socket.next().await.unwrap().unwrap());
        let server_key = Key::generate();
        let reply = Keys { inner: invitation.inner, outer: client_key };
        socket.send(reply.seal(&server_key)).await.unwrap();
        Self { socket, session: Keys { inner: server_key, outer: reply.outer } }
    }

    async fn send(&mut self, text: &str) {
        self.socket.send(self.session.seal(&text)).await.unwrap();
    }

    /// Waits for the next message. Pings are answered by the WebSocket itself, and have to be
    /// empty.
    async fn receive(&mut self) -> String {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Frame::Ping(content) => assert!(content.is_empty(), "the original would warn"),
                frame => return self.session.open(&frame),
            }
        }
    }

    /// Echoes every message. Ends with the last one and returns what it has echoed.
    async fn echo(mut self, leaving: Leaving) -> Vec<String> {
        let mut echoed = Vec::new();
        loop {
            let text = self.receive().await;
            echoed.push(text.clone());
            if text == "0" {
                if leaving == Leaving::Sent {
                    self.send(&text).await;
                } else {
                    self.socket.feed(self.session.seal(&text)).await.unwrap();
                }
                return echoed;
            }
            self.send(&text).await;
        }
    }

    /// Counts down with a peer that echoes. Ends after the last echo and returns what came.
    async fn count_down(mut self) -> Vec<String> {
        let mut heard = Vec::new();
        self.send(&COUNT.to_string()).await;
        loop {
            let text = self.receive().await;
            heard.push(text.clone());
            match text.parse::<u64>().unwrap() {
                0 => return heard,
                number => self.send(&(number - 1).to_string()).await,
            }
        }
    }
}

/// All messages of one direction.
fn countdown() -> Vec<String> {
    (0..=COUNT).rev().map(|number| number.to_string()).collect()
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.unwrap()
}

#[test]
fn the_naive_peer_is_the_one_of_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/hex.json");
    let vectors: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = |name: &str| vectors[name].as_str().unwrap().to_owned();
    let keys = |inner: &str, outer: &str| Keys {
        inner: Key { data: text(inner) },
        outer: Key { data: text(outer) },
    };
    let open = |keys: Keys, name| keys.open::<Key>(&Frame::text(text(name))).data;
    assert_eq!(open(keys("inner_key", "outer_key"), "hello"), text("kc"));
    assert_eq!(open(keys("inner_key", "kc"), "reply"), text("ks"));
    let session = keys("ks", "kc");
    assert_eq!(session.open::<String>(&Frame::text(text("message_1000"))), "1000");
    let utf8 = Frame::text(text("message_utf8"));
    assert_eq!(session.open::<String>(&utf8), text("message_utf8_text"));

    let length = |frame: Frame| frame.len();
    assert_eq!(length(keys("inner_key", "outer_key").seal(&Key::generate())), 544);
    assert_eq!(length(session.seal(&"1000")), 244 + 4 * 6);
}

#[tokio::test]
async fn a_client_of_the_original_counts_down_with_our_server() {
    for leaving in [Leaving::Sent, Leaving::Queued] {
        let (inbox, handler) = Inbox::new();
        let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0).unwrap();
        let invite = server.add_client_with("client", "127.0.0.1", Encoding::Hex).unwrap();
        let server = Service::start(&server, handler).await.unwrap();
        let address = format!("127.0.0.1:{}", server.address().unwrap().port());
        let invitation = Keys::of(&invite);
        let client =
            tokio::spawn(
                async move { Reference::dial(&address, invitation).await.echo(leaving).await },
            );

        let mut heard = Vec::new();
        in_time(async {
            assert_eq!(inbox.next().await.payload(), r#"{"Connected":{"agent":"client"}}"#);
            server.send(Message::new("client", COUNT.to_string())).await.unwrap();
            loop {
                let message = inbox.next().await;
                if message.is_control() {
                    assert_eq!(message.payload(), r#"{"Disconnected":{"agent":"client"}}"#);
                    break;
                }
                heard.push(message.payload().to_owned());
                if let next @ 1.. = message.payload().parse::<u64>().unwrap() {
                    server.send(Message::new("client", (next - 1).to_string())).await.unwrap();
                }
            }
        })
        .await;
        let expected = countdown();
        assert_eq!(in_time(client).await.unwrap(), expected, "{leaving:?}");
        let last = if leaving == Leaving::Sent { expected.len() } else { expected.len() - 1 };
        assert_eq!(heard, expected[..last], "{leaving:?}");
        assert!(server.shutdown().await.is_clean());
    }
}

#[tokio::test]
async fn our_client_counts_down_with_a_server_of_the_original() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    let mut issuer = ServiceConfig::new("server", &address, "127.0.0.1", &0).unwrap();
    let invite = issuer.add_client_with("client", "127.0.0.1", Encoding::Hex).unwrap();
    let invitation = Keys::of(&invite);
    let server =
        tokio::spawn(
            async move { Reference::accept(listener, invitation).await.count_down().await },
        );

    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0).unwrap();
    client.add_server(invite).unwrap();
    let (inbox, handler) = Inbox::new();
    let client = Service::start(&client, handler).await.unwrap();
    let mut heard = Vec::new();
    in_time(async {
        assert_eq!(inbox.next().await.payload(), r#"{"Connected":{"agent":"server"}}"#);
        loop {
            let message = inbox.next().await;
            if message.is_control() {
                assert_eq!(message.payload(), r#"{"Disconnected":{"agent":"server"}}"#);
                break;
            }
            client.send(Message::new("server", message.payload())).await.unwrap();
            heard.push(message.payload().to_owned());
        }
    })
    .await;
    assert_eq!(heard, countdown());
    assert_eq!(in_time(server).await.unwrap(), countdown());
    assert!(client.shutdown().await.is_clean());
}
