//! Messages per second through the local API: over one connection to its Unix socket that is kept, in
//! batches, beside the same services without it, and beside an echo of the same bodies.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use paddington::{Message, Service};
use paddington_admin::model::Accepted;
use paddington_admin::{Admin, Settings};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};

use crate::durable::services;

const LEN: usize = 256;
/// Messages in one body.
const BATCH: usize = 100;
/// The pause after an answer that the outbox is full.
const PAUSE: Duration = Duration::from_micros(200);

/// Who accepts the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The service, in this process.
    Embedded,
    /// Its local API.
    Api,
    /// A server that answers with the body.
    Echo,
}

/// Returns the rate, per second, at which messages of 256 B are accepted; by a service whose peer handles
/// them.
///
/// # Errors
///
/// If something cannot start, or a message is not accepted.
pub async fn api_rate(way: Way, folder: &Path, lasting: Duration) -> Result<f64> {
    let socket = folder.join("socket");
    if way == Way::Echo {
        let listener = UnixListener::bind(&socket)?;
        let router = Router::new().route("/{*path}", post(async |body: Bytes| body));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let rate = http_rate(&socket, lasting).await;
        serving.abort();
        return rate;
    }
    let (server, client) = services(None).await?;
    let rate = match way {
        Way::Embedded => embedded_rate(&client, lasting).await,
        _ => {
            let settings = Settings { socket: Some(socket.clone()), ..Settings::default() };
            let serving = Admin::bind(settings).await?.serve(client.clone(), None);
            let rate = http_rate(&socket, lasting).await;
            serving.end().await;
            rate
        }
    };
    client.shutdown().await;
    server.shutdown().await;
    rate
}

async fn embedded_rate(client: &Service, lasting: Duration) -> Result<f64> {
    let text = "x".repeat(LEN);
    let (mut count, began) = (0_u64, Instant::now());
    let mut last = None;
    while began.elapsed() < lasting {
        for _ in 0..BATCH {
            let message = Message::new("server", text.clone());
            last = Some(client.exchange().send_when_ready(message).await?);
            count += 1;
        }
    }
    if let Some(receipt) = last {
        receipt.await;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

async fn http_rate(socket: &Path, lasting: Duration) -> Result<f64> {
    let socket = UnixStream::connect(socket).await?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let message = json!({ "text": "x".repeat(LEN) });
    let body = |count: usize| -> Result<Bytes> {
        Ok(serde_json::to_vec(&json!({ "messages": vec![&message; count] }))?.into())
    };
    let whole = body(BATCH)?;
    let (mut count, began) = (0, Instant::now());
    while began.elapsed() < lasting {
        let mut left = BATCH;
        while left > 0 {
            let body = if left == BATCH { whole.clone() } else { body(left)? };
            let accepted = post_batch(&mut requests, body, left).await?;
            left -= accepted;
            count += accepted;
            if left > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    connection.abort();
    Ok(rate)
}

/// Sends a body, and returns how many of its messages were accepted.
async fn post_batch(
    requests: &mut SendRequest<Full<Bytes>>,
    body: Bytes,
    messages: usize,
) -> Result<usize> {
    let request = Request::post("/v1/peers/server/messages")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    requests.ready().await?;
    let response = requests.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    match status {
        StatusCode::OK | StatusCode::ACCEPTED => Ok(messages),
        StatusCode::TOO_MANY_REQUESTS => Ok(serde_json::from_slice::<Accepted>(&body)?.ids.len()),
        status => bail!("{status}: {}", String::from_utf8_lossy(&body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_way_accepts_messages() {
        for way in [Way::Embedded, Way::Api, Way::Echo] {
            let folder = tempfile::tempdir().unwrap();
            let rate = api_rate(way, folder.path(), Duration::from_millis(50)).await.unwrap();
            assert!(rate > 0.0, "{way:?}");
        }
    }
}
