//! How bodies of requests are read.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zeroize::Zeroize;

use crate::failure::Failure;

/// The longest body of a request that changes something, in bytes.
const LONGEST: usize = 64 * 1024;
/// How long a body may take to arrive.
const TIME: Duration = Duration::from_secs(30);

/// The body of a request, read from JSON. No body at all counts as `{}`.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        let body = read(body, LONGEST).await?;
        if body.is_empty() {
            return parse(b"{}").map(Self);
        }
        is_json(&head.headers)?;
        let parsed = parse(&body);
        if let Ok(mut body) = body.try_into_mut() {
            body.zeroize(); // it may hold an invitation
        }
        parsed.map(Self)
    }
}

/// Reads a body of `longest` bytes at most.
pub(crate) async fn read(body: Body, longest: usize) -> Result<Bytes, Failure> {
    let whole = timeout(TIME, Limited::new(body, longest).collect()).await;
    let late = || Failure::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body took too long");
    match whole.map_err(|_| late())? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the body has more than {longest} bytes");
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", message))
        }
        Err(_) => Err(Failure::invalid("incomplete", "the body is not complete")),
    }
}

/// Checks that a body says that it is JSON. A page of another site cannot say so without being asked.
pub(crate) fn is_json(headers: &HeaderMap) -> Result<(), Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    if kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Failure::new(status, "not_json", "the body has to be JSON")
        .remedy("send it with the header Content-Type: application/json"))
}

/// Reads JSON.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| {
        let error = without_texts(&error.to_string());
        let message = format!("the body is not what is expected here: {error}");
        Failure::invalid("invalid_json", message)
            .remedy("GET /v1/openapi.json says what is expected")
    })
}

/// Leaves texts of the body out of what is said about it: one of them may be an invitation.
fn without_texts(error: &str) -> String {
    match (error.find("string \""), error.rfind("\", expected")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}a text{}", &error[..from], &error[to + 1..])
        }
        _ => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only whether it can be read counts")]
        number: u8,
    }

    #[test]
    fn an_error_names_the_place_and_repeats_no_text() {
        for json in [r#""a secret\", expected or not""#, r#"{"number": "a secret"}"#] {
            let error = parse::<Body>(json.as_bytes()).unwrap_err();
            let error = format!("{error:?}");
            assert!(error.contains("invalid type: a text, expected"), "{error}");
            assert!(error.contains("line 1 column"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
