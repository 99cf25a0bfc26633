//! Messages to peers. Implements `docs/api.md`, "Sending".

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{FuturesOrdered, StreamExt};
use http::{HeaderMap, StatusCode};
use paddington::{Content, Delivered, PeerName, Receipt, SendError, SendOptions, with_causes};
use serde::Deserialize;
use tokio::task::unconstrained;
use utoipa::{IntoParams, ToSchema};

use super::Table;
use super::content::{self, JsonContent, Kind};
use super::query::Query;
use crate::app::{App, Shared};
use crate::body;
use crate::failure::Failure;
use crate::model::{Accepted, OutcomeAnswer, Outcomes};

/// The most messages in one body.
const BATCH: usize = 1_000;

pub(crate) fn routes() -> Table {
    Table::new().post("/v1/peers/{peer}/messages", send)
}

/// How messages are sent.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendQuery {
    /// `handled`: the answer comes when it is known what has become of the message.
    wait: Option<WaitFor>,
    /// How long the message may wait before it is sent, such as `10s`. In JSON, `ttl_seconds` of a
    /// message goes before it.
    ttl: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitFor {
    /// Handled by the peer, or not.
    Handled,
}

/// Sends a message, or several in this order.
#[utoipa::path(
    post,
    path = "/v1/peers/{peer}/messages",
    tag = "messages",
    params(("peer" = String, Path, description = "The peer."), SendQuery),
    request_body(content = crate::model::SendBody, description = "One message or several; or raw, as text/plain or application/octet-stream."),
    responses(
        (status = 202, description = "Accepted; stored, if the outbox is in a file.", body = Accepted),
        (status = 200, description = "With wait=handled: what has become of them.", body = Outcomes),
        (status = 400, description = "The body is not valid; nothing was sent.", body = crate::model::ErrorBody),
        (status = 404, description = "There is no such peer.", body = crate::model::ErrorBody),
        (status = 413, description = "A message is too long.", body = Accepted),
        (status = 429, description = "The outbox is full; of several messages, those with an id were accepted.", body = Accepted),
    )
)]
pub(crate) async fn send(
    State(app): State<Shared>,
    Path(peer): Path<String>,
    query: Query<SendQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let query = query?.0;
    let name: PeerName = peer.parse().map_err(|_| Failure::unknown_peer(&peer))?;
    let kind = Kind::of(&headers)?;
    let ttl = query.ttl.as_deref().map(|ttl| content::time("ttl", ttl)).transpose()?;
    let body = content::read(&app, body).await?;
    let news = match kind {
        Kind::Json => parse(&body, ttl)?,
        kind => {
            News { messages: vec![New { content: content::raw(kind, body)?, ttl }], is_one: true }
        }
    };
    let is_one = news.is_one;
    let sent = send_all(&app, &name, news.messages).await;
    if query.wait.is_none() {
        return Ok(sent.accepted(is_one));
    }
    Ok(sent.outcomes(is_one).await)
}

/// A message that is to be sent.
struct New {
    content: Content,
    ttl: Option<Duration>,
}

/// The content of a body.
struct News {
    messages: Vec<New>,
    /// Whether it is a message and not a list.
    is_one: bool,
}

/// A body, as it is read: one message or several.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBody {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    ttl_seconds: Option<f64>,
    #[serde(default)]
    messages: Option<Vec<JsonMessage>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonMessage {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    ttl_seconds: Option<f64>,
}

impl JsonMessage {
    fn read(self, ttl: Option<Duration>) -> Result<New, Failure> {
        let own = self.ttl_seconds.map(|it| content::seconds("ttl_seconds", it)).transpose()?;
        let content = JsonContent { text: self.text, base64: self.base64 }.read()?;
        Ok(New { content, ttl: own.or(ttl) })
    }
}

/// Reads the messages of a body. All of them are checked before the first one is sent.
fn parse(json: &[u8], ttl: Option<Duration>) -> Result<News, Failure> {
    let JsonBody { text, base64, ttl_seconds, messages } = body::parse(json)?;
    let Some(messages) = messages else {
        let message = JsonMessage { text, base64, ttl_seconds }.read(ttl)?;
        return Ok(News { messages: vec![message], is_one: true });
    };
    if text.is_some() || base64.is_some() || ttl_seconds.is_some() {
        let message = "there are both a message and a list of messages";
        return Err(Failure::invalid("two_contents", message));
    }
    if messages.len() > BATCH {
        let message = format!(
            "there are {} messages, and at most {BATCH} are taken at a time",
            messages.len()
        );
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", message));
    }
    let read = |(index, message): (usize, JsonMessage)| {
        message.read(ttl).map_err(|failure| failure.at(index))
    };
    let messages = messages.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    Ok(News { messages, is_one: false })
}

/// The messages that were accepted, and why no more were.
struct Sent {
    receipts: Vec<Receipt>,
    failure: Option<Failure>,
}

/// Sends messages in order, until one is not accepted. Where they are stored, they share syncs.
async fn send_all(app: &App, peer: &PeerName, messages: Vec<New>) -> Sent {
    let exchange = app.service.exchange();
    let send = |New { content, ttl }: New| {
        exchange.send_with(content::message(peer, content), SendOptions { ttl })
    };
    let mut receipts = Vec::with_capacity(messages.len());
    if exchange.store().is_none() || messages.len() < 2 {
        for new in messages {
            match send(new).await {
                Ok(receipt) => receipts.push(receipt),
                Err(error) => return Sent { receipts, failure: Some(error.into()) },
            }
        }
        return Sent { receipts, failure: None };
    }
    let failed = AtomicBool::new(false);
    let (failed, send) = (&failed, &send);
    let send = move |new| async move {
        if failed.load(Ordering::Relaxed) {
            return None;
        }
        // Each is begun in its turn: one that used up the task's budget would be begun after others.
        let sent = unconstrained(send(new)).await;
        failed.fetch_or(sent.is_err(), Ordering::Relaxed);
        Some(sent)
    };
    let mut sending: FuturesOrdered<_> = messages.into_iter().map(send).collect();
    let mut failure = None;
    let mut later = 0_usize;
    while let Some(sent) = sending.next().await {
        match sent {
            Some(Ok(receipt)) if failure.is_none() => receipts.push(receipt),
            Some(Ok(_)) => later += 1,
            Some(Err(error)) => drop(failure.get_or_insert_with(|| Failure::from(error))),
            None => {}
        }
    }
    // One that waited for its turn to be stored may still be accepted after another one was not.
    let failure = failure.map(|failure| if later > 0 { failure.after(later) } else { failure });
    Sent { receipts, failure }
}

impl Sent {
    fn accepted(self, is_one: bool) -> Response {
        let ids = self.receipts.iter().map(id).collect();
        match self.failure {
            None => (StatusCode::ACCEPTED, Json(Accepted { ids, error: None })).into_response(),
            Some(failure) if is_one => failure.into_response(),
            Some(failure) => failure.with_body(|error| Accepted { ids, error: Some(error) }),
        }
    }

    async fn outcomes(self, is_one: bool) -> Response {
        let mut outcomes = Vec::with_capacity(self.receipts.len());
        for receipt in self.receipts {
            let delivered = receipt.clone().await;
            outcomes.push(outcome(&receipt, delivered));
        }
        match (self.failure, is_one) {
            (None, true) => Json(outcomes.pop()).into_response(),
            (None, false) => Json(Outcomes { outcomes, error: None }).into_response(),
            (Some(failure), true) => failure.into_response(),
            (Some(failure), false) => {
                failure.with_body(|error| Outcomes { outcomes, error: Some(error) })
            }
        }
    }
}

fn id(receipt: &Receipt) -> Option<String> {
    receipt.id().map(|id| id.to_string())
}

fn outcome(receipt: &Receipt, delivered: Delivered) -> OutcomeAnswer {
    let (word, text) = match delivered {
        Delivered::Handled => ("handled", "the peer has handled it".to_owned()),
        Delivered::Sent => {
            ("sent", "it was handed to a connection; a hex link tells no more".to_owned())
        }
        Delivered::Rejected(code) => {
            let said = receipt.error_text().map(|text| format!(" ({text})")).unwrap_or_default();
            ("rejected", format!("the peer has rejected it: {code}{said}"))
        }
        Delivered::Expired => ("expired", "its time was over before it was sent".to_owned()),
        Delivered::TooLong => ("too_long", "it is longer than the peer accepts".to_owned()),
        Delivered::Removed => {
            ("removed", "the peer was removed before it said that it had handled it".to_owned())
        }
        Delivered::LeftInStore => (
            "left_in_store",
            "the service was shut down; it is delivered after the next start".to_owned(),
        ),
        _ => ("abandoned", "the service was shut down before the peer had handled it".to_owned()),
    };
    OutcomeAnswer { id: id(receipt), outcome: word.to_owned(), text }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let text = with_causes(&error);
        let failure = |status, code| Self::new(status, code, text);
        match error {
            SendError::UnknownPeer(name) => Self::unknown_peer(&name),
            SendError::Full { .. } => failure(StatusCode::TOO_MANY_REQUESTS, "outbox_full")
                .retry_after(1)
                .remedy("send it again later; the peer is away, or its handler is slow"),
            SendError::TooLong { .. } => failure(StatusCode::PAYLOAD_TOO_LARGE, "too_long")
                .remedy("send less, or raise transport.limits.max_payload on both sides"),
            SendError::TextOnly(_) => failure(StatusCode::CONFLICT, "text_only"),
            SendError::Removed(_) => failure(StatusCode::CONFLICT, "removed"),
            SendError::ShuttingDown => Self::shutting_down(),
            SendError::Storage(_) => failure(StatusCode::SERVICE_UNAVAILABLE, "store_failed")
                .retry_after(5)
                .remedy("it was not sent; look at the disk, or at the database of the replicas, and send it again"),
            SendError::StorageUnsure(_) => failure(StatusCode::SERVICE_UNAVAILABLE, "store_unsure")
                .remedy("it may be delivered; to send it again may deliver it twice"),
            _ => failure(StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        }
    }
}
