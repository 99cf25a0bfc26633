//! What peers can make a service hold for its handler, in all and each of them.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::future::Future;
use std::io;
use std::time::Duration;

use allocation_counter::measure;
use paddington::{Invite, Message, PeerStatus, Service};
use paddington_test_support::{Intruder, Pair, credentials, empty_ready, pair};
use paddington_wire::sealed::{Greeting, SealedSession};
use paddington_wire::{Batch, CloseCode, Completed, Data, Frame, Instance, Messages, Payload};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const SERVER: &str = "127.0.0.1:6501";
const MIB: u64 = 1024 * 1024;
const WINDOW: u64 = 2 * MIB;
/// Bytes that 4 096 messages take beyond their credit, and those of one frame.
const ALLOWANCE: u64 = (4_096 + 1_024) * 136;

/// A peer that fills its window with the smallest messages, whatever they are.
struct Hostile {
    intruder: Intruder,
    session: Box<SealedSession>,
    /// Bytes that it may still send.
    credit: u64,
    spent: u64,
    next: u64,
}

impl Hostile {
    async fn enter(pair: &Pair, invite: &Invite, name: u8) -> Self {
        let (secrets, instance) = (credentials(invite), Instance::from([name; 16]));
        let address = format!("{SERVER}?b={}", invite.url().bucket().unwrap());
        let entered = Intruder::enter(&pair.network, &address, &secrets, instance).await;
        let (mut intruder, Greeting::Ready(mut session, ready)) = entered.unwrap() else {
            unreachable!("refused")
        };
        intruder.say(&mut session, &Frame::Ready(empty_ready(instance))).await;
        Self { intruder, session, credit: u64::from(ready.window), spent: 0, next: 1 }
    }

    /// Sends messages of `len` bytes, `count` in a frame, until the credit is used up or the server
    /// takes no more in.
    async fn fill(&mut self, server: &Service, len: usize, count: usize) {
        let text = Payload::text(vec![b'x'; len]);
        let cost = count as u64 * Data::cost(len);
        let mut left = 2_000;
        while self.spent + cost <= self.credit && left > 0 {
            left = if self.takes(server) { 2_000 } else { left - 1 };
            let messages = Messages::new(std::iter::repeat_n(&text, count)).unwrap();
            let frame = if count == 1 {
                Frame::Data(Data {
                    stream: 0,
                    again: false,
                    number: self.next,
                    ack: Completed::default(),
                    payload: text.clone(),
                })
            } else {
                let (stream, again, ack) = (0, false, Completed::default());
                Frame::Batch(Batch { stream, again, first: self.next, ack, messages })
            };
            self.intruder.say(&mut self.session, &frame).await;
            tokio::task::yield_now().await; // to the server
            self.spent += cost;
            self.next += count as u64;
        }
    }

    /// Returns whether the server has taken in what was sent, except for what may be on its way.
    fn takes(&self, server: &Service) -> bool {
        server.peers().iter().any(|peer| peer.inbox_messages as u64 + 2_000 > self.next)
    }

    /// Reads what the server has sent meanwhile, and counts its credit. Returns the code of its
    /// CLOSE.
    async fn listen(&mut self) -> Option<CloseCode> {
        let brief = Duration::from_millis(100);
        while let Ok(heard) = timeout(brief, self.intruder.hear(&mut self.session)).await {
            match heard {
                Some(Frame::Ack(ack)) => self.credit = self.credit.max(ack.credit),
                Some(Frame::Close(code)) => return Some(code),
                Some(_) => {}
                None => return None,
            }
        }
        None
    }
}

/// Starts the server of a pair with a handler that never ends for peers whose name begins with
/// `hostile`, and tells of the messages of others.
async fn start(pair: &Pair) -> (Service, mpsc::UnboundedReceiver<String>) {
    let (told, heard) = mpsc::unbounded_channel();
    let handler = move |message: Message| {
        let told = told.clone();
        async move {
            if message.is_control() {
                return Ok(());
            }
            if message.sender().starts_with("hostile") {
                std::future::pending::<()>().await;
            }
            told.send(message.payload().to_owned()).map_err(io::Error::other)
        }
    };
    let server = Service::start_on(pair.network.network(), &pair.server, handler).await.unwrap();
    (server, heard)
}

/// Returns the most memory that `test` has allocated at any time.
fn peak(test: impl Future<Output = ()>) -> u64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.unwrap();
    measure(|| runtime.block_on(test)).bytes_max
}

#[test]
fn a_window_of_small_messages_takes_no_more_memory_than_a_window() {
    for (len, count) in [(0, 1), (3, 1), (3, 512), (0, 512), (2_100, 1), (100, 100)] {
        let mut held = 0;
        let peak = peak(async {
            let mut pair = pair();
            pair.server.settings_mut().window = WINDOW as u32;
            let invite = pair.server.add_client("hostile", "127.0.0.1").unwrap();
            let (server, _) = start(&pair).await;
            let mut hostile = Hostile::enter(&pair, &invite, 7).await;
            hostile.fill(&server, len, count).await;
            hostile.listen().await;
            let status = hostile_status(&server);
            assert!(status.inbox_messages > 900, "it was read: {}", status.inbox_messages);
            held = status.inbox_bytes;
        });
        assert!(held <= WINDOW + ALLOWANCE, "{len} {count}: {held}");
        assert!(
            peak < held + MIB + MIB / 2,
            "{count} messages of {len} bytes in a frame: {held} {peak}"
        );
    }
}

fn hostile_status(server: &Service) -> PeerStatus {
    server.peers().into_iter().find(|peer| peer.name.as_str() == "hostile").unwrap()
}

/// A hundred peers that fill their windows leave an honest one what is its own: its messages are
/// handled as they come.
#[test]
fn a_hundred_peers_that_fill_their_windows_do_not_hold_up_another() {
    const TOTAL: u64 = 128 * MIB;
    const LONGEST: usize = 64 * 1024;
    let peak = peak(async {
        let mut pair = pair();
        let settings = pair.server.settings_mut();
        settings.inbox_bytes_total = TOTAL;
        settings.transport.limits.max_payload = LONGEST as u32;
        settings.transport.limits.attempts = 1_000;
        settings.transport.limits.pending_per_address = 200;
        let server = &mut pair.server;
        let invite = |name: u8| server.add_client(&format!("hostile{name}"), "127.0.0.1");
        let invites: Vec<_> = (0..100).map(invite).collect::<Result<_, _>>().unwrap();
        let (server, mut heard) = start(&pair).await;
        let mut hostile = Vec::new();
        for (name, invite) in invites.iter().enumerate() {
            hostile.push(Hostile::enter(&pair, invite, name as u8).await);
        }
        for round in 0..3 {
            for peer in &mut hostile {
                peer.fill(&server, 3 + 1_000 * round, 10).await;
                peer.listen().await;
            }
        }
        let held: u64 = server.peers().iter().map(|peer| peer.inbox_bytes).sum();
        assert!((32 * MIB..TOTAL).contains(&held), "{held}");
        let (client, _) = pair.start_client().await;
        let begun = Instant::now();
        for number in 0..1_000 {
            let text = format!("{number:>60000}");
            client.exchange().send_when_ready(Message::new("server", text)).await.unwrap();
        }
        for number in 0..1_000 {
            assert_eq!(heard.recv().await.unwrap().trim_start(), number.to_string());
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    });
    assert!(peak < 2 * TOTAL, "{peak}");
}

/// Messages that took more memory than credit end the session; they come again, in their order, with
/// no more credit than there is room.
#[tokio::test(start_paused = true)]
async fn a_peer_whose_messages_take_too_much_memory_begins_a_new_session_and_loses_nothing() {
    let mut pair = pair();
    pair.server.settings_mut().window = WINDOW as u32;
    let invite = pair.server.add_client("hostile", "127.0.0.1").unwrap();
    let (server, _) = start(&pair).await;
    let mut hostile = Hostile::enter(&pair, &invite, 7).await;
    hostile.fill(&server, 3, 512).await;
    assert_eq!(hostile.listen().await, Some(CloseCode::SessionAge));
    let held = hostile_status(&server).inbox_messages;
    let secrets = credentials(&invite);
    let entered =
        Intruder::enter(&pair.network, SERVER, &secrets, Instance::from([7; 16])).await.unwrap();
    let Greeting::Ready(_, ready) = entered.1 else { unreachable!("refused") };
    assert_eq!(ready.window, 0, "there is no room");
    assert_eq!(ready.yours[0].received, held as u64 + 1, "one is being handled");
}
