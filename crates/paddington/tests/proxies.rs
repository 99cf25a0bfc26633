//! A service behind a real nginx and a real HAProxy: the upgrade passes, the client's address is
//! the one that the proxy reports, and an idle connection outlives the proxy's timeout.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says why it is skipped")]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use paddington::{Encoding, Message, Service, ServiceConfig};
use paddington_test_support::{Inbox, eventually};

/// The address that the proxies connect from; the client is at 127.0.0.1.
const PROXY: &str = "127.0.0.9";
/// The idle timeout of the proxies in seconds; their default is 60.
const PATIENCE: u64 = 3;

fn nginx(folder: &Path, listen: SocketAddr, server: SocketAddr) -> (String, Vec<String>) {
    let folder = folder.display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
         events {{}}
         http {{
           access_log off;
           client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
           fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           server {{
             listen {listen};
             location / {{
               proxy_pass http://{server};
               proxy_bind {PROXY};
               proxy_http_version 1.1;
               proxy_set_header Upgrade $http_upgrade;
               proxy_set_header Connection upgrade;
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
               proxy_read_timeout {PATIENCE}s; proxy_send_timeout {PATIENCE}s;
             }}
           }}
         }}"
    );
    (config, vec!["-c".into()])
}

fn haproxy(_folder: &Path, listen: SocketAddr, server: SocketAddr) -> (String, Vec<String>) {
    let config = format!(
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
    );
    (config, vec!["-f".into()])
}

/// A proxy that runs until it is dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Configure = fn(&Path, SocketAddr, SocketAddr) -> (String, Vec<String>);

/// Starts a proxy. Returns `None` if it is not installed.
async fn start(
    program: &str,
    configure: Configure,
    folder: &Path,
    server: SocketAddr,
) -> Option<(Proxy, SocketAddr)> {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (config, mut arguments) = configure(folder, listen, server);
    let path = folder.join("proxy.conf");
    std::fs::write(&path, config).unwrap();
    arguments.push(path.display().to_string());
    let program =
        ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(|bin| Path::new(bin).join(program));
    let program = program.iter().find(|path| path.exists())?;
    let child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let proxy = Proxy(child);
    eventually(|| async { tokio::net::TcpStream::connect(listen).await.is_ok() }).await;
    Some((proxy, listen))
}

async fn works_behind(program: &str, configure: Configure) {
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

        let folder = tempfile::tempdir().unwrap();
        let address = server.address().unwrap();
        let Some((_proxy, proxy)) = start(program, configure, folder.path(), address).await else {
            eprintln!("skipped: {program} is not installed");
            return;
        };
        let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap();
        client.add_server(invite.at(&format!("ws://{proxy}/")).unwrap()).unwrap();
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
