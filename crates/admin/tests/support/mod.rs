//! A service with its local API, for tests.

#![allow(dead_code, reason = "each test uses some of it")]

use std::path::PathBuf;
use std::sync::Arc;

use paddington::{Message, Service};
use paddington_admin::client::Client;
use paddington_admin::{Admin, Inbox, Serving, Settings, Token};
use paddington_test_support::Pair;
use tempfile::TempDir;

/// A server with its local API, and its client, which has none.
#[derive(Debug)]
pub struct Hub {
    pub pair: Pair,
    pub service: Service,
    pub serving: Serving,
    pub folder: TempDir,
}

pub fn settings(folder: &TempDir) -> Settings {
    Settings { socket: Some(folder.path().join("paddington.sock")), ..Settings::default() }
}

pub fn settings_with_tcp(folder: &TempDir) -> Settings {
    let token = Token::load_or_create(folder.path().join("api.token")).unwrap();
    let tcp = Some("127.0.0.1:0".parse().unwrap());
    Settings { tcp, token: Some(token), ..settings(folder) }
}

impl Hub {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        Self::start_with(paddington_test_support::pair(), folder, settings).await
    }

    pub async fn start_with(pair: Pair, folder: TempDir, settings: Settings) -> Self {
        let admin = Admin::bind(settings).await.unwrap();
        let handler = async |_: Message| Ok::<(), std::io::Error>(());
        let service =
            Service::start_on(pair.network.network(), &pair.server, handler).await.unwrap();
        let serving = admin.serve(service.clone(), None::<Inbox>);
        Self { pair, service, serving, folder }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("paddington.sock")
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("api.token")).unwrap().trim().to_owned()
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.socket()).await.unwrap()
    }

    /// Waits until the peer is connected.
    pub async fn connected(&self) {
        let mut events = self.service.exchange().events();
        while !self.service.peers()[0].is_connected() {
            events.recv().await.unwrap();
        }
    }
}

/// Starts the other side.
pub async fn start_client(pair: &Pair) -> Service {
    let handler = async |_: Message| Ok::<(), std::io::Error>(());
    Service::start_on(Arc::clone(&pair.network.network()), &pair.client, handler).await.unwrap()
}
