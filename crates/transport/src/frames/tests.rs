//! Frames beside those of another implementation, and such as no implementation sends.

use std::future::poll_fn;

use bytes::{BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::head::{Head, Kind, mask};
use super::{Arrival, FrameError, FrameSocket};
use crate::Stream;

const LONGEST: usize = 400_000;
const SIZES: [usize; 14] =
    [0, 1, 125, 126, 127, 2_103, 2_104, 2_105, 4_096, 16_384, 65_535, 65_536, 300_000, LONGEST];

fn payload(size: usize) -> BytesMut {
    (0..size).map(|at| (at * 7 % 251) as u8).collect()
}

/// Returns a socket of a trusted peer, and its other end.
fn socket(is_server: bool, capacity: usize) -> (FrameSocket, DuplexStream) {
    let (near, far) = duplex(capacity);
    let mut stream = Stream::new(near);
    stream.trust();
    (FrameSocket::new(stream, is_server, LONGEST), far)
}

fn frame(kind: Kind, is_final: bool, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    Head { kind, is_final, mask: key, len: payload.len() as u64 }.write(&mut bytes);
    let start = bytes.len();
    bytes.put_slice(payload);
    mask(&mut bytes[start..], key.unwrap_or_default());
    bytes.to_vec()
}

/// Returns what a server makes of bytes, up to its first error.
async fn received(bytes: &[u8]) -> (Vec<Arrival>, FrameError) {
    let (mut socket, mut far) = socket(true, 2 * bytes.len().max(1_000));
    far.write_all(bytes).await.unwrap();
    far.shutdown().await.unwrap();
    let mut arrived = Vec::new();
    loop {
        match poll_fn(|cx| socket.poll_receive(cx)).await {
            Ok(arrival) => arrived.push(arrival),
            Err(error) => return (arrived, error),
        }
    }
}

const KEY: Option<[u8; 4]> = Some([3, 141, 59, 26]);

async fn talk(is_server: bool, capacity: usize) {
    let (mut near, far) = socket(is_server, capacity);
    let role = if is_server { Role::Client } else { Role::Server };
    let mut far = WebSocketStream::from_raw_socket(far, role, None).await;
    let echo = tokio::spawn(async move {
        while let Some(Ok(message)) = far.next().await {
            if message.is_binary() {
                far.send(Message::Ping("again".into())).await.unwrap();
                far.send(message).await.unwrap();
            }
        }
    });
    for size in SIZES {
        for _ in 0..3 {
            poll_fn(|cx| near.poll_ready(cx)).await.unwrap();
            near.feed(payload(size)).unwrap();
            let mut flushed = false;
            let arrived = poll_fn(|cx| {
                // What is fed is longer than the pipe: both directions go on together.
                flushed = flushed || near.poll_flush(cx).is_ready();
                near.poll_receive(cx)
            });
            assert_eq!(arrived.await.unwrap(), Arrival::Ping("again".into()));
            let arrived = poll_fn(|cx| {
                flushed = flushed || near.poll_flush(cx).is_ready();
                near.poll_receive(cx)
            });
            assert!(arrived.await.unwrap() == Arrival::Binary(payload(size)), "{size}");
        }
        near.tidy();
    }
    near.close();
    assert_eq!(near.feed(payload(1)), Err(FrameError::Closing));
    poll_fn(|cx| near.poll_flush(cx)).await.unwrap();
    loop {
        match poll_fn(|cx| near.poll_receive(cx)).await {
            Ok(Arrival::Pong | Arrival::Ping(_)) => {}
            Ok(arrival) => assert_eq!(arrival, Arrival::Close(None)),
            Err(error) => break assert_eq!(error, FrameError::Closed),
        }
    }
    drop(near);
    echo.await.unwrap();
}

#[tokio::test]
async fn another_implementation_understands_both_roles_and_is_understood() {
    for is_server in [true, false] {
        for capacity in [64, 5_000, 1_000_000] {
            talk(is_server, capacity).await;
        }
    }
}

#[tokio::test]
async fn a_close_of_the_peer_is_answered_with_its_code() {
    let (mut near, far) = socket(true, 1_000);
    let mut far = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    far.close(None).await.unwrap();
    assert_eq!(poll_fn(|cx| near.poll_receive(cx)).await.unwrap(), Arrival::Close(None));
    let ended = poll_fn(|cx| near.poll_receive(cx)).await;
    assert_eq!(ended, Err(FrameError::Closed), "the server ends the stream");
    assert!(matches!(far.next().await, Some(Ok(Message::Close(None)))));
    let (mut near, mut far) = socket(true, 1_000);
    far.write_all(&frame(Kind::Close, true, KEY, &[3, 232, b'x'])).await.unwrap();
    let arrived = poll_fn(|cx| near.poll_receive(cx)).await;
    assert_eq!(arrived, Ok(Arrival::Close(Some([3, 232]))));
    assert!(poll_fn(|cx| near.poll_receive(cx)).await.is_err());
    let mut answer = [0; 4];
    far.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x88, 2, 3, 232]);
}

#[tokio::test]
async fn a_message_in_parts_arrives_whole_however_it_is_cut() {
    for size in [10, 3_000, 70_000] {
        let whole = payload(3 * size);
        let [one, two, three] = [0, 1, 2].map(|part| &whole[part * size..][..size]);
        let bytes = [
            frame(Kind::Binary, false, KEY, one),
            frame(Kind::Ping, true, KEY, b"now"),
            frame(Kind::Continuation, false, KEY, two),
            frame(Kind::Continuation, false, KEY, &[]),
            frame(Kind::Continuation, true, KEY, three),
            frame(Kind::Text, true, KEY, b"text"),
        ]
        .concat();
        for piece in [1, 7, 1_000, bytes.len()] {
            let (mut near, mut far) = socket(true, 100_000);
            let bytes = bytes.clone();
            let write = tokio::spawn(async move {
                for piece in bytes.chunks(piece) {
                    far.write_all(piece).await.unwrap();
                    if piece.len() < 100 {
                        tokio::task::yield_now().await;
                    }
                }
                far
            });
            let mut arrived = Vec::new();
            for _ in 0..3 {
                arrived.push(poll_fn(|cx| near.poll_receive(cx)).await.unwrap());
            }
            let expected =
                [Arrival::Ping("now".into()), Arrival::Binary(whole.clone()), Arrival::Text];
            assert!(arrived == expected, "{size} {piece}");
            drop(write.await.unwrap());
        }
    }
}

#[tokio::test]
async fn what_breaks_the_rules_ends_the_connection() {
    let whole = |payload: &[u8]| frame(Kind::Binary, true, KEY, payload);
    let part = |kind, len| frame(kind, false, KEY, &payload(len));
    let mut claim = BytesMut::new();
    Head { kind: Kind::Binary, is_final: true, mask: KEY, len: u64::MAX }.write(&mut claim);
    let too_long = FrameError::TooLong { max: LONGEST };
    for (bytes, error) in [
        (frame(Kind::Binary, true, None, b"x"), FrameError::Mask),
        (part(Kind::Continuation, 3), FrameError::Fragment),
        ([part(Kind::Binary, 3), part(Kind::Binary, 3)].concat(), FrameError::Fragment),
        ([part(Kind::Binary, 3), whole(b"x")].concat(), FrameError::Fragment),
        (claim.to_vec(), FrameError::TooLong { max: LONGEST }),
        (whole(&payload(LONGEST + 1)), FrameError::TooLong { max: LONGEST }),
        ([part(Kind::Binary, LONGEST), part(Kind::Continuation, 1)].concat(), too_long),
        (vec![0xc2, 0x80, 0, 0, 0, 0], FrameError::ReservedBits),
        (vec![0x83, 0x80, 0, 0, 0, 0], FrameError::UnknownKind),
        (vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0], FrameError::Control),
        (frame(Kind::Close, true, KEY, b"x"), FrameError::Control),
        (whole(b"whole")[..7].to_vec(), FrameError::Reset),
        (Vec::new(), FrameError::Reset),
    ] {
        let before = [whole(b"before"), bytes.clone()].concat();
        let (arrived, found) = received(&before).await;
        assert_eq!(arrived, [Arrival::Binary(BytesMut::from(&b"before"[..]))]);
        assert_eq!(found, error, "{bytes:?}");
        assert_eq!(found.is_violation(), found != FrameError::Reset);
    }
    let (mut near, mut far) = socket(false, 1_000);
    far.write_all(&whole(b"x")).await.unwrap();
    let masked = poll_fn(|cx| near.poll_receive(cx)).await;
    assert_eq!(masked, Err(FrameError::Mask), "only clients mask");
}

#[tokio::test]
async fn a_peer_that_pings_and_never_reads_does_not_fill_the_memory() {
    let (mut near, mut far) = socket(true, 1_000);
    let pings = frame(Kind::Ping, true, KEY, &[7; 125]).repeat(50);
    for _ in 0..200 {
        for _ in 0..50 {
            far.write_all(&pings[..pings.len() / 50]).await.unwrap();
            let ping = poll_fn(|cx| near.poll_receive(cx)).await.unwrap();
            assert!(matches!(ping, Arrival::Ping(_)));
        }
        assert!(near.waiting() <= 128 * 1024 + 1_000, "{}", near.waiting());
    }
    let mut read = [0; 127];
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(read[..3], [0x8a, 125, 7]);
}

#[tokio::test]
async fn memory_of_a_busy_time_is_freed() {
    let (mut near, mut far) = socket(true, 1_000_000);
    let ours = frame(Kind::Binary, true, KEY, &payload(2_000)).repeat(100);
    far.write_all(&ours).await.unwrap();
    for _ in 0..100 {
        poll_fn(|cx| near.poll_receive(cx)).await.unwrap();
        near.feed(payload(50_000)).unwrap();
    }
    poll_fn(|cx| {
        let _ = near.poll_flush(cx);
        std::task::Poll::Ready(())
    })
    .await;
    let mut sink = vec![0; 1_000_000];
    loop {
        let read = async { far.read(&mut sink).await.unwrap() };
        let flush = poll_fn(|cx| near.poll_flush(cx));
        tokio::select! {
            flushed = flush => break flushed.unwrap(),
            _ = read => {}
        }
    }
    assert!(near.memory() > 60_000, "{}", near.memory());
    near.tidy();
    near.tidy();
    assert!(near.memory() < 100, "{}", near.memory());
}
