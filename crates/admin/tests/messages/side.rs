//! A service whose messages go to consumers of its local API.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use paddington::{PeerStatus, Service, ServiceConfig, Storage};
use paddington_admin::client::{Client, ClientError, Events};
use paddington_admin::model::{Acknowledged, IdList, Incoming, IncomingMessages};
use paddington_admin::{Admin, Inbox, Serving, Settings};
use paddington_test_support::{MemoryNetwork, Pair, pair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;

/// A service with its local API.
pub(crate) struct Side {
    pub(crate) service: Service,
    pub(crate) serving: Serving,
    folder: TempDir,
}

/// Two services that know each other, with a local API each.
pub(crate) struct Both {
    pub(crate) pair: Pair,
    pub(crate) server: Side,
    pub(crate) client: Side,
}

impl Side {
    pub(crate) async fn start(pair: &Pair, config: ServiceConfig) -> Self {
        Self::start_with(&pair.network, Storage::Memory, config).await
    }

    /// Starts one over a storage that is not in its configuration.
    pub(crate) async fn start_with(
        network: &MemoryNetwork,
        storage: Storage,
        mut config: ServiceConfig,
    ) -> Self {
        Inbox::adapt(config.settings_mut());
        let folder = tempfile::tempdir().unwrap();
        let socket = Some(folder.path().join("paddington.sock"));
        let admin = Admin::bind(Settings { socket, ..Settings::default() }).await.unwrap();
        let inbox = Inbox::new();
        let (network, handler) = (network.network(), inbox.handler());
        let service = Service::start_with(network, storage, &config, handler).await.unwrap();
        let serving = admin.serve(service.clone(), Some(inbox));
        Self { service, serving, folder }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("paddington.sock")
    }

    pub(crate) async fn api(&self) -> Client {
        Client::connect(self.socket()).await.unwrap()
    }

    pub(crate) async fn stream(&self, query: &str) -> Events {
        self.api().await.events(&format!("/v1/messages{query}")).await.unwrap()
    }

    pub(crate) async fn poll(&self, query: &str) -> Vec<Incoming> {
        let path = format!("/v1/messages{query}");
        self.api().await.get::<IncomingMessages>(&path).await.unwrap().messages
    }

    pub(crate) async fn send(&self, peer: &str, texts: impl IntoIterator<Item = String>) {
        let messages: Vec<_> = texts.into_iter().map(|text| json!({ "text": text })).collect();
        let path = format!("/v1/peers/{peer}/messages");
        let body = json!({ "messages": messages });
        let _: Value = self.api().await.post(&path, &body).await.unwrap();
    }

    pub(crate) async fn acknowledge(&self, messages: &[Incoming]) -> Acknowledged {
        let ids = messages.iter().map(|message| message.id.clone()).collect();
        self.api().await.post("/v1/messages/handled", &IdList { ids }).await.unwrap()
    }

    /// Makes a request with any body, and returns the status, the type, and the body of the answer.
    pub(crate) async fn raw(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (StatusCode, String, Bytes) {
        let socket = UnixStream::connect(self.socket()).await.unwrap();
        let (mut requests, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(Method::POST).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = requests.send_request(request).await.unwrap();
        let status = response.status();
        let kind = response.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind.unwrap_or_default(), body)
    }

    pub(crate) fn peer(&self) -> PeerStatus {
        self.service.peers().remove(0)
    }

    pub(crate) async fn end(self) {
        self.service.shutdown().await;
        self.serving.end().await;
    }
}

impl Both {
    pub(crate) async fn start() -> Self {
        Self::start_with(pair()).await
    }

    pub(crate) async fn start_with(pair: Pair) -> Self {
        let server = Side::start(&pair, pair.server.clone()).await;
        let client = Side::start(&pair, pair.client.clone()).await;
        Self { pair, server, client }
    }
}

/// Reads the next message of a stream.
pub(crate) async fn next(events: &mut Events) -> Incoming {
    let event = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    let event = event.expect("an event in time").unwrap().expect("the stream goes on");
    assert_eq!(event.name, "message");
    serde_json::from_str(&event.data).unwrap()
}

pub(crate) fn text(message: &Incoming) -> &str {
    message.content.text.as_deref().unwrap()
}

pub(crate) fn texts(messages: &[Incoming]) -> Vec<&str> {
    messages.iter().map(text).collect()
}

pub(crate) fn numbers(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

pub(crate) fn code(error: &ClientError) -> (u16, &str) {
    match error {
        ClientError::Refused { status, error } => (*status, error.code.as_str()),
        other => panic!("{other:?}"),
    }
}
