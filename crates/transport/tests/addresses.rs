//! A name with several addresses, where something else than the server listens at some of them.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington::{Message, Service};
use paddington_test_support::{
    CapturedLogs, FakeServer, Inbox, MemoryNetwork, Pair, RawFrame, capture_logs, pair,
};
use paddington_transport::{Network, NetworkListener, Stream};
use paddington_wire::sealed::Challenge;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

const GOOD: &str = "127.0.0.1:6501";
const BAD: &str = "127.0.0.2:6501";
const WORSE: &str = "[::1]:6501";

/// A network in which every name has the same addresses, and the good one is far away.
#[derive(Debug)]
struct Named {
    network: MemoryNetwork,
    addresses: Vec<SocketAddr>,
    far: Duration,
}

impl Named {
    fn new(network: &MemoryNetwork, addresses: &[&str], far: Duration) -> Arc<Self> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self { network: network.clone(), addresses, far })
    }
}

impl Network for Named {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(self.addresses.clone()) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            if address.to_string() == GOOD {
                sleep(self.far).await;
            }
            Network::connect(&self.network, address).await
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        self.network.bind(address)
    }
}

/// The behaviours of what listens at a bad address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Silent,
    Closes,
    BadGateway,
    BadRequest,
    HangsUp,
    HangsUpLate,
    WrongReply,
}

const BEHAVIOURS: [Behaviour; 7] = [
    Behaviour::Silent,
    Behaviour::Closes,
    Behaviour::BadGateway,
    Behaviour::BadRequest,
    Behaviour::HangsUp,
    Behaviour::HangsUpLate,
    Behaviour::WrongReply,
];

/// Listens at a bad address for ever.
async fn misbehave(mut fake: FakeServer, bad: Behaviour) {
    let good_answer = FakeServer::good_answer(&Challenge::random().unwrap());
    loop {
        match bad {
            Behaviour::Silent => {
                let mut stream = fake.accept().await;
                tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
            }
            Behaviour::Closes => drop(fake.accept().await),
            Behaviour::BadGateway => {
                fake.answer("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
            }
            Behaviour::BadRequest => {
                fake.answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            }
            Behaviour::HangsUp | Behaviour::HangsUpLate | Behaviour::WrongReply => {
                let mut stream = fake.answer(&good_answer).await;
                RawFrame::read(&mut stream).await.unwrap();
                if bad == Behaviour::WrongReply {
                    let reply = RawFrame::binary(&[7; 1184]).encode(false);
                    tokio::io::AsyncWriteExt::write_all(&mut stream, &reply).await.unwrap();
                } else if bad == Behaviour::HangsUpLate {
                    sleep(Duration::from_secs(5)).await;
                }
            }
        }
    }
}

async fn start(pair: &Pair, network: Arc<Named>) -> Service {
    Service::start_on(network, &pair.client, Inbox::new().1).await.unwrap()
}

/// Returns whether the log names the address, in a warning that the connection failed.
fn is_named(logs: &CapturedLogs, address: &str) -> bool {
    let named = format!("address={address} ");
    logs.lines().iter().any(|line| {
        line.starts_with("WARN") && line.contains(&named) && line.contains("not connected")
    })
}

#[tokio::test(start_paused = true)]
async fn a_server_is_found_behind_addresses_at_which_something_else_listens() {
    let logs = capture_logs();
    for bad in BEHAVIOURS {
        for addresses in [&[BAD, GOOD][..], &[WORSE, BAD, GOOD], &[BAD, WORSE, GOOD]] {
            let pair = pair();
            let (_server, inbox) = pair.start_server().await;
            for address in addresses.iter().filter(|address| **address != GOOD) {
                let fake = FakeServer::new(&pair.network, address).await;
                tokio::spawn(misbehave(fake, bad));
            }
            let network = Named::new(&pair.network, addresses, Duration::ZERO);
            let client = start(&pair, network).await;
            client.send(Message::new("server", "found")).await.unwrap();
            // each bad address takes one attempt: 10 s for an answer, and a delay
            let limit = match bad {
                Behaviour::Silent => 24,
                Behaviour::HangsUpLate => 14,
                _ => 2,
            };
            let found = timeout(Duration::from_secs(limit), inbox.text()).await;
            assert_eq!(found.unwrap_or_else(|_| panic!("{bad:?} {addresses:?}")), "found");
        }
        assert!(is_named(&logs, BAD), "{bad:?}: {:#?}", logs.lines());
    }
    let late = |line: &String| {
        line.contains("the server hung up after waiting for seconds")
            && line.contains("check whether large packets are lost")
    };
    assert!(logs.lines().iter().any(late));
    each_bad_address_is_reported_once(&logs).await;
}

/// The server is away, and its addresses fail in turn for an hour.
async fn each_bad_address_is_reported_once(logs: &CapturedLogs) {
    let pair = pair();
    let bad = [("127.0.0.77:6501", Behaviour::BadGateway), ("127.0.0.78:6501", Behaviour::Closes)];
    for (address, behaviour) in bad {
        tokio::spawn(misbehave(FakeServer::new(&pair.network, address).await, behaviour));
    }
    let addresses = bad.map(|(address, _)| address);
    let _client = start(&pair, Named::new(&pair.network, &addresses, Duration::ZERO)).await;
    sleep(Duration::from_secs(3_600)).await;
    for address in addresses {
        let lines = logs.lines();
        let warned = |line: &&String| line.starts_with("WARN") && line.contains(address);
        assert_eq!(lines.iter().filter(warned).count(), 1, "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_address_does_not_win_over_a_good_one_that_is_farther_away() {
    for far in [Duration::from_millis(10), Duration::from_millis(400), Duration::from_secs(2)] {
        let pair = pair();
        let (_server, inbox) = pair.start_server().await;
        let fake = FakeServer::new(&pair.network, BAD).await;
        tokio::spawn(misbehave(fake, Behaviour::Closes));
        let client = start(&pair, Named::new(&pair.network, &[BAD, GOOD], far)).await;
        client.send(Message::new("server", "found")).await.unwrap();
        let found = timeout(Duration::from_secs(5), inbox.text()).await;
        assert_eq!(found.unwrap(), "found", "{far:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_address_is_tried_when_the_good_one_is_gone_and_has_become_the_server() {
    let pair = pair();
    let (server, inbox) = pair.start_server().await;
    let fake = FakeServer::new(&pair.network, BAD).await;
    let bad = tokio::spawn(misbehave(fake, Behaviour::BadGateway));
    let network = Named::new(&pair.network, &[BAD, GOOD], Duration::ZERO);
    let client = start(&pair, network).await;
    client.send(Message::new("server", "1")).await.unwrap();
    assert_eq!(inbox.text().await, "1");
    server.shutdown().await;
    bad.abort();
    sleep(Duration::from_secs(600)).await;
    let begun = Instant::now();
    let mut moved = FakeServer::new(&pair.network, BAD).await;
    let mut stream = moved.answer(&FakeServer::good_answer(&Challenge::random().unwrap())).await;
    assert_eq!(RawFrame::read(&mut stream).await.unwrap().payload.len(), 1344);
    assert!(begun.elapsed() <= Duration::from_secs(8), "{:?}", begun.elapsed());
}
