//! A server with several URLs: they are tried in their order, the one that was good last comes first, and
//! whichever of them fails, no message is lost.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington::{Message, Service, ServiceConfig};
use paddington_test_support::{Inbox, MemoryNetwork, Pair, capture_logs, conserved, pair};
use paddington_transport::{Network, NetworkListener, Stream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// The port at which the server listens, whatever the URL.
const SERVER: &str = "127.0.0.1:6501";

/// A network in which the first label of a name is the last byte of its address, and each address leads
/// to the server or is dead.
#[derive(Debug)]
struct Ways {
    network: MemoryNetwork,
    open: Mutex<HashMap<u8, bool>>,
    tried: Mutex<Vec<u8>>,
}

impl Ways {
    fn new(network: &MemoryNetwork) -> Arc<Self> {
        let (network, open) = (network.clone(), Mutex::default());
        Arc::new(Self { network, open, tried: Mutex::default() })
    }

    fn open(&self, way: u8) {
        self.open.lock().unwrap().insert(way, true);
    }

    /// Closes a way, and cuts all connections.
    fn close(&self, way: u8) {
        self.open.lock().unwrap().insert(way, false);
        self.network.cut();
    }

    /// Takes the ways that were tried so far, in their order.
    fn tried(&self) -> Vec<u8> {
        std::mem::take(&mut *self.tried.lock().unwrap())
    }
}

impl Network for Ways {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let way = host.split('.').next().unwrap().parse().unwrap();
        Box::pin(async move { Ok(vec![SocketAddr::from(([192, 0, 2, way], port))]) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        let SocketAddr::V4(address) = address else { unreachable!("all names have IPv4") };
        let way = address.ip().octets()[3];
        self.tried.lock().unwrap().push(way);
        let is_open = self.open.lock().unwrap().get(&way).copied().unwrap_or_default();
        Box::pin(async move {
            match is_open {
                true => Network::connect(&self.network, SERVER.parse().unwrap()).await,
                false => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        self.network.bind(address)
    }
}

fn url(way: u8) -> String {
    format!("ws://{way}.example:6501")
}

/// A pair whose client is invited to the server by these ways.
fn invited(ways: &[u8]) -> Pair {
    let mut pair = pair();
    let mut server = ServiceConfig::new("server", &url(ways[0]), "127.0.0.1", &6501).unwrap();
    let further: Vec<_> = ways[1..].iter().map(|way| url(*way)).collect();
    server.set_fallback_urls(&further.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let mut client = ServiceConfig::new("client", "ws://client:1", "127.0.0.1", &1).unwrap();
    client.add_server(server.add_client("client", "127.0.0.1").unwrap()).unwrap();
    (pair.server, pair.client) = (server, client);
    pair
}

async fn start(pair: &Pair, ways: &Arc<Ways>) -> Service {
    Service::start_on(ways.clone(), &pair.client, Inbox::new().1).await.unwrap()
}

/// Sends numbers, one each 10 ms.
fn count(client: Service, numbers: usize) -> JoinHandle<Service> {
    tokio::spawn(async move {
        for number in 0..numbers {
            client.send(Message::new("server", number.to_string())).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
        client
    })
}

async fn expect(inbox: &Inbox, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let text = timeout(Duration::from_secs(20), inbox.text()).await;
        assert_eq!(text.unwrap(), number.to_string());
    }
}

/// The ways of the status, each with whether it is good and the code of its last failure.
fn shown(client: &Service) -> Vec<(String, bool, Option<&'static str>)> {
    let mut urls: Vec<_> = client.peers()[0]
        .urls
        .iter()
        .map(|it| {
            let way = it.url.host().split('.').next().unwrap().to_owned();
            (way, it.is_good, it.last_error.as_ref().map(|error| error.code))
        })
        .collect();
    urls.sort();
    urls
}

#[tokio::test(start_paused = true)]
async fn whichever_url_dies_the_others_are_used_and_no_message_is_lost() {
    let pair = invited(&[1, 2, 3]);
    let ways = Ways::new(&pair.network);
    ways.open(2);
    let (server, inbox) = pair.start_server().await;
    let begun = Instant::now();
    let client = count(start(&pair, &ways).await, 600);
    expect(&inbox, 0..1).await;
    assert!(begun.elapsed() < Duration::from_millis(100), "the next URL follows at once");
    assert_eq!(ways.tried(), [1, 2]);
    expect(&inbox, 1..200).await;

    ways.close(2);
    ways.open(1);
    expect(&inbox, 200..400).await;
    assert_eq!(ways.tried(), [2, 1], "the last good one comes first");

    ways.close(1);
    ways.open(3);
    expect(&inbox, 400..600).await;
    assert_eq!(ways.tried(), [1, 2, 3]);
    let client = client.await.unwrap();
    let refused = Some("connection_refused");
    let expected = [("1", false, refused), ("2", false, refused), ("3", true, None)];
    assert_eq!(shown(&client), expected.map(|(way, good, code)| (way.to_owned(), good, code)));
    ways.network.cut();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ways.tried(), [3], "a connection that is only lost comes back by the same URL");
    assert_eq!(client.shutdown().await.unsent, []);
    conserved([&server, &client]);
}

#[tokio::test(start_paused = true)]
async fn delays_are_those_of_rounds_however_many_urls_there_are() {
    let logs = capture_logs();
    let mut attempts = Vec::new();
    for ways in [&[1][..], &[1, 2, 3]] {
        let pair = invited(ways);
        let network = Ways::new(&pair.network);
        let client = start(&pair, &network).await;
        sleep(Duration::from_secs(600)).await;
        let tried = network.tried();
        for round in tried.chunks(ways.len()).take(tried.len() / ways.len()) {
            assert_eq!(round, ways, "each round begins with the first");
        }
        attempts.push(tried.iter().filter(|way| **way == 1).count());
        client.shutdown().await;
    }
    let [alone, first] = attempts[..] else { unreachable!("two cases") };
    assert!((100..140).contains(&alone), "{alone} attempts in ten minutes");
    assert!(alone.abs_diff(first) <= 5, "{alone} {first}");
    let lines = logs.lines();
    let named = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(named("not connected; trying its next URL"), 2, "once for each of the first two");
    assert_eq!(named("not connected; trying again"), 2, "once for each last one");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_refuses_is_not_asked_by_another_url() {
    let pair = invited(&[1, 2]);
    let ways = Ways::new(&pair.network);
    [1, 2].into_iter().for_each(|way| ways.open(way));
    let (server, inbox) = pair.start_server().await;
    let first = start(&pair, &ways).await;
    first.send(Message::new("server", "first")).await.unwrap();
    assert_eq!(inbox.text().await, "first");
    ways.tried();
    // Another process with the same invitation is refused by the server itself.
    let second = start(&pair, &ways).await;
    sleep(Duration::from_secs(60)).await;
    let tried = ways.tried();
    assert!(!tried.is_empty() && tried.iter().all(|way| *way == 1), "{tried:?}");
    assert_eq!(second.peers()[0].last_error.as_ref().unwrap().code, "duplicate_process");
    assert!(server.peers()[0].is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_newer_invitation_moves_a_link_that_runs_to_other_urls() {
    let pair = invited(&[1, 2]);
    let ways = Ways::new(&pair.network);
    let (server, inbox) = pair.start_server().await;
    let client = start(&pair, &ways).await;
    client.send(Message::new("server", "waits")).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    ways.tried();
    ways.open(9);
    let invite = server.renew("client").await.unwrap();
    let invite = invite.at(&url(8)).unwrap().with_fallbacks(&[&url(9)]).unwrap();
    client.replace_server(invite).await.unwrap();
    assert_eq!(timeout(Duration::from_millis(100), inbox.text()).await.unwrap(), "waits");
    assert_eq!(ways.tried(), [8, 9]);
    let good = shown(&client).into_iter().find(|(_, is_good, _)| *is_good);
    assert_eq!(good, Some(("9".to_owned(), true, None)));
}
