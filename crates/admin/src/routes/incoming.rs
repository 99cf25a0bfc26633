//! Messages for consumers, and their acknowledgement. Implements `docs/api.md`, "Receiving".

use std::fmt::Write;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, StatusCode, header};
use paddington::ReplyError;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::Table;
use super::content::{self, JsonContent, Kind};
use super::query::Query;
use crate::app::{App, Shared};
use crate::body::{self, JsonBody};
use crate::failure::Failure;
use crate::inbox::{Answered, Consumer, Failed, Given, Inbox, LEASE, Wanted};
use crate::model::{Acknowledged, Content, FailedRequest, IdList, Incoming, IncomingMessages};

/// Messages that a consumer gets at a time, unless the query says it.
const MAX: usize = 100;
/// The most messages that a consumer gets at a time, and the most ids in a body.
const MOST: usize = 1_000;
/// How long a poll waits, unless the query says it; and at most.
const WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The bounds of a lease.
const LEASES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);
/// The longest name of a consumer, in bytes.
const NAME: usize = 64;
/// The longest reason of a failure that is kept, in bytes.
const REASON: usize = 1024;
/// How often a stream says that it is there.
const SIGN: Duration = Duration::from_secs(15);

pub(crate) fn routes() -> Table {
    Table::new()
        .get("/v1/messages", messages)
        .post("/v1/messages/handled", all_handled)
        .post("/v1/messages/{id}/handled", handled)
        .post("/v1/messages/{id}/failed", failed)
}

/// The wishes of a consumer, and its name.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessagesQuery {
    /// Only messages of this peer.
    peer: Option<String>,
    /// The most messages at a time (100, at most 1000); of a stream, that are not acknowledged.
    max: Option<usize>,
    /// How long to wait if there are none, such as `30s`, which is the default.
    wait: Option<String>,
    /// The name of the consumer. What it has lasts as long as something is heard of it.
    consumer: Option<String>,
    /// How long it may be silent until what it has comes again (`30s`).
    lease: Option<String>,
    /// Whether it begins anew, and what it has comes again at once.
    again: Option<bool>,
}

/// The consumer that acknowledges.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct AckQuery {
    /// The name of the consumer, if it has one.
    consumer: Option<String>,
}

/// Hands out messages, oldest first: as a stream of events if `Accept` is `text/event-stream`.
#[utoipa::path(
    get,
    path = "/v1/messages",
    tag = "messages",
    params(MessagesQuery),
    responses(
        (status = 200, description = "Messages; none, if none came in time. As server-sent events: one `message` for each, until the connection is closed.", body = IncomingMessages),
        (status = 409, description = "Messages go to a program, and not to consumers.", body = crate::model::ErrorBody),
        (status = 503, description = "The service shuts down.", body = crate::model::ErrorBody),
    )
)]
pub(crate) async fn messages(
    State(app): State<Shared>,
    query: Query<MessagesQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = query?.0;
    let inbox = inbox(&app)?;
    let max = query.max.unwrap_or(MAX);
    if !(1..=MOST).contains(&max) {
        return Err(Failure::invalid("invalid_query", format!("max has to be from 1 to {MOST}")));
    }
    if let Some(peer) = &query.peer
        && !app.knows(peer)
    {
        return Err(Failure::unknown_peer(peer));
    }
    let time = |name: &str, text: &Option<String>, default| match text {
        Some(text) => content::time(name, text),
        None => Ok(default),
    };
    let lease = time("lease", &query.lease, LEASE)?;
    let wait = time("wait", &query.wait, WAIT)?.min(LONGEST_WAIT);
    if !LEASES.contains(&lease) {
        return Err(Failure::invalid("invalid_query", "lease has to be from 1s to 1h"));
    }
    let wanted = Wanted { peer: query.peer, max };
    if content::accepts(&headers, &["text/event-stream"]) {
        return Ok(events(inbox.stream(), wanted));
    }
    let name = name(query.consumer.as_deref())?;
    let consumer = inbox.poll(name, lease);
    if query.again == Some(true) {
        consumer.give_back();
    }
    let given = match timeout(wait, consumer.next(&wanted)).await {
        Ok(None) => return Err(Failure::shutting_down()),
        Ok(Some(given)) => given,
        Err(_) => Vec::new(),
    };
    let messages = given.into_iter().map(incoming).collect();
    Ok(Json(IncomingMessages { messages }).into_response())
}

/// Acknowledges messages as handled.
#[utoipa::path(
    post,
    path = "/v1/messages/handled",
    tag = "messages",
    params(AckQuery),
    request_body = IdList,
    responses((status = 200, description = "How many were acknowledged, and which nobody waits for.", body = Acknowledged))
)]
pub(crate) async fn all_handled(
    State(app): State<Shared>,
    query: Query<AckQuery>,
    JsonBody(list): JsonBody<IdList>,
) -> Result<Json<Acknowledged>, Failure> {
    let (query, inbox) = (query?.0, inbox(&app)?);
    let name = name(query.consumer.as_deref())?;
    if list.ids.len() > MOST {
        let message = format!("at most {MOST} ids are taken at a time");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", message));
    }
    let is_unknown = |id: &String| inbox.finish(id, name, Ok(())) != Answered::Done;
    let all = list.ids.len();
    let unknown: Vec<String> = list.ids.into_iter().filter(is_unknown).collect();
    Ok(Json(Acknowledged { acknowledged: (all - unknown.len()) as u64, unknown }))
}

/// Acknowledges a message as handled; of a request, the body is the reply.
#[utoipa::path(
    post,
    path = "/v1/messages/{id}/handled",
    tag = "messages",
    params(("id" = String, Path, description = "The id that the message was handed out with."), AckQuery),
    request_body(content = Option<Content>, description = "The reply to a request; or raw, as text/plain or application/octet-stream."),
    responses(
        (status = 200, description = "It is acknowledged, and the reply is on its way.", body = Acknowledged),
        (status = 400, description = "There is a reply, but the message is not a request.", body = crate::model::ErrorBody),
        (status = 404, description = "Nobody waits for it any more.", body = crate::model::ErrorBody),
        (status = 413, description = "The reply is too long; the requester is told so.", body = crate::model::ErrorBody),
    )
)]
pub(crate) async fn handled(
    State(app): State<Shared>,
    Path(id): Path<String>,
    query: Query<AckQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Acknowledged>, Failure> {
    let (query, inbox) = (query?.0, inbox(&app)?);
    let name = name(query.consumer.as_deref())?;
    let body = content::read(&app, body).await?;
    let answered = match reply(&headers, body)? {
        Some(reply) => inbox.reply(&id, name, reply),
        None => inbox.finish(&id, name, Ok(())),
    };
    answer(answered, &id)
}

/// Tells that a message could not be handled. What follows is the setting `on_error`.
#[utoipa::path(
    post,
    path = "/v1/messages/{id}/failed",
    tag = "messages",
    params(("id" = String, Path, description = "The id that the message was handed out with."), AckQuery),
    request_body = FailedRequest,
    responses(
        (status = 200, description = "It counts as failed.", body = Acknowledged),
        (status = 404, description = "Nobody waits for it any more.", body = crate::model::ErrorBody),
    )
)]
pub(crate) async fn failed(
    State(app): State<Shared>,
    Path(id): Path<String>,
    query: Query<AckQuery>,
    JsonBody(failed): JsonBody<FailedRequest>,
) -> Result<Json<Acknowledged>, Failure> {
    let (query, inbox) = (query?.0, inbox(&app)?);
    let name = name(query.consumer.as_deref())?;
    let mut reason = failed.reason.unwrap_or_else(|| "it gives no reason".to_owned());
    reason.truncate(reason.floor_char_boundary(REASON));
    answer(inbox.finish(&id, name, Err(Failed(reason))), &id)
}

fn inbox(app: &App) -> Result<&Inbox, Failure> {
    app.inbox.as_ref().ok_or_else(|| {
        let message = "the messages of this service go to a program, and not to the local API";
        Failure::new(StatusCode::CONFLICT, "messages_go_elsewhere", message)
            .remedy("remove the table [handler] from service.toml, and restart the service")
    })
}

fn name(name: Option<&str>) -> Result<Option<&str>, Failure> {
    let is_valid = |name: &str| (1..=NAME).contains(&name.len());
    if name.is_some_and(|name| !is_valid(name)) {
        let message = format!("the name of a consumer has from 1 to {NAME} bytes");
        return Err(Failure::invalid("invalid_query", message));
    }
    Ok(name)
}

/// Reads a reply. Without a type and without bytes there is none.
fn reply(headers: &HeaderMap, body: Bytes) -> Result<Option<paddington::Content>, Failure> {
    let kind = match Kind::of(headers) {
        Err(_) if body.is_empty() => return Ok(None),
        kind => kind?,
    };
    match kind {
        Kind::Unsaid | Kind::Json if body.is_empty() => Ok(None),
        Kind::Json => {
            let content: JsonContent = body::parse(&body)?;
            if content.is_empty() { Ok(None) } else { content.read().map(Some) }
        }
        kind => content::raw(kind, body).map(Some),
    }
}

fn answer(answered: Answered, id: &str) -> Result<Json<Acknowledged>, Failure> {
    match answered {
        Answered::Done => Ok(Json(Acknowledged { acknowledged: 1, unknown: Vec::new() })),
        Answered::Unknown => {
            let id: String = id.chars().take(40).collect();
            let message = format!("nobody waits for the message {id:?}");
            Err(Failure::new(StatusCode::NOT_FOUND, "unknown_message", message).remedy(
                "it was acknowledged before, has gone to another consumer, or its request is over",
            ))
        }
        Answered::NotARequest => {
            let message = "the message is not a request, so it has no reply";
            Err(Failure::invalid("not_a_request", message).remedy("acknowledge it without a body"))
        }
        Answered::Refused(refused) => {
            let status = match refused {
                ReplyError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            Err(Failure::new(status, "reply_refused", refused.to_string()))
        }
    }
}

fn incoming(given: Given) -> Incoming {
    let Given { id, message } = given;
    Incoming {
        id,
        peer: message.sender().to_owned(),
        content: Content::of(message.bytes(), message.is_bytes()),
        request: message.is_request(),
        seconds_left: message.time_left().map(|left| left.as_secs_f64()),
        message_id: message.id().map(|id| id.to_string()),
        fence: message.fence(),
    }
}

/// Streams messages until the connection is closed, or the service shuts down.
fn events(consumer: Consumer, wanted: Wanted) -> Response {
    let stream = unfold((consumer, wanted, true), async |(consumer, wanted, first)| {
        if first {
            let hello = Bytes::from_static(b": messages follow\n\n");
            return Some((Ok::<_, std::convert::Infallible>(hello), (consumer, wanted, false)));
        }
        let chunk = match timeout(SIGN, consumer.next(&wanted)).await {
            Ok(None) => return None,
            Ok(Some(given)) => given.into_iter().map(event).collect::<String>().into(),
            Err(_) => Bytes::from_static(b":\n\n"),
        };
        Some((Ok(chunk), (consumer, wanted, false)))
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(stream)).into_response()
}

fn event(given: Given) -> String {
    let message = incoming(given);
    let mut event = format!("event: message\nid: {}\ndata: ", message.id);
    // Strings and numbers always become JSON, and JSON has no line breaks.
    let json = serde_json::to_string(&message).unwrap_or_default();
    let _ = write!(event, "{json}\n\n"); // a string takes everything
    event
}
