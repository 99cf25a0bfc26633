//! Several services of a process on one port.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use paddington::{
    Encoding, Invite, Message, ServerTls, Service, ServiceConfig, ServiceError, SharedPort,
    StartError, TlsFiles, TransportConfig, system_network,
};
use paddington_test_support::{Authority, Inbox, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn port(tls: Option<ServerTls>) -> SharedPort {
    let mut config = TransportConfig::default();
    config.timeouts.request = Duration::from_millis(300);
    SharedPort::bind(system_network(), ([127, 0, 0, 1], 0).into(), tls, config).await.unwrap()
}

/// A server with this path, and the invitation of its client.
fn server(
    port: &SharedPort,
    scheme: &str,
    path: &str,
    encoding: Encoding,
) -> (ServiceConfig, Invite) {
    let url = format!("{scheme}://localhost:{}/{path}", port.address().port());
    let mut config = ServiceConfig::new(&format!("server-{path}"), &url, "127.0.0.1", &1).unwrap();
    let invite = config.add_client_with("client", "127.0.0.1", encoding).unwrap();
    (config, invite)
}

fn client(invite: Invite, authorities: Option<PathBuf>) -> ServiceConfig {
    let mut config = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    config.add_server_with(invite, authorities).unwrap();
    config
}

async fn start_at(port: &SharedPort, config: &ServiceConfig) -> (Service, Inbox) {
    let (inbox, handler) = Inbox::new();
    (Service::start_at(port, config, handler).await.unwrap(), inbox)
}

async fn start(config: &ServiceConfig) -> Service {
    Service::start(config, async |_: Message| Ok::<(), paddington::Error>(())).await.unwrap()
}

/// Sends a request, and returns the status of the answer, or nothing if there is none.
async fn request(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await; // it may be reset
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn each_client_reaches_its_service_and_one_that_restarts_disturbs_no_other() {
    let port = port(None).await;
    let (a, to_a) = server(&port, "ws", "a", Encoding::Sealed);
    let (b, to_b) = server(&port, "ws", "b", Encoding::Sealed);
    let (c, to_c) = server(&port, "ws", "c", Encoding::Hex);
    let (service_a, inbox_a) = start_at(&port, &a).await;
    let (service_b, inbox_b) = start_at(&port, &b).await;
    let (_service_c, inbox_c) = start_at(&port, &c).await;
    let clients = [client(to_a, None), client(to_b, None), client(to_c, None)];
    let [client_a, client_b, client_c] =
        [start(&clients[0]).await, start(&clients[1]).await, start(&clients[2]).await];
    client_a.send(Message::new("server-a", "to a")).await.unwrap();
    client_b.send(Message::new("server-b", "to b")).await.unwrap();
    eventually(async || client_c.peers()[0].is_connected()).await;
    client_c.send(Message::new("server-c", "to c")).await.unwrap();
    assert_eq!(inbox_a.text().await, "to a");
    assert_eq!(inbox_b.text().await, "to b");
    assert_eq!(inbox_c.text().await, "to c");
    assert_eq!(service_a.peers()[0].address.unwrap().to_string(), "127.0.0.1");

    service_a.shutdown().await;
    client_a.send(Message::new("server-a", "while it is away")).await.unwrap();
    client_b.send(Message::new("server-b", "to b again")).await.unwrap();
    assert_eq!(inbox_b.text().await, "to b again");
    let (service_a, inbox_a) = start_at(&port, &a).await;
    assert_eq!(inbox_a.text().await, "while it is away");
    // The port is closed, and what was established stays.
    drop(port);
    client_b.send(Message::new("server-b", "over the same connection")).await.unwrap();
    assert_eq!(inbox_b.text().await, "over the same connection");
    for service in [service_a, service_b, client_a, client_b, client_c] {
        service.shutdown().await;
    }
}

#[tokio::test]
async fn the_port_speaks_tls_for_all_of_them() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let issued = authority.issue("localhost");
    let at = |name: &str| folder.path().join(name);
    paddington::save_private(at("certificate"), &issued.certificate).unwrap();
    paddington::save_private(at("key"), &issued.key).unwrap();
    paddington::save_private(at("authorities"), &authority.pem).unwrap();
    let files = TlsFiles::new(at("certificate"), at("key"));
    let port = port(Some(ServerTls::load(files.clone()).unwrap())).await;
    let mut inboxes = Vec::new();
    for path in ["a", "b"] {
        let (mut config, invite) = server(&port, "wss", path, Encoding::Sealed);
        let (service, inbox) = start_at(&port, &config).await;
        let client = start(&client(invite, Some(at("authorities")))).await;
        client.send(Message::new(config.name(), path)).await.unwrap();
        assert_eq!(inbox.text().await, path);
        inboxes.push((service, client, inbox));
        config.set_tls(files.clone());
        let handler = async |_: Message| Ok::<(), paddington::Error>(());
        let refused = Service::start_at(&port, &config, handler).await.unwrap_err();
        assert!(matches!(refused, ServiceError::TlsOnSharedPort(_)), "{refused}");
    }
    // Whoever speaks no TLS is told nothing.
    assert_eq!(request(port.address(), "GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n").await, "");
}

#[tokio::test]
async fn a_url_belongs_to_one_service() {
    let port = port(None).await;
    let (a, _) = server(&port, "ws", "a", Encoding::Sealed);
    let (_service, _inbox) = start_at(&port, &a).await;
    let handler = async |_: Message| Ok::<(), paddington::Error>(());
    let refused = Service::start_at(&port, &a, handler).await.unwrap_err();
    assert!(matches!(refused, ServiceError::Start(StartError::Listen { .. })), "{refused:?}");
    let refused = paddington::with_causes(&refused);
    assert!(refused.contains("give each its own path"), "{refused}");
}

#[tokio::test]
async fn a_stranger_is_refused_by_the_first_service_or_by_the_port_and_others_go_on() {
    let port = port(None).await;
    let address = port.address();
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   sec-websocket-protocol: paddington.sealed.1\r\n\r\n";
    // Nobody listens yet.
    assert_eq!(request(address, &format!("GET /a HTTP/1.1\r\nhost: x\r\n{upgrade}")).await, "");
    let (a, to_a) = server(&port, "ws", "a", Encoding::Sealed);
    let (b, _) = server(&port, "ws", "b", Encoding::Sealed);
    let (service_a, inbox_a) = start_at(&port, &a).await;
    let (service_b, _inbox_b) = start_at(&port, &b).await;
    // One that is silent, and one that is slow, are cut off and hold up nobody.
    let silent = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /a HTTP/1.1\r\nhost").await.unwrap();
    let client = start(&client(to_a, None)).await;
    client.send(Message::new("server-a", "meanwhile")).await.unwrap();
    assert_eq!(inbox_a.text().await, "meanwhile");
    for mut stream in [silent, slow] {
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or(0), 0);
    }

    let asks = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{upgrade}");
    assert_eq!(request(address, &asks("/c")).await, "HTTP/1.1 404 Not Found");
    assert_eq!(
        request(address, "GET /b HTTP/1.1\r\nhost: x\r\n\r\n").await,
        "HTTP/1.1 400 Bad Request"
    );
    assert_eq!(
        request(address, &format!("GET /a HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000))).await,
        ""
    );
    let of = |service: &Service| {
        let refusals = service.exchange().refusals();
        refusals.iter().map(|it| it.code).collect::<Vec<_>>()
    };
    eventually(async || of(&service_a) == ["wrong_path"]).await;
    eventually(async || of(&service_b) == ["encoding_mismatch"]).await;
}
