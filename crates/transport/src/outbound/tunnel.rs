//! A byte stream to a server through an HTTP proxy: the request CONNECT and its answer (RFC 9110 §9.3.6).
//!
//! The proxy looks up the server's name. Its answer has the bounds of `Limits`, and whoever calls has a
//! deadline; of its text, nothing goes into errors or logs.

use std::io;

use bytes::BytesMut;
use http::StatusCode;
use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::{Proxy, ProxyError};
use crate::{Endpoint, Limits, Stream};

/// Asks the proxy at the other end of `stream` for a tunnel to the server at `endpoint`.
pub(crate) async fn open(
    mut stream: Stream,
    proxy: &Proxy,
    endpoint: &Endpoint,
    limits: &Limits,
) -> Result<Stream, ProxyError> {
    let authorization = proxy.authorization().await?;
    let has_user = authorization.is_some();
    let request = request(endpoint, authorization.as_ref().map(|value| value.as_slice()));
    let sent = async {
        stream.write_all(&request).await?;
        stream.flush().await
    };
    sent.await.map_err(ProxyError::NoAnswer)?;
    let answer = read(&mut stream, limits).await?;
    match answer.status.as_u16() {
        200..=299 if answer.is_whole => Ok(stream),
        // Only a server speaks first that is not one of ours.
        200..=299 => Err(ProxyError::Answer("something follows it before anything was asked")),
        100..=199 => Err(ProxyError::Answer("it is a provisional one")),
        407 if !answer.offers_basic => Err(ProxyError::NotBasic),
        407 if has_user => Err(ProxyError::PasswordRefused),
        407 => Err(ProxyError::WantsPassword),
        _ => Err(ProxyError::Refused(answer.status)),
    }
}

/// Returns the request, in a buffer that does not move.
fn request(endpoint: &Endpoint, authorization: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let authority = endpoint.authority();
    let len = 2 * authority.len() + authorization.map_or(0, <[u8]>::len) + 80;
    let mut request = Zeroizing::new(Vec::with_capacity(len));
    request.extend_from_slice(b"CONNECT ");
    request.extend_from_slice(authority.as_bytes());
    request.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    request.extend_from_slice(authority.as_bytes());
    request.extend_from_slice(b"\r\n");
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    debug_assert!(request.len() <= len, "the buffer has moved");
    request
}

/// The meaning of the head of an answer.
struct Answer {
    status: StatusCode,
    /// Whether nothing has followed it.
    is_whole: bool,
    /// Whether Basic is among the ways to authenticate, or none is named.
    offers_basic: bool,
}

/// Reads the head of the answer.
async fn read(stream: &mut Stream, limits: &Limits) -> Result<Answer, ProxyError> {
    let mut head = BytesMut::with_capacity(1024);
    loop {
        let left = limits.request_head.saturating_sub(head.len());
        if left == 0 {
            return Err(ProxyError::Answer("its head is too long"));
        }
        let before = head.len();
        let read = (&mut *stream).take(left as u64).read_buf(&mut head).await;
        if read.map_err(ProxyError::NoAnswer)? == 0 {
            return Err(ProxyError::NoAnswer(io::ErrorKind::UnexpectedEof.into()));
        }
        // A head that arrives byte by byte is interpreted at the end of each line only.
        if head[before..].contains(&b'\n')
            && let Some(answer) = parse(&head, limits.request_lines)?
        {
            return Ok(answer);
        }
    }
}

/// Interprets a head, once it is complete.
fn parse(head: &[u8], lines: usize) -> Result<Option<Answer>, ProxyError> {
    let mut headers = vec![EMPTY_HEADER; lines];
    let mut response = Response::new(&mut headers);
    let len = match response.parse(head) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(ProxyError::Answer("its head has too many lines"));
        }
        Err(_) => return Err(ProxyError::Answer("it is not HTTP")),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(ProxyError::Answer("it is not HTTP"))?;
    let mut schemes = response
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"))
        .peekable();
    let offers_basic = schemes.peek().is_none() || schemes.any(|header| is_basic(header.value));
    Ok(Some(Answer { status, is_whole: len == head.len(), offers_basic }))
}

/// Returns whether a list of ways to authenticate has Basic in it.
fn is_basic(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|one| {
        let one = one.trim_ascii();
        let end = one.iter().position(|byte| *byte == b' ').unwrap_or(one.len());
        one[..end].eq_ignore_ascii_case(b"basic")
    })
}
