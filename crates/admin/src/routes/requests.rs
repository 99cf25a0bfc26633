//! Requests to peers. Implements `docs/api.md`, "Requests". A caller that goes away drops the future,
//! which cancels the request.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use paddington::{FailureCode, PeerName, RequestError, with_causes};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Table;
use super::content::{self, JsonContent, Kind};
use super::query::Query;
use crate::app::Shared;
use crate::body;
use crate::failure::Failure;
use crate::model::{Content, ReplyAnswer};

/// How long a reply is waited for, unless the query says it.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn routes() -> Table {
    Table::new().post("/v1/peers/{peer}/requests", request)
}

/// How a request is made.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestQuery {
    /// How long the reply is waited for, such as `5s`, which is the default.
    timeout: Option<String>,
}

/// Asks a peer, and answers with its reply.
#[utoipa::path(
    post,
    path = "/v1/peers/{peer}/requests",
    tag = "messages",
    params(("peer" = String, Path, description = "The peer."), RequestQuery),
    request_body(content = crate::model::Content, description = "The request; or raw, as text/plain or application/octet-stream."),
    responses(
        (status = 200, description = "The reply; raw if Accept names text/plain or application/octet-stream.", body = ReplyAnswer),
        (status = 404, description = "There is no such peer.", body = crate::model::ErrorBody),
        (status = 409, description = "It cannot be asked: hex, not_answering, removed, peer_changed; with replicas also moved, lost.", body = crate::model::ErrorBody),
        (status = 413, description = "The request is too long, here or for the peer.", body = crate::model::ErrorBody),
        (status = 429, description = "Too many requests wait to be sent to it; too_many: to peers of other replicas.", body = crate::model::ErrorBody),
        (status = 502, description = "It has no reply.", body = crate::model::ErrorBody),
        (status = 504, description = "There was no answer in time.", body = crate::model::ErrorBody),
    )
)]
pub(crate) async fn request(
    State(app): State<Shared>,
    Path(peer): Path<String>,
    query: Query<RequestQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let query = query?.0;
    let name: PeerName = peer.parse().map_err(|_| Failure::unknown_peer(&peer))?;
    let kind = Kind::of(&headers)?;
    let timeout = query.timeout.as_deref().map(|it| content::time("timeout", it)).transpose()?;
    let body = content::read(&app, body).await?;
    let content = match kind {
        Kind::Json => body::parse::<JsonContent>(&body)?.read()?,
        kind => content::raw(kind, body)?,
    };
    let message = content::message(&name, content);
    let reply = app.service.request(message, timeout.unwrap_or(TIMEOUT)).await?.into_content();
    if !content::accepts(&headers, &["text/plain", "application/octet-stream"]) {
        let content = Content::of(reply.as_bytes(), reply.is_bytes());
        return Ok(Json(ReplyAnswer { content }).into_response());
    }
    let kind =
        if reply.is_bytes() { "application/octet-stream" } else { "text/plain; charset=utf-8" };
    Ok(([(header::CONTENT_TYPE, kind)], reply.as_bytes().clone()).into_response())
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let text = with_causes(&error);
        let failure = |status, code| Self::new(status, code, text);
        match error {
            RequestError::Send(error) => error.into(),
            RequestError::Full { .. } => {
                failure(StatusCode::TOO_MANY_REQUESTS, "requests_full").retry_after(1)
            }
            RequestError::TooMany { .. } => {
                failure(StatusCode::TOO_MANY_REQUESTS, "too_many").retry_after(1)
            }
            RequestError::TimedOut => failure(StatusCode::GATEWAY_TIMEOUT, "timed_out")
                .remedy("the peer may have handled it"),
            RequestError::Cancelled => Self::shutting_down(),
            RequestError::Removed(_) => failure(StatusCode::CONFLICT, "removed"),
            RequestError::NotAnswering(_) => failure(StatusCode::CONFLICT, "not_answering"),
            RequestError::PeerChanged(_) => failure(StatusCode::CONFLICT, "peer_changed")
                .remedy("the peer may have handled it; ask again if that does no harm"),
            RequestError::Moved(_) => failure(StatusCode::CONFLICT, "moved")
                .remedy("the peer may have handled it; ask again if that does no harm"),
            RequestError::Lost(_) => failure(StatusCode::CONFLICT, "lost")
                .remedy("the peer may have handled it; ask again if that does no harm"),
            RequestError::Hex(_) => failure(StatusCode::CONFLICT, "hex"),
            RequestError::TooDeep => failure(StatusCode::CONFLICT, "too_deep"),
            RequestError::Failed { code, .. } => failure(StatusCode::BAD_GATEWAY, failed(code)),
            _ => failure(StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        }
    }
}

/// Returns the word for the reason why a peer has no reply.
fn failed(code: FailureCode) -> &'static str {
    match code {
        FailureCode::FAILED => "handler_failed",
        FailureCode::TIMED_OUT => "handler_timed_out",
        FailureCode::TEXT_ONLY => "peer_takes_text",
        FailureCode::NO_ANSWER => "no_reply",
        FailureCode::NO_ROOM => "peer_has_no_room",
        FailureCode::SHUTTING_DOWN => "peer_shuts_down",
        FailureCode::TOO_LONG => "reply_too_long",
        _ => "peer_failed",
    }
}
