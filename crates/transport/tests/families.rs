//! IPv4 and IPv6 on real sockets, and names whose address changes.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says why it is skipped")]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paddington::{Message, PeerAddress, Service, ServiceConfig};
use paddington_test_support::{Inbox, MemoryNetwork, conserved, pair, quick};
use paddington_transport::{Network, NetworkListener, Stream};
use tokio::net::TcpStream;
use tokio::time::sleep;

fn has_ipv6() -> bool {
    let has = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: this machine has no IPv6");
    }
    has
}

/// Starts a server at `ip` that expects its client from `range`, and a client that connects to `host`.
/// Returns them with the port, after a message has passed each way.
async fn linked(ip: &str, range: &str, host: &str) -> (Service, Service, u16) {
    let mut server = ServiceConfig::new("server", "ws://localhost:1", ip, &0).unwrap();
    let invite = server.add_client("client", range).unwrap();
    let (inbox, handler) = Inbox::new();
    let server = Service::start(&server, handler).await.unwrap();
    let port = server.address().unwrap().port();
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    client.add_server(invite.at(&format!("ws://{host}:{port}/")).unwrap()).unwrap();
    quick(&mut client);
    let (replies, handler) = Inbox::new();
    let client = Service::start(&client, handler).await.unwrap();
    client.send(Message::new("server", "hello")).await.unwrap();
    assert_eq!(inbox.text().await, "hello");
    server.send(Message::new("client", "hello, too")).await.unwrap();
    assert_eq!(replies.text().await, "hello, too");
    (server, client, port)
}

#[tokio::test]
async fn a_listener_on_all_addresses_serves_both_families() {
    if !has_ipv6() {
        return;
    }
    for (range, host, seen) in [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.0/104", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "[::ffff:127.0.0.1]", "127.0.0.1"),
        ("::1", "[::1]", "::1"),
    ] {
        let (server, _client, _) = linked("::", range, host).await;
        let address = server.peers()[0].address;
        assert_eq!(address, Some(PeerAddress::Ip(seen.parse().unwrap())), "{host}");
        assert_eq!(server.refusals(), [], "{host}");
    }
}

#[tokio::test]
async fn a_listener_on_an_address_of_one_family_serves_that_one() {
    if !has_ipv6() {
        return;
    }
    let (_server, _client, port) = linked("::1", "::1", "[::1]").await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    let (_server, _client, port) = linked("0.0.0.0", "127.0.0.1", "127.0.0.1").await;
    assert!(TcpStream::connect(("::1", port)).await.is_err());
}

/// A network in memory in which every name has one address, which changes.
#[derive(Debug)]
struct Moving {
    network: MemoryNetwork,
    /// The address of all names.
    address: Mutex<IpAddr>,
    /// Where an address leads, if it is not the listener's own.
    routes: Mutex<HashMap<IpAddr, IpAddr>>,
}

impl Moving {
    fn new(network: &MemoryNetwork, address: &str) -> Arc<Self> {
        let address = Mutex::new(address.parse().unwrap());
        Arc::new(Self { network: network.clone(), address, routes: Mutex::default() })
    }

    /// Lets all names have another address.
    fn rename(&self, address: &str) {
        *self.address.lock().unwrap() = address.parse().unwrap();
    }

    /// Lets an address lead to the listener at another one.
    fn route(&self, address: &str, listener: &str) {
        let route: (IpAddr, IpAddr) = (address.parse().unwrap(), listener.parse().unwrap());
        self.routes.lock().unwrap().extend([route]);
    }
}

impl Network for Moving {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let address = *self.address.lock().unwrap();
        Box::pin(async move { Ok(vec![SocketAddr::new(address, port)]) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        let routed = self.routes.lock().unwrap().get(&address.ip()).copied();
        let address = SocketAddr::new(routed.unwrap_or(address.ip()), address.port());
        Network::connect(&self.network, address)
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn NetworkListener>>> {
        self.network.bind(address)
    }
}

/// The number of messages, and of those after which the address changes.
const MESSAGES: usize = 300;
const BEFORE: usize = 100;

/// Sends numbers, one each 10 ms.
fn count(client: Service) -> tokio::task::JoinHandle<Service> {
    tokio::spawn(async move {
        for number in 0..MESSAGES {
            client.send(Message::new("server", number.to_string())).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
        client
    })
}

async fn expect(inbox: &Inbox, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(inbox.text().await, number.to_string());
    }
}

/// A floating address, or another way into the same network: the first address dies, and with it all
/// connections.
#[tokio::test(start_paused = true)]
async fn a_name_that_gets_another_address_loses_no_message() {
    let pair = pair();
    let network = Moving::new(&pair.network, "192.0.2.1");
    network.route("192.0.2.1", "127.0.0.1");
    let (server, inbox) = pair.start_server().await;
    let client = Service::start_on(network.clone(), &pair.client, Inbox::new().1).await.unwrap();
    let client = count(client);
    expect(&inbox, 0..BEFORE).await;
    network.route("192.0.2.1", "192.0.2.1"); // where nobody listens
    pair.network.cut();
    sleep(Duration::from_millis(500)).await;
    network.route("2001:db8::2", "127.0.0.1");
    network.rename("2001:db8::2");
    expect(&inbox, BEFORE..MESSAGES).await;
    let client = client.await.unwrap();
    assert_eq!(client.peers()[0].address.unwrap().to_string(), "[2001:db8::2]:6501");
    assert_eq!(client.shutdown().await.unsent, []);
    conserved([&server, &client]);
}

/// The server itself moves to another machine.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_started_again_at_another_address_is_found_by_its_name() {
    let pair = pair();
    let network = Moving::new(&pair.network, "127.0.0.1");
    let (server, inbox) = pair.start_server().await;
    let client = Service::start_on(network.clone(), &pair.client, Inbox::new().1).await.unwrap();
    let client = count(client);
    expect(&inbox, 0..BEFORE).await;
    server.shutdown().await;
    let before: Vec<_> =
        inbox.drain().await.into_iter().filter(|text| !text.starts_with('{')).collect();

    let text = pair.server.to_toml().unwrap().replace("\"127.0.0.1\"\nport", "\"127.0.0.2\"\nport");
    let moved = ServiceConfig::from_toml(&text).unwrap();
    let (server, inbox) = pair.start(&moved).await;
    assert_eq!(server.address().unwrap().to_string(), "127.0.0.2:6501");
    sleep(Duration::from_millis(500)).await;
    network.rename("127.0.0.2");
    let next = BEFORE + before.len();
    assert_eq!(before, (BEFORE..next).map(|number| number.to_string()).collect::<Vec<_>>());
    expect(&inbox, next..MESSAGES).await;
    let client = client.await.unwrap();
    assert_eq!(client.peers()[0].address.unwrap().to_string(), "127.0.0.2:6501");
    assert_eq!(client.shutdown().await.unsent, []);
}
