//! Messages for a URL: each is posted there, and a status of 2xx says that it is handled.

use bytes::{Bytes, BytesMut};
use paddington::{HandlerError, Message, with_causes};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url, redirect};

use super::program::Program;
use crate::failure::{Exit, Failure};

/// How much of an answer that says no is told, in bytes.
const COMPLAINT: usize = 1024;

/// A URL that each message is posted to.
#[derive(Debug)]
pub(super) struct Webhook {
    client: Client,
    url: Url,
    /// The longest reply, in bytes.
    longest: usize,
}

/// Reads the URL of a webhook.
pub(crate) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the webhook is no URL: {error}"))?;
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err("the URL of the webhook has to begin with http:// or https://".to_owned()),
    }
}

impl Webhook {
    pub(super) fn new(text: &str, longest: usize) -> Result<Self, Failure> {
        let url = url(text).map_err(|error| Failure::new(Exit::Files, error))?;
        // The same as the service's own.
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| Failure::of(Exit::Files, &error))?;
        Ok(Self { client, url, longest })
    }
}

impl Program for Webhook {
    async fn call(&self, message: &Message) -> Result<Bytes, HandlerError> {
        let request = self.client.post(self.url.clone()).headers(headers(message)?);
        let sent = request.body(message.bytes().clone()).send().await;
        // The address may hold a secret.
        let failed = |error: reqwest::Error| {
            format!("the webhook cannot be called: {}", with_causes(&error.without_url()))
        };
        let response = sent.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let (words, _) = head(response, COMPLAINT).await.map_err(failed)?;
            let words = String::from_utf8_lossy(&words).into_owned();
            let line = words.trim().lines().next().unwrap_or_default();
            return Err(format!("the webhook has answered {status}: {line}").into());
        }
        let (reply, is_whole) = head(response, self.longest).await.map_err(failed)?;
        if message.is_request() && !is_whole {
            return Err(format!("the reply is longer than {} bytes", self.longest).into());
        }
        Ok(reply)
    }
}

fn headers(message: &Message) -> Result<HeaderMap, HandlerError> {
    let content =
        if message.is_bytes() { "application/octet-stream" } else { "text/plain; charset=utf-8" };
    let kind = if message.is_request() { "request" } else { "message" };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    let mut add = |name: &'static str, value: &str| -> Result<(), HandlerError> {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        Ok(())
    };
    add("paddington-peer", message.sender())?;
    add("paddington-kind", kind)?;
    if let Some(id) = message.id() {
        add("paddington-id", &id.to_string())?;
    }
    if let Some(fence) = message.fence() {
        add("paddington-fence", &fence.to_string())?;
    }
    if let Some(left) = message.time_left() {
        add("paddington-seconds-left", &left.as_secs_f64().to_string())?;
    }
    Ok(headers)
}

/// Reads the first bytes of an answer, and returns whether that was all of it.
async fn head(mut response: Response, most: usize) -> Result<(Bytes, bool), reqwest::Error> {
    let mut kept = BytesMut::new();
    while let Some(piece) = response.chunk().await? {
        let room = most - kept.len();
        kept.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if piece.len() > room {
            return Ok((kept.freeze(), false));
        }
    }
    Ok((kept.freeze(), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_web_is_a_webhook() {
        assert!(url("http://127.0.0.1:8080/messages").is_ok());
        for text in ["", "messages", "file:///etc/passwd", "unix:/run/x", "http://"] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
