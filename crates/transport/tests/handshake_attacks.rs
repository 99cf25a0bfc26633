//! Attacks on the handshake of the `sealed` encoding (`docs/protocol.md` §13). The server closes
//! the attacker's connection without an answer and keeps nothing of it, and the honest client still
//! connects.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use paddington::{Encoding, Message, PeerStatus, Service};
use paddington_test_support::{
    FakeServer, Inbox, Intruder, Pair, RawClient, RawFrame, credentials, empty_ready, pair,
    pair_with,
};
use paddington_wire::sealed::{Challenge, Credentials, Greeting, ReplyRandom, Responder};
use paddington_wire::{CloseCode, Frame, Instance};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const SERVER: &str = "127.0.0.1:6501";
/// The attacker's address: its attempts do not count against the honest client.
const ATTACKER: &str = "10.0.0.66";

fn instance(byte: u8) -> Instance {
    Instance::from([byte; 16])
}

/// A pair whose server expects its client from anywhere.
fn open_pair() -> Pair {
    let mut pair = pair();
    let mut server =
        paddington::ServiceConfig::new("server", "ws://server:6501", "127.0.0.1", &6501).unwrap();
    pair.invite = server.add_client("client", "0.0.0.0/0").unwrap();
    let mut client =
        paddington::ServiceConfig::new("client", "ws://client:6502", "127.0.0.1", &6502).unwrap();
    client.add_server(pair.invite.clone()).unwrap();
    (pair.server, pair.client) = (server, client);
    pair.server.settings_mut().transport.limits.attempts = 10_000;
    pair.server.settings_mut().handshakes = 10_000;
    pair
}

fn status(service: &Service) -> PeerStatus {
    service.peers().remove(0)
}

/// Checks that the honest client can connect and send.
async fn honest_client_connects(pair: &Pair, inbox: &Inbox) -> Service {
    let (client, _) = pair.start_client().await;
    client.send(Message::new("server", "honest")).await.unwrap();
    assert_eq!(inbox.text().await, "honest");
    client
}

/// Checks that the server closes the connection at once, without an answer.
async fn is_hung_up_on(client: &mut RawClient) {
    let asked = Instant::now();
    assert_eq!(client.rest().await, b"", "not a word");
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_recorded_hello_is_worthless_on_another_connection() {
    let pair = open_pair();
    let (server, inbox) = pair.start_server().await;
    let attacker = pair.network.from(ATTACKER);
    let secrets = credentials(&pair.invite);
    let (_, _, hello) = Intruder::prepare(&attacker, SERVER, &secrets, instance(1)).await;
    for attempt in 0..50 {
        let (mut client, _) = RawClient::upgrade(&attacker, SERVER).await;
        client.send(&RawFrame::binary(&hello)).await;
        is_hung_up_on(&mut client).await;
        if attempt == 25 {
            honest_client_connects(&pair, &inbox).await;
        }
    }
    assert!(status(&server).is_connected(), "the honest session is undisturbed");
    assert_eq!(inbox.drain().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_relayed_hello_without_the_keys_leads_nowhere_and_times_out() {
    let pair = open_pair();
    let (server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    for with_older_connection in [false, true] {
        let honest = match with_older_connection {
            true => Some(honest_client_connects(&pair, &inbox).await),
            false => None,
        };
        // The relay passes the hello on and drops the reply. The hello names an unknown instance.
        let (intruder, waiting, hello) =
            Intruder::prepare(&pair.network, SERVER, &secrets, instance(9)).await;
        let before = Instant::now();
        let mut client = intruder.client;
        client.send(&RawFrame::binary(&hello)).await;
        drop(waiting);
        client.rest().await;
        assert!(before.elapsed() <= Duration::from_secs(15), "closed at the deadline");
        assert_eq!(status(&server).is_connected(), with_older_connection);
        if let Some(honest) = honest {
            honest.send(Message::new("server", "still here")).await.unwrap();
            assert_eq!(inbox.text().await, "still here");
            honest.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_hello_is_refused_whatever_was_changed() {
    let pair = open_pair();
    let (server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let attacker = pair.network.from(ATTACKER);
    for at in (0..1344).step_by(61).chain([0, 15, 16, 47, 48, 1343]) {
        let (intruder, _, mut hello) =
            Intruder::prepare(&attacker, SERVER, &secrets, instance(1)).await;
        hello[at] ^= 1;
        let mut client = intruder.client;
        client.send(&RawFrame::binary(&hello)).await;
        is_hung_up_on(&mut client).await;
    }
    assert!(!status(&server).is_connected());
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_hello_of_another_shape_is_refused() {
    let pair = open_pair();
    let (_server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let attacker = pair.network.from(ATTACKER);
    type Shape = fn(&[u8]) -> Vec<RawFrame>;
    let shapes: [(&str, Shape); 9] = [
        ("truncated", |hello| vec![RawFrame::binary(&hello[..1343])]),
        ("lengthened", |hello| vec![RawFrame::binary(&[hello, &[0]].concat())]),
        ("empty", |_| vec![RawFrame::binary(&[])]),
        ("text", |_| vec![RawFrame::text(&"x".repeat(1344))]),
        ("two in one", |hello| vec![RawFrame::binary(&[hello, hello].concat()[..2000])]),
        ("two halves", |hello| {
            vec![RawFrame::binary(&hello[..700]), RawFrame::binary(&hello[700..])]
        }),
        ("compressed", |hello| vec![RawFrame { head: 0xc2, payload: hello.to_vec() }]),
        ("a reserved opcode", |hello| vec![RawFrame { head: 0x83, payload: hello.to_vec() }]),
        ("closed", |_| vec![RawFrame { head: 0x88, payload: Vec::new() }]),
    ];
    for (what, shape) in shapes {
        let (intruder, _, hello) =
            Intruder::prepare(&attacker, SERVER, &secrets, instance(1)).await;
        let mut client = intruder.client;
        for frame in shape(&hello) {
            client.send(&frame).await;
        }
        let rest = client.rest().await;
        // Every WebSocket answers a Close with a Close, which reveals nothing.
        assert!(rest.is_empty() || (what == "closed" && rest[0] == 0x88), "{what}: {rest:?}");
    }
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_first_message_is_refused_before_it_is_buffered() {
    let pair = open_pair();
    let (_server, inbox) = pair.start_server().await;
    let attacker = pair.network.from(ATTACKER);
    for fragmented in [false, true] {
        let (mut client, _) = RawClient::upgrade(&attacker, SERVER).await;
        let size: usize = if fragmented { 100 } else { 16 * 1024 * 1024 };
        let head = if fragmented { 0x02 } else { 0x82 };
        let mut frame = RawFrame { head, payload: vec![7; size] }.encode(true);
        let mut taken = 0;
        // The network holds 64 KiB; the server has read everything beyond that.
        for round in 0..200_000 {
            let piece: Vec<u8> = frame.drain(..frame.len().min(100)).collect();
            let sent =
                tokio::time::timeout(Duration::from_millis(1), client.stream.write_all(&piece));
            match sent.await {
                Ok(Ok(())) => taken += piece.len(),
                _ => break,
            }
            if frame.is_empty() && round < 100_000 {
                frame = RawFrame { head: 0x00, payload: vec![7; 100] }.encode(true);
            }
        }
        assert!(taken <= 64 * 1024 + 3_000, "{taken} bytes were taken");
        is_hung_up_on(&mut client).await;
    }
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_is_sent_byte_by_byte_times_out() {
    let pair = open_pair();
    let (_server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let (intruder, _, hello) =
        Intruder::prepare(&pair.network, SERVER, &secrets, instance(1)).await;
    let mut client = intruder.client;
    let begun = Instant::now();
    for byte in RawFrame::binary(&hello).encode(true) {
        if client.stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
    is_hung_up_on(&mut client).await;
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn wrong_names_and_wrong_keys_are_refused() {
    let pair = open_pair();
    let (_server, inbox) = pair.start_server().await;
    let attacker = pair.network.from(ATTACKER);
    let keys = paddington_test_support::keys(&pair.invite);
    let other = paddington_crypto_keys();
    let (inner, outer) = (keys.inner(), keys.outer());
    let pairs = [(outer, inner), (inner, other.outer()), (other.inner(), outer)];
    let name = |text: &str| text.parse().unwrap();
    let with = |inner: &Arc<_>, outer: &Arc<_>| {
        paddington_crypto::KeyPair::new(Arc::clone(inner), Arc::clone(outer)).unwrap()
    };
    let mut wrong: Vec<_> = pairs
        .map(|(inner, outer)| {
            Credentials::new(&name("server"), &name("client"), &with(inner, outer))
        })
        .into();
    wrong.push(Credentials::new(&name("client"), &name("server"), &with(inner, outer)));
    wrong.push(Credentials::new(&name("server"), &name("other"), &with(inner, outer)));
    for secrets in wrong {
        let (intruder, _, hello) =
            Intruder::prepare(&attacker, SERVER, &Arc::new(secrets), instance(1)).await;
        let mut client = intruder.client;
        client.send(&RawFrame::binary(&hello)).await;
        is_hung_up_on(&mut client).await;
    }
    honest_client_connects(&pair, &inbox).await;
}

fn paddington_crypto_keys() -> paddington_crypto::KeyPair {
    paddington_crypto::KeyPair::generate().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hello_of_the_other_encoding_is_refused() {
    // `hex` on a `sealed` link: the upgrade without a subprotocol fails already
    let pair = open_pair();
    let (_server, inbox) = pair.start_server().await;
    let mut client = RawClient::connect(&pair.network.from(ATTACKER), SERVER).await;
    let request = paddington_test_support::REQUEST
        .replace("Sec-WebSocket-Protocol: paddington.sealed.1\r\n", "");
    client.write(request.as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 400 "));
    let (mut client, _) = RawClient::upgrade(&pair.network.from(ATTACKER), SERVER).await;
    client.send(&RawFrame::text(&"0".repeat(544))).await;
    is_hung_up_on(&mut client).await;
    honest_client_connects(&pair, &inbox).await;

    // a sealed hello on a `hex` link
    let pair = pair_with(Encoding::Hex);
    let (server, _inbox) = pair.start_server().await;
    let (mut client, _) = RawClient::upgrade(&pair.network, SERVER).await;
    client.send(&RawFrame::binary(&[7; 1344])).await;
    is_hung_up_on(&mut client).await;
    assert!(!status(&server).is_connected());
}

#[tokio::test(start_paused = true)]
async fn the_server_refuses_a_wrong_first_frame() {
    let pair = open_pair();
    let (server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let mut another_instance = empty_ready(instance(2));
    another_instance.mine[0].instance = instance(2);
    let wrong = [
        ("another instance", Frame::Ready(another_instance)),
        ("no READY", Frame::Ping(1)),
        ("CLOSE", Frame::Close(CloseCode::Shutdown)),
    ];
    for (what, first) in wrong {
        let (mut intruder, greeting) =
            Intruder::enter(&pair.network, SERVER, &secrets, instance(1)).await.unwrap();
        let Greeting::Ready(mut session, _) = greeting else { panic!("{what}") };
        intruder.say(&mut session, &first).await;
        is_hung_up_on(&mut intruder.client).await;
        assert!(!status(&server).is_connected(), "{what}");
    }
    let (mut intruder, greeting) =
        Intruder::enter(&pair.network, SERVER, &secrets, instance(1)).await.unwrap();
    assert!(matches!(greeting, Greeting::Ready(..)));
    intruder.client.send(&RawFrame::binary(&[1; 100])).await;
    is_hung_up_on(&mut intruder.client).await;
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn an_authenticated_client_with_a_bad_encapsulation_key_is_refused() {
    let pair = open_pair();
    let (_server, inbox) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    let good = paddington_crypto::kem::KemKeyPair::generate().unwrap();
    let body = |change: &dyn Fn(&mut [u8])| {
        let mut key = good.encapsulation_key().to_vec();
        change(&mut key);
        let body = [&[7; 32][..], &[1; 16], &key].concat();
        <[u8; 1264]>::try_from(body).unwrap()
    };
    let cases: [(&str, [u8; 1264], bool); 4] = [
        ("a good key", body(&|_| {}), true),
        ("above the modulus", body(&|key| key[..3].fill(0xff)), false),
        ("a point of low order", body(&|key| key[1184..].fill(0)), false),
        ("zeros", body(&|key| key.fill(0)), false),
    ];
    for (what, body, answered) in cases {
        let (mut client, challenge) = RawClient::upgrade(&pair.network, SERVER).await;
        let hello = paddington_wire::sealed::fuzzing::seal_hello(&secrets, &challenge, &body);
        client.send(&RawFrame::binary(&hello)).await;
        if answered {
            assert_eq!(client.receive().await.unwrap().payload.len(), 1184, "{what}");
        } else {
            is_hung_up_on(&mut client).await;
        }
    }
    honest_client_connects(&pair, &inbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_accepts_only_a_valid_upgrade() {
    let pair = open_pair();
    let mut fake = FakeServer::new(&pair.network, SERVER).await;
    let (client, _) = pair.start_client().await;
    let good = FakeServer::good_answer(&Challenge::random().unwrap());
    let challenge = good.lines().find(|line| line.starts_with("Paddington")).unwrap().to_owned();
    let wrong = [
        good.replace("101 Switching Protocols", "200 OK"),
        good.replace("Sec-WebSocket-Protocol: paddington.sealed.1\r\n", ""),
        good.replace("paddington.sealed.1", "paddington.sealed.2"),
        good.replace("{accept}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        good.replace(&format!("{challenge}\r\n"), ""),
        good.replace(&challenge, &format!("{challenge}\r\n{challenge}")),
        good.replace(&challenge, &challenge[..challenge.len() - 1]),
        good.replace(&challenge, &format!("{challenge}0")),
        good.replace(&challenge, &challenge.replace("Challenge: ", "Challenge: x")),
        good.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        good.replace("Upgrade: websocket", "Upgrade: h2c"),
    ];
    for answer in wrong {
        let mut stream = fake.answer(&answer).await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "the client sent a hello after this answer: {answer}");
    }
    let mut stream = fake.answer(&good).await;
    let hello = RawFrame::read(&mut stream).await.unwrap();
    assert_eq!((hello.is_binary(), hello.payload.len()), (true, 1344));
    assert!(!status(&client).is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_client_accepts_only_the_reply_of_its_server() {
    let pair = open_pair();
    let secrets = credentials(&pair.invite);
    let mut fake = FakeServer::new(&pair.network, SERVER).await;
    let (client, inbox) = pair.start_client().await;
    for attack in ["reflected", "changed", "of another handshake", "for another challenge"] {
        let (shown, used) = (Challenge::random().unwrap(), Challenge::random().unwrap());
        let used = if attack == "for another challenge" { used } else { shown };
        let mut stream = fake.answer(&FakeServer::good_answer(&shown)).await;
        let hello = RawFrame::read(&mut stream).await.unwrap().payload;
        let decoy = Arc::new(Credentials::decoy().unwrap());
        let answered = Responder::new(used, decoy).authenticate(&hello, &[Arc::clone(&secrets)]);
        let reply = match (attack, answered) {
            ("reflected", _) => hello[..1184].to_vec(),
            ("changed", Ok(hello)) => {
                let (_, mut reply) = hello.reply(&ReplyRandom::generate().unwrap()).unwrap();
                reply[100] ^= 1;
                reply.to_vec()
            }
            ("of another handshake", _) => vec![7; 1184],
            (_, Err(_)) => vec![1; 1184],
            (attack, Ok(_)) => panic!("{attack}"),
        };
        stream.write_all(&RawFrame::binary(&reply).encode(false)).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{attack}");
    }
    assert!(!status(&client).is_connected());
    assert_eq!(inbox.drain().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_up_on_a_silent_server() {
    let pair = open_pair();
    let mut fake = FakeServer::new(&pair.network, SERVER).await;
    let (_client, _) = pair.start_client().await;
    let begun = Instant::now();
    let mut stream = fake.answer(&FakeServer::good_answer(&Challenge::random().unwrap())).await;
    RawFrame::read(&mut stream).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(16), "{:?}", begun.elapsed());
}
