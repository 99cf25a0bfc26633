//! A service whose messages go to consumers of its local API.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use paddington::{PeerStatus, Service, ServiceConfig};
use paddington_admin::client::{Client, ClientError, Events};
use paddington_admin::model::{Acknowledged, IdList, Incoming, IncomingMessages};
use paddington_admin::{Admin, Inbox, Serving, Settings};
use paddington_test_support::{Pair, pair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;

/// A service with its local API.
pub struct Side {
    pub service: Service,
    pub serving: Serving,
    folder: TempDir,
}

/// Two services that know each other, with a local API each.
pub struct Both {
    pub pair: Pair,
    pub server: Side,
    pub client: Side,
}

impl Side {
    pub async fn start(pair: &Pair, mut config: ServiceConfig) -> Self {
        Inbox::adapt(config.settings_mut());
        let folder = tempfile::tempdir().unwrap();
        let socket = Some(folder.path().join("paddington.sock"));
        let admin = Admin::bind(Settings { socket, ..Settings::default() }).await.unwrap();
        let inbox = Inbox::new();
        let network = pair.network.network();
        let service = Service::start_on(network, &config, inbox.handler()).await.unwrap();
        let serving = admin.serve(service.clone(), Some(inbox));
        Self { service, serving, folder }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("paddington.sock")
    }

    pub async fn api(&self) -> Client {
        Client::connect(self.socket()).await.unwrap()
    }

    pub async fn stream(&self, query: &str) -> Events {
        self.api().await.events(&format!("/v1/messages{query}")).await.unwrap()
    }

    pub async fn poll(&self, query: &str) -> Vec<Incoming> {
        let path = format!("/v1/messages{query}");
        self.api().await.get::<IncomingMessages>(&path).await.unwrap().messages
    }

    pub async fn send(&self, peer: &str, texts: impl IntoIterator<Item = String>) {
        let messages: Vec<_> = texts.into_iter().map(|text| json!({ "text": text })).collect();
        let path = format!("/v1/peers/{peer}/messages");
        let body = json!({ "messages": messages });
        let _: Value = self.api().await.post(&path, &body).await.unwrap();
    }

    pub async fn acknowledge(&self, messages: &[Incoming]) -> Acknowledged {
        let ids = messages.iter().map(|message| message.id.clone()).collect();
        self.api().await.post("/v1/messages/handled", &IdList { ids }).await.unwrap()
    }

    /// Makes a request with any body, and returns the status, the type, and the body of the answer.
    pub async fn raw(
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

    pub fn peer(&self) -> PeerStatus {
        self.service.peers().remove(0)
    }

    pub async fn end(self) {
        self.service.shutdown().await;
        self.serving.end().await;
    }
}

impl Both {
    pub async fn start() -> Self {
        Self::start_with(pair()).await
    }

    pub async fn start_with(pair: Pair) -> Self {
        let server = Side::start(&pair, pair.server.clone()).await;
        let client = Side::start(&pair, pair.client.clone()).await;
        Self { pair, server, client }
    }
}

/// Reads the next message of a stream.
pub async fn next(events: &mut Events) -> Incoming {
    let event = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    let event = event.expect("an event in time").unwrap().expect("the stream goes on");
    assert_eq!(event.name, "message");
    serde_json::from_str(&event.data).unwrap()
}

pub fn text(message: &Incoming) -> &str {
    message.content.text.as_deref().unwrap()
}

pub fn texts(messages: &[Incoming]) -> Vec<&str> {
    messages.iter().map(text).collect()
}

pub fn numbers(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

pub fn code(error: &ClientError) -> (u16, &str) {
    match error {
        ClientError::Refused { status, error } => (*status, error.code.as_str()),
        other => panic!("{other:?}"),
    }
}
