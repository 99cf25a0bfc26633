//! Lines on which one frame takes longer than silence may last (`docs/protocol.md` §7).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use paddington::{Encoding, Message, Service};
use paddington_test_support::{
    Detour, Inbox, Intruder, MemoryNetwork, Pair, RawFrame, credentials, eventually, pair,
    pair_with,
};
use paddington_transport::{Network, Stream};
use paddington_wire::sealed::SealedSession;
use paddington_wire::{Completed, Data, Frame, Instance, Payload};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::time::{Instant, sleep, timeout};

const SERVER: &str = "127.0.0.1:6501";
const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);
const MIB: usize = 1024 * 1024;

/// Bytes per second that a line carries in each direction.
const RATE: usize = 10_000;

/// A network whose lines are slow. What is sent waits in a buffer of `room` bytes at the sender, and
/// leaves it in pieces of up to `piece` bytes.
fn slow(network: &MemoryNetwork, room: usize, piece: usize) -> Arc<dyn Network> {
    Detour::network(network.clone(), move |network, address| async move {
        let (theirs_out, theirs_in) = split(network.dial(address).await?);
        let (near, far) = duplex(room);
        let (far_out, far_in) = split(far);
        let (buffer_in, buffer_out) = duplex(room);
        tokio::spawn(carry(far_out, theirs_in, piece));
        tokio::spawn(async move {
            let (mut from, mut to) = (theirs_out, buffer_in);
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        tokio::spawn(carry(buffer_out, far_in, piece));
        Ok(Stream::new(near))
    })
}

/// Carries bytes, until either end is closed.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, piece: usize) {
    let mut piece = vec![0; piece];
    while let Ok(len @ 1..) = from.read(&mut piece).await {
        for part in piece[..len].chunks(RATE / 10) {
            sleep(TICK).await;
            if to.write_all(part).await.is_err() {
                return;
            }
        }
    }
}

/// Two services over slow lines.
struct Far {
    pair: Pair,
    client: (Service, Inbox),
    server: (Service, Inbox),
}

impl Far {
    async fn start(encoding: Encoding, room: usize, piece: usize) -> Self {
        let pair = pair_with(encoding);
        let server = pair.start_server().await;
        let slow = slow(&pair.network, room, piece);
        let (inbox, handler) = Inbox::new();
        let client = Service::start_on(slow, &pair.client, handler).await.unwrap();
        eventually(async || client.peers()[0].is_connected()).await;
        Self { pair, client: (client, inbox), server }
    }

    /// Sends a message each way, if it has a length, and one more behind it. Checks that they arrive
    /// over the one connection.
    async fn exchange(self, up: usize, down: usize) {
        let ways = [
            (&self.client.0, &self.server.1, "server", up),
            (&self.server.0, &self.client.1, "client", down),
        ];
        for (sender, _, to, len) in &ways {
            if *len > 0 {
                sender.send(Message::new(*to, "x".repeat(*len))).await.unwrap();
                sender.send(Message::new(*to, "behind")).await.unwrap();
            }
        }
        for (_, inbox, to, len) in &ways {
            if *len > 0 {
                assert_eq!(inbox.text().await.len(), *len, "to {to}");
                assert_eq!(inbox.text().await, "behind");
            }
        }
        assert_eq!(self.pair.network.dialled(), 1, "nothing was sent again");
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_message_passes_a_slow_line_in_one_connection() {
    for room in [16 * 1024, 2 * MIB] {
        for (up, down) in [(MIB, 0), (0, MIB), (MIB, MIB)] {
            let far = Far::start(Encoding::Sealed, room, RATE / 10).await;
            timeout(150 * SECOND, far.exchange(up, down)).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_takes_nothing_for_long_does_not_end_a_connection() {
    for (up, down) in [(MIB, 0), (0, MIB), (MIB, MIB)] {
        let far = Far::start(Encoding::Sealed, MIB / 2, 40 * RATE).await;
        timeout(150 * SECOND, far.exchange(up, down)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_hex_message_passes_a_slow_line_in_one_connection() {
    for room in [16 * 1024, 2 * MIB] {
        for (up, down) in [(MIB / 4, 0), (0, MIB / 4), (MIB / 4, MIB / 4)] {
            let far = Far::start(Encoding::Hex, room, RATE / 10).await;
            timeout(150 * SECOND, far.exchange(up, down)).await.unwrap();
        }
    }
}

/// Makes a session with a server. Returns a whole frame of it that is 1 MiB long, not sent yet.
async fn intrude(pair: &Pair) -> (Intruder, Box<SealedSession>, Vec<u8>) {
    let instance = Instance::from([7; 16]);
    let known = credentials(&pair.invite);
    let (intruder, mut session) =
        Intruder::establish(&pair.network, SERVER, &known, instance).await;
    let (ack, payload) = (Completed::default(), Payload::text("x".repeat(MIB)));
    let frame = Frame::Data(Data { stream: 0, again: false, number: 1, ack, payload });
    let frame = RawFrame::binary(&session.encode(&frame).unwrap()).encode(true);
    (intruder, session, frame)
}

/// Sends pieces of `bytes`, one each second, until the server hangs up. Returns the seconds.
async fn trickle(mut intruder: Intruder, bytes: &[u8], piece: usize) -> u64 {
    let start = Instant::now();
    for piece in bytes.chunks(piece) {
        if intruder.client.stream.write_all(piece).await.is_err() {
            break;
        }
        sleep(SECOND).await;
    }
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_trickles_is_declared_dead_in_bounded_time() {
    for (rate, earliest, latest) in [(1, 29, 31), (1_000, 36, 40), (4_000, 140, 155)] {
        let pair = pair();
        let (_server, _inbox) = pair.start_server().await;
        let (intruder, _session, frame) = intrude(&pair).await;
        let lasted = trickle(intruder, &frame, rate).await;
        assert!((earliest..=latest).contains(&lasted), "{rate} bytes/s: {lasted} s");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_sealed_keep_a_connection_alive_for_a_bounded_time() {
    let pair = pair();
    let (_server, _inbox) = pair.start_server().await;
    let (intruder, ..) = intrude(&pair).await;
    let pings = RawFrame { head: 0x89, payload: vec![0; 100] }.encode(true).repeat(100);
    let lasted = trickle(intruder, &pings.repeat(1_000), pings.len()).await;
    assert!((30..=260).contains(&lasted), "{lasted} s");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_within_a_frame_is_declared_dead() {
    let pair = pair();
    let (_server, _inbox) = pair.start_server().await;
    let (mut intruder, _session, frame) = intrude(&pair).await;
    intruder.client.write(&frame[..MIB - 1]).await;
    let start = Instant::now();
    intruder.client.rest().await;
    let lasted = start.elapsed().as_secs();
    assert!((30..=43).contains(&lasted), "{lasted} s");
}
