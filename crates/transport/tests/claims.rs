//! What a stranger announces but does not send costs nothing (`docs/protocol.md` §9): lengths of
//! WebSocket frames, on both sides and in both encodings, and answers to a request without an end.

use std::time::Duration;

use paddington::Encoding;
use paddington_test_support::{
    FakeServer, Intruder, Pair, REQUEST, RawClient, RawFrame, credentials, pair_with,
};
use paddington_transport::Stream;
use paddington_wire::Instance;
use paddington_wire::sealed::Challenge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const SERVER: &str = "127.0.0.1:6501";
/// The longest hello of the `hex` encoding, and the longest messages of the `sealed` handshake.
const HEX_HELLO: u64 = 4_096;
const SEALED_HELLO: u64 = 2_048;
const READY: u64 = 8_192;
/// The time in which this machine answers.
const AT_ONCE: Duration = Duration::from_millis(100);

fn patient_pair(encoding: Encoding) -> Pair {
    let mut pair = pair_with(encoding);
    pair.server.settings_mut().transport.limits.attempts = 10_000;
    pair.server.settings_mut().handshakes = 10_000;
    pair
}

/// Returns the head of a frame with a payload of `len` bytes.
fn head(first: u8, len: u64, masked: bool) -> Vec<u8> {
    let (mask, key): (u8, &[u8]) = if masked { (0x80, &[0; 4]) } else { (0, &[]) };
    [&[first, mask | 127][..], &len.to_be_bytes(), key].concat()
}

/// The claims beyond `limit` that a stranger might make: of data, of a fragment, behind a Ping, and
/// of a control frame.
fn claims(limit: u64, masked: bool) -> Vec<Vec<u8>> {
    let ping = RawFrame { head: 0x89, payload: Vec::new() }.encode(masked);
    let mut claims = vec![head(0x02, limit + 1, masked), head(0x89, limit + 1, masked)];
    for len in [limit + 1, 65_536, 1024 * 1024, 16 * 1024 * 1024, u64::MAX >> 1] {
        claims.push(head(0x82, len, masked));
        claims.push(head(0x81, len, masked));
    }
    claims.push([ping, head(0x82, limit + 1, masked)].concat());
    claims
}

/// Returns whether the connection is closed at once, without a word except for a Pong.
async fn is_closed(stream: &mut Stream) -> bool {
    let mut rest = Vec::new();
    let read = timeout(AT_ONCE, stream.read_to_end(&mut rest)).await;
    read.is_ok() && (rest.is_empty() || rest[0] & 0x0f == 0x0a)
}

#[tokio::test(start_paused = true)]
async fn a_client_cannot_claim_more_than_a_hello() {
    for (encoding, limit) in [(Encoding::Sealed, SEALED_HELLO), (Encoding::Hex, HEX_HELLO)] {
        let pair = patient_pair(encoding);
        let (_server, _) = pair.start_server().await;
        let request = match encoding {
            Encoding::Sealed => REQUEST.to_owned(),
            _ => REQUEST.replace("Sec-WebSocket-Protocol: paddington.sealed.1\r\n", ""),
        };
        for claim in claims(limit, true) {
            let mut client = RawClient::connect(&pair.network, SERVER).await;
            client.write(request.as_bytes()).await;
            client.head().await;
            client.write(&claim).await;
            assert!(is_closed(&mut client.stream).await, "{encoding}: {claim:?}");
        }
        let mut client = RawClient::connect(&pair.network, SERVER).await;
        client.write(request.as_bytes()).await;
        client.head().await;
        client.write(&head(0x82, limit, true)).await;
        assert!(!is_closed(&mut client.stream).await, "{encoding}: the rest is awaited");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_hello_is_authentic_cannot_claim_more_than_a_ready() {
    let pair = patient_pair(Encoding::Sealed);
    let (_server, _) = pair.start_server().await;
    let secrets = credentials(&pair.invite);
    for (number, claim) in (1..).zip(claims(READY, true)) {
        let instance = Instance::from([number; 16]);
        let (intruder, waiting, hello) =
            Intruder::prepare(&pair.network, SERVER, &secrets, instance).await;
        let (mut intruder, _) = intruder.handshake(waiting, &hello).await.unwrap();
        intruder.client.receive().await.unwrap(); // READY
        intruder.client.write(&claim).await;
        assert!(is_closed(&mut intruder.client.stream).await, "{claim:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_cannot_claim_more_than_a_reply() {
    for (encoding, limit) in [(Encoding::Sealed, SEALED_HELLO), (Encoding::Hex, HEX_HELLO)] {
        let pair = patient_pair(encoding);
        let mut fake = FakeServer::new(&pair.network, SERVER).await;
        let (_client, _) = pair.start_client().await;
        let good = FakeServer::good_answer(&Challenge::random().unwrap());
        let answer = match encoding {
            Encoding::Sealed => good,
            _ => {
                good.lines().take(4).map(|line| format!("{line}\r\n")).collect::<String>() + "\r\n"
            }
        };
        for claim in claims(limit, false) {
            let mut stream = fake.answer(&answer).await;
            RawFrame::read(&mut stream).await.unwrap();
            stream.write_all(&claim).await.unwrap();
            assert!(is_closed(&mut stream).await, "{encoding}: {claim:?}");
        }
        let mut stream = fake.answer(&answer).await;
        RawFrame::read(&mut stream).await.unwrap();
        stream.write_all(&head(0x82, limit, false)).await.unwrap();
        assert!(!is_closed(&mut stream).await, "{encoding}: the rest is awaited");
    }
}

/// Answers a client with `piece` again and again, until it hangs up. Returns the number of bytes
/// that it took.
async fn answer_without_end(start: &str, piece: &str, pause: Duration) -> (usize, Duration) {
    let pair = patient_pair(Encoding::Sealed);
    let mut fake = FakeServer::new(&pair.network, SERVER).await;
    let (_client, _) = pair.start_client().await;
    let begun = Instant::now();
    let mut stream = fake.answer(start).await;
    let mut taken = start.len();
    while taken < 10_000_000 && stream.write_all(piece.as_bytes()).await.is_ok() {
        taken += piece.len();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    (taken, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_is_given_up_after_eight_kilobytes() {
    for (start, piece) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\n", "A: b\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\n", "A: b\r\n c\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\nA: ", "xxxxxxxxxxxxxxxx"),
        ("", "HTTP/1.1 100 "),
        ("", "\r\n"),
    ] {
        let (taken, time) = answer_without_end(start, piece, Duration::ZERO).await;
        // The network holds 64 KiB.
        assert!(taken < 64 * 1024 + 9_000, "{start:?} {piece:?}: {taken} bytes were taken");
        assert!(time < AT_ONCE, "{start:?} {piece:?}: {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_trickles_is_given_up_at_its_one_deadline() {
    for (start, piece) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\n", "A: b\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\nA: ", "x"),
    ] {
        let (_, time) = answer_without_end(start, piece, Duration::from_secs(1)).await;
        assert!((10..12).contains(&time.as_secs()), "{start:?} {piece:?}: {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_few_provisional_answers_do_no_harm() {
    let pair = patient_pair(Encoding::Sealed);
    let mut fake = FakeServer::new(&pair.network, SERVER).await;
    let (_client, _) = pair.start_client().await;
    let good = FakeServer::good_answer(&Challenge::random().unwrap());
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(10);
    let mut stream = fake.answer(&format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{good}")).await;
    assert_eq!(RawFrame::read(&mut stream).await.unwrap().payload.len(), 1344);
}
