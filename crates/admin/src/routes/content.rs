//! Contents of messages: from bodies and JSON, and back.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use paddington::{Content, Message, PeerName, Text};
use serde::Deserialize;

use crate::app::App;
use crate::body;
use crate::failure::Failure;

/// A body with messages may always have as many bytes as this.
const LONGEST: usize = 4 * 1024 * 1024;
/// The longest time that a request may name.
const LONGEST_TIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// The kind of content that a request says to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Text,
    Bytes,
    /// Nothing is said.
    Unsaid,
}

impl Kind {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// 415 if it names another type.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Unsaid) };
        let value = value.to_str().unwrap_or_default();
        let name = value.split(';').next().unwrap_or_default().trim();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("application/json") {
            Ok(Self::Json)
        } else if is("text/plain") {
            Ok(Self::Text)
        } else if is("application/octet-stream") {
            Ok(Self::Bytes)
        } else {
            Err(unsupported())
        }
    }
}

/// Answers that a body has a type that is not taken.
pub(super) fn unsupported() -> Failure {
    let message =
        "the body is neither application/json, nor text/plain, nor application/octet-stream";
    Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type", message)
        .remedy("send text with Content-Type: text/plain, bytes with application/octet-stream")
}

/// Reads a body with messages.
pub(super) async fn read(app: &App, body: Body) -> Result<Bytes, Failure> {
    body::read(body, LONGEST.max(app.longest.saturating_mul(2))).await
}

/// Reads a content that is not JSON.
pub(super) fn raw(kind: Kind, body: Bytes) -> Result<Content, Failure> {
    match kind {
        Kind::Bytes => Ok(Content::Bytes(body)),
        Kind::Text => Text::try_from(body).map(Content::Text).map_err(|_| {
            Failure::invalid("not_text", "the body is not UTF-8")
                .remedy("send bytes with Content-Type: application/octet-stream")
        }),
        Kind::Json | Kind::Unsaid => Err(unsupported()),
    }
}

/// A content in JSON, as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonContent {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) base64: Option<String>,
}

impl JsonContent {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_none() && self.base64.is_none()
    }

    pub(super) fn read(self) -> Result<Content, Failure> {
        match (self.text, self.base64) {
            (Some(text), None) => Ok(Content::Text(text.into())),
            (None, Some(digits)) => STANDARD.decode(digits).map_or_else(
                |_| Err(Failure::invalid("not_base64", "base64 is not valid, or has no padding")),
                |bytes| Ok(Content::Bytes(bytes.into())),
            ),
            (None, None) => Err(Failure::invalid("no_content", "there is neither text nor base64")),
            (Some(_), Some(_)) => {
                Err(Failure::invalid("two_contents", "there are both text and base64"))
            }
        }
    }
}

/// Makes a message of a content.
pub(super) fn message(peer: &PeerName, content: Content) -> Message {
    match content {
        Content::Text(text) => Message::new(peer, text),
        Content::Bytes(bytes) => Message::with_bytes(peer, bytes),
    }
}

/// Returns whether the header `Accept` names one of these media types.
pub(super) fn accepts(headers: &HeaderMap, types: &[&str]) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let mut named = accepted.split(',').map(|it| it.split(';').next().unwrap_or_default().trim());
    named.any(|it| types.contains(&it))
}

/// Reads a time such as `5s`, `250ms`, or a number of seconds.
pub(super) fn time(name: &str, text: &str) -> Result<Duration, Failure> {
    let seconds = || text.parse().ok().and_then(|it| Duration::try_from_secs_f64(it).ok());
    let time = humantime::parse_duration(text).ok().or_else(seconds);
    time.filter(|time| *time <= LONGEST_TIME).ok_or_else(|| {
        let message = format!("{name} is not a time of a year at most");
        Failure::invalid("invalid_time", message).remedy("write it as 5s, 250ms or 2h")
    })
}

/// Reads a number of seconds.
pub(super) fn seconds(name: &str, seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST_TIME).ok_or_else(
        || {
            let message = format!("{name} is not a number of seconds of a year at most");
            Failure::invalid("invalid_time", message)
        },
    )
}
