//! Lines that carry nothing for seconds in the middle of a handshake, as TCP does while it finds out
//! that packets are lost (`docs/protocol.md` §9).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use paddington::{Encoding, Message, Service};
use paddington_test_support::{Detour, Inbox, MemoryNetwork, pair_with};
use paddington_transport::{Network, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::time::{Instant, sleep};

/// The time that Linux needs to find out that large packets are lost, and to send smaller ones: 3 s
/// if the round trip is short.
const STALL: Duration = Duration::from_secs(5);
/// The messages of a handshake in each direction: request, HELLO, READY; answer, REPLY, READY.
const MESSAGES: usize = 3;

/// The messages of a handshake that are held up, of those that go up and of those that go down.
type Held = [[bool; MESSAGES]; 2];

/// A network on whose lines some messages of a handshake are held up, and what follows them.
fn stalling(network: &MemoryNetwork, held: Held) -> Arc<dyn Network> {
    Detour::network(network.clone(), move |network, address| async move {
        let (their_end, to_them) = split(network.dial(address).await?);
        let (near, far) = duplex(64 * 1024);
        let (own_end, to_us) = split(far);
        tokio::spawn(carry(own_end, to_them, held[0]));
        tokio::spawn(carry(their_end, to_us, held[1]));
        Ok(Stream::new(near))
    })
}

/// Carries bytes until either end is closed. Each message is written at once, so that it is read at
/// once.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    held: [bool; MESSAGES],
) {
    let mut held = held.into_iter();
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        if held.next() == Some(true) {
            sleep(STALL).await;
        }
        if to.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
}

/// Returns the time until a message has arrived over the first connection.
async fn connect(encoding: Encoding, held: Held) -> Duration {
    let pair = pair_with(encoding);
    let (_server, inbox) = pair.start_server().await;
    let stalling = stalling(&pair.network, held);
    let begun = Instant::now();
    let client = Service::start_on(stalling, &pair.client, Inbox::new().1).await.unwrap();
    client.send(Message::new("server", "through")).await.unwrap();
    assert_eq!(inbox.text().await, "through");
    assert_eq!(pair.network.dialled(), 1, "{encoding:?} {held:?}");
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_handshake_survives_seconds_without_a_packet_in_any_of_its_steps() {
    for encoding in [Encoding::Sealed, Encoding::Hex] {
        for way in [0, 1] {
            for message in 0..MESSAGES {
                let mut held = Held::default();
                held[way][message] = true;
                connect(encoding, held).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_survives_a_line_that_loses_large_packets_both_ways() {
    // HELLO and REPLY are the messages that are longer than small packets
    let held = [[false, true, false], [false, true, false]];
    let time = connect(Encoding::Sealed, held).await;
    assert!((2 * STALL..3 * STALL).contains(&time), "{time:?}");
    // the request too, which may have large headers behind a proxy
    connect(Encoding::Sealed, [[true, true, false], [false, true, false]]).await;
    connect(Encoding::Sealed, [[false, true, true], [false, true, false]]).await;
}
