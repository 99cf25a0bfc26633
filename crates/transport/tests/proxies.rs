//! A service behind a real nginx and a real HAProxy: the upgrade passes, the client's address is
//! the one that the proxy reports, and an idle connection outlives the proxy's timeout.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says why it is skipped")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use paddington::{Encoding, Message, Service, ServiceConfig};
use paddington_test_support::{Inbox, ReverseProxy};

/// The address that the proxies connect from; the client is at 127.0.0.1.
const PROXY: &str = "127.0.0.9";
/// The idle timeout of the proxies in seconds; their default is 60.
const PATIENCE: u64 = 3;

async fn nginx(server: SocketAddr) -> Option<ReverseProxy> {
    let directives = format!(
        "proxy_bind {PROXY};
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
         proxy_read_timeout {PATIENCE}s; proxy_send_timeout {PATIENCE}s;"
    );
    ReverseProxy::nginx(server, &directives).await
}

async fn haproxy(server: SocketAddr) -> Option<ReverseProxy> {
    let config = |_: &Path, listen| {
        format!(
            "defaults
               mode http
               option forwardfor
               timeout connect 5s
               timeout client {PATIENCE}s
               timeout server {PATIENCE}s
               timeout tunnel {PATIENCE}s
             frontend paddington
               bind {listen}
               default_backend service
             backend service
               server only {server} source {PROXY}\n"
        )
    };
    ReverseProxy::start("haproxy", "-f", config).await
}

async fn works_behind<F>(program: &str, start: impl Fn(SocketAddr) -> F)
where
    F: Future<Output = Option<ReverseProxy>>,
{
    for (encoding, admitted) in
        [(Encoding::Sealed, true), (Encoding::Hex, true), (Encoding::Sealed, false)]
    {
        let (inbox, handler) = Inbox::new();
        let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0).unwrap();
        let range = if admitted { "127.0.0.1" } else { "192.0.2.1" };
        let invite = server.add_client_with("client", range, encoding).unwrap();
        let transport = &mut server.settings_mut().transport;
        transport.proxies.ranges = vec![PROXY.parse().unwrap()];
        transport.timeouts.ping_interval = Duration::from_secs(1);
        let server = Service::start(&server, handler).await.unwrap();

        let Some(proxy) = start(server.address().unwrap()).await else {
            eprintln!("skipped: {program} is not installed");
            return;
        };
        let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap();
        client.add_server(invite.at(&format!("ws://{}/", proxy.address())).unwrap()).unwrap();
        let (client_inbox, handler) = Inbox::new();
        let client = Service::start(&client, handler).await.unwrap();
        if !admitted {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!server.peers()[0].is_connected(), "the proxy reported another address");
            continue;
        }
        client.send(Message::new("server", "through the proxy")).await.unwrap();
        assert_eq!(inbox.text().await, "through the proxy");
        tokio::time::sleep(Duration::from_secs(2 * PATIENCE)).await;
        server.send(Message::new("client", "still the same connection")).await.unwrap();
        assert_eq!(client_inbox.text().await, "still the same connection");
        let stood = server.peers()[0].connected_for.unwrap();
        assert!(stood >= Duration::from_secs(2 * PATIENCE), "{program} {encoding}: {stood:?}");
    }
}

#[tokio::test]
async fn services_connect_through_nginx() {
    works_behind("nginx", nginx).await;
}

#[tokio::test]
async fn services_connect_through_haproxy() {
    works_behind("haproxy", haproxy).await;
}
