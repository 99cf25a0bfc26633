//! A service with its local API, for tests.

use std::net::SocketAddr;
use std::path::PathBuf;

use paddington::{Handler, Message, Service, Storage};
use paddington_admin::client::Client;
use paddington_admin::{Admin, Inbox, Serving, Settings, Token};
use paddington_test_support::Pair;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server with its local API.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) pair: Pair,
    pub(crate) service: Service,
    pub(crate) serving: Serving,
    pub(crate) folder: TempDir,
}

pub(crate) fn settings(folder: &TempDir) -> Settings {
    Settings { socket: Some(folder.path().join("paddington.sock")), ..Settings::default() }
}

pub(crate) fn settings_with_tcp(folder: &TempDir) -> Settings {
    let token = Token::load_or_create(folder.path().join("api.token")).unwrap();
    let tcp = Some("127.0.0.1:0".parse().unwrap());
    Settings { tcp, token: Some(token), ..settings(folder) }
}

pub(crate) async fn ignore(_: Message) -> Result<(), std::io::Error> {
    Ok(())
}

impl Hub {
    /// Starts one with a Unix socket.
    pub(crate) async fn start() -> Self {
        Self::start_with(settings).await
    }

    pub(crate) async fn start_with(settings: impl FnOnce(&TempDir) -> Settings) -> Self {
        Self::start_as(settings, paddington_test_support::pair(), Storage::Memory, ignore).await
    }

    pub(crate) async fn start_as(
        settings: impl FnOnce(&TempDir) -> Settings,
        pair: Pair,
        storage: impl Into<Storage>,
        handler: impl Handler,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = Admin::bind(settings(&folder)).await.unwrap();
        let network = pair.network.network();
        let service = Service::start_with(network, storage, &pair.server, handler).await.unwrap();
        let serving = admin.serve(service.clone(), None::<Inbox>);
        Self { pair, service, serving, folder }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("paddington.sock")
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        self.serving.tcp().unwrap()
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("api.token")).unwrap().trim().to_owned()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.socket()).await.unwrap()
    }

    /// Starts the other side, and waits until it is connected.
    pub(crate) async fn start_peer(&self) -> Service {
        let mut events = self.service.exchange().events();
        let network = self.pair.network.network();
        let peer = Service::start_on(network, &self.pair.client, ignore).await.unwrap();
        while !self.service.peers()[0].is_connected() {
            events.recv().await.unwrap();
        }
        peer
    }

    /// Sends a request over TCP as it is, and returns the answer as it is.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.tcp()).await.unwrap();
        // The service may answer and close before it has read everything.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    /// Sends a request over TCP with the token.
    pub(crate) async fn ask(&self, line: &str, headers: &[&str], body: &str) -> String {
        let token = format!("Authorization: Bearer {}", self.token());
        let headers: Vec<&str> = headers.iter().copied().chain([&*token]).collect();
        self.ask_openly(line, &headers, body).await
    }

    /// Sends a request over TCP without the token.
    pub(crate) async fn ask_openly(&self, line: &str, headers: &[&str], body: &str) -> String {
        let mut head = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        let mut headers = headers.to_vec();
        let host = format!("Host: {}", self.tcp());
        if !headers.iter().any(|header| header.to_lowercase().starts_with("host:")) {
            headers.push(&host);
        }
        for header in headers {
            head += &format!("{header}\r\n");
        }
        self.raw(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await
    }
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The keys in an invitation.
pub(crate) fn keys(invitation: &str) -> Vec<String> {
    let lines = invitation.lines().filter_map(|line| line.strip_prefix("data = \""));
    let keys: Vec<String> = lines.map(|key| key.trim_end_matches('"').to_owned()).collect();
    assert_eq!(keys.iter().map(String::len).collect::<Vec<_>>(), [64, 64]);
    keys
}
