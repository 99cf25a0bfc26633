//! The upgrade from HTTP to a WebSocket, on both sides. Implements `docs/protocol.md` §2 and the
//! answers of §9. This is the only file that uses hyper.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    SERVER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::Empty;
use hyper::client::conn::http1 as http_client;
use hyper::server::conn::http1 as http_server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use paddington_wire::sealed::Challenge;
use paddington_wire::{Bucket, Encoding};
use thiserror::Error;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client_certificate::Verdict;
use crate::stream::TooMuch;
use crate::{Endpoint, Limits, Stream, TrustedProxies};

/// The subprotocol of the `sealed` encoding.
const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("paddington.sealed.1");
const CHALLENGE: HeaderName = HeaderName::from_static("paddington-challenge");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The encoding of a connection after the upgrade.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Offer {
    /// The `sealed` encoding, with the server's challenge.
    Sealed(Challenge),
    /// The `hex` encoding.
    Hex,
}

/// The failure of a client's upgrade.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The connection broke, or the answer is not HTTP.
    #[error("the server did not answer in HTTP")]
    Http(#[source] hyper::Error),
    /// The server answered with a status other than 101.
    #[error("the server answered {status}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// Whether it may come straight from a service, which names no program and sends no body.
        by_service: bool,
    },
    /// A web server or a proxy answered with 400, or passed on the answer of a service that did not
    /// get the whole request.
    #[error("a web server or proxy answered {BAD_REQUEST}")]
    BadProxy,
    /// The server switched, but not to what was requested.
    #[error("the server's answer is invalid: {0}")]
    Answer(&'static str),
    /// The server switched to the other encoding.
    #[error("the server's answer is invalid: {0}")]
    OtherEncoding(&'static str),
    /// This side could not build a request for the endpoint.
    #[error("the request could not be built")]
    Request(#[source] http::Error),
}

impl UpgradeError {
    /// Returns whether the server has closed the connection instead of answering, as a service does
    /// with an address that no invitation allows.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Http(error) if !error.is_parse() && Verdict::of(error).is_none())
    }

    /// Returns what probably helps.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Http(error) if Verdict::of(error).is_some() => {
                Verdict::of(error).map(Verdict::remedy)
            }
            Self::Http(_) => Some(
                "check that the URL leads to a paddington server: something else may listen there, or \
                 the port may speak TLS (wss://)",
            ),
            Self::Refused { status, .. } => hint(*status),
            Self::BadProxy => Some(
                "it must pass on the headers Upgrade and Connection; for nginx: proxy_http_version \
                 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \
                 \"upgrade\"; if it does, check that the invitation is current",
            ),
            Self::Answer(_) | Self::OtherEncoding(_) => {
                Some("check whether a proxy changes it, and what listens there")
            }
            Self::Request(_) => None,
        }
    }

    /// Returns whether only time or a person can resolve the failure. A proxy whose service restarts
    /// answers 502, 503 or 504, or closes the connection.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                !status.is_server_error() && *status != StatusCode::REQUEST_TIMEOUT
            }
            Self::BadProxy | Self::Answer(_) | Self::OtherEncoding(_) => true,
            Self::Http(_) | Self::Request(_) => false,
        }
    }
}

/// The status with which a request is refused that is not a valid upgrade.
const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;

/// Returns what an answer with this status probably means for the client's operator, and what helps.
fn hint(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::OK => {
            "something else than a paddington server answers there: check the host, the port and the \
             path of the invitation's URL"
        }
        StatusCode::BAD_REQUEST => {
            "it expects no such client from this address; check that the invitation is current"
        }
        StatusCode::UNAUTHORIZED => {
            "a proxy asks for a password: let it pass on this path without one"
        }
        StatusCode::FORBIDDEN => "its proxy reports an address that no invitation allows",
        StatusCode::NOT_FOUND => "the path in the invitation's URL is not the server's",
        StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT => {
            "the server has moved, perhaps to wss://: put the new URL into the invitation"
        }
        StatusCode::FOUND | StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT => {
            "redirections are not followed: put the URL of the service itself into the invitation; a \
             proxy may want wss:// instead of ws://"
        }
        StatusCode::TOO_MANY_REQUESTS => {
            "too many attempts from this address: wait, and look for what failed before"
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            "a proxy answered, but the service behind it does not: check that it runs"
        }
        _ => return None,
    })
}

/// The decisions of a server about a request.
pub(crate) trait Policy {
    /// Returns the path that clients of the `sealed` encoding must request.
    fn path(&self) -> &str;
    /// Returns the trusted proxies, if the connection comes from one of them.
    fn proxies(&self) -> Option<&TrustedProxies>;
    /// Admits the client's address that a proxy reports, or returns the status to refuse it with.
    fn admit(&self, address: IpAddr) -> Result<(), StatusCode>;
    /// Returns whether a client of the `hex` encoding may connect from this address.
    fn admits_hex(&self, address: IpAddr) -> bool;
}

/// A request that was answered with 101.
pub(crate) struct Answered {
    /// The stream after the upgrade.
    pub(crate) stream: Stream,
    /// The client's address.
    pub(crate) address: IpAddr,
    pub(crate) offer: Offer,
    /// The bucket that the client has asked for.
    pub(crate) bucket: Option<Bucket>,
}

/// Answers the request whose head was put back into `stream`. Returns the status with which the
/// client was refused, if it was.
pub(crate) async fn answer(
    stream: Stream,
    limits: &Limits,
    direct: IpAddr,
    challenge: Challenge,
    policy: &(impl Policy + Sync),
) -> Result<Answered, StatusCode> {
    let verdict = std::sync::Mutex::new(Err(StatusCode::BAD_REQUEST));
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let judged = judge(
            request.headers(),
            request.method(),
            request.version(),
            request.uri().path(),
            direct,
            policy,
        );
        let bucket = Bucket::of_query(request.uri().query());
        let judged = judged.map(|(address, offer)| match offer {
            Encoding::Hex => (address, Offer::Hex, None),
            _ => (address, Offer::Sealed(challenge), bucket),
        });
        let response = response(request.headers(), &judged);
        if let Ok(mut verdict) = verdict.lock() {
            *verdict = judged;
        }
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    // Without keep-alive, hyper would add `close` to the `upgrade` of a 101, which the original's
    // client refuses. Instead, `response` adds `close` to refusals.
    let served: hyper::Result<(Stream, Bytes)> = http_server::Builder::new()
        .auto_date_header(false)
        .max_headers(limits.request_lines)
        .serve_connection(TokioIo::new(stream), service)
        .without_shutdown()
        .await
        .map(|parts| (parts.io.into_inner(), parts.read_buf));
    let verdict = verdict.into_inner().unwrap_or(Err(StatusCode::BAD_REQUEST));
    let (address, offer, bucket) = verdict?;
    let (mut stream, unread) = served.map_err(|_| StatusCode::BAD_REQUEST)?;
    stream.unread(unread);
    Ok(Answered { stream, address, offer, bucket })
}

fn judge(
    headers: &HeaderMap,
    method: &Method,
    version: Version,
    path: &str,
    direct: IpAddr,
    policy: &impl Policy,
) -> Result<(IpAddr, Encoding), StatusCode> {
    let address = match policy.proxies() {
        Some(proxies) => {
            let client = proxies.client(headers).map_err(|_| StatusCode::FORBIDDEN)?;
            policy.admit(client)?;
            client
        }
        None => direct,
    };
    let protocols: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
    let encoding = match protocols.as_slice() {
        [one] if **one == SUBPROTOCOL => Encoding::Sealed,
        [] if policy.admits_hex(address) => Encoding::Hex,
        _ => return Err(StatusCode::BAD_REQUEST),
    };
    if encoding == Encoding::Sealed && path != policy.path() {
        return Err(StatusCode::NOT_FOUND);
    }
    let good = method == Method::GET
        && version == Version::HTTP_11
        && !has_body(headers)
        && headers.get_all(HOST).iter().count() == 1
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &UPGRADE, "websocket")
        && is_only(headers, &SEC_WEBSOCKET_VERSION, b"13")
        && headers.get_all(SEC_WEBSOCKET_KEY).iter().count() == 1
        && !headers.contains_key(ORIGIN);
    if good { Ok((address, encoding)) } else { Err(StatusCode::BAD_REQUEST) }
}

/// Returns whether the head announces a body, even an empty one: what a proxy takes for the body
/// would be the first bytes of the WebSocket.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

fn response(
    request: &HeaderMap,
    verdict: &Result<(IpAddr, Offer, Option<Bucket>), StatusCode>,
) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let offer = match verdict {
        Ok((_, offer, _)) => offer,
        Err(status) => {
            *response.status_mut() = *status;
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
    };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    let key = request.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Offer::Sealed(challenge) = offer
        && let Ok(challenge) = HeaderValue::try_from(challenge.to_hex())
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
        headers.insert(CHALLENGE, challenge);
    }
    response
}

/// The smallest buffer that hyper accepts, in bytes.
const HYPER_MIN_BUFFER: usize = 8_192;

/// Requests a WebSocket from the server at `endpoint`. Returns the stream after the upgrade, with
/// the server's challenge in the `sealed` encoding. The whole answer has one limit, however many
/// provisional ones (1xx) come before it.
pub(crate) async fn request(
    mut stream: Stream,
    endpoint: &Endpoint,
    limits: &Limits,
    encoding: Encoding,
) -> Result<(Stream, Offer), UpgradeError> {
    let longest = limits.request_head.max(HYPER_MIN_BUFFER);
    stream.set_budget(Some(longest));
    let (mut sender, connection) = http_client::Builder::new()
        .max_buf_size(longest)
        .max_headers(limits.request_lines)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let key = generate_key();
    let request = upgrade_request(endpoint, encoding, &key).map_err(UpgradeError::Request)?;
    let answered = async move {
        let response = sender.send_request(request).await.map_err(failed)?;
        check(response.status(), response.headers(), encoding, &key)
    };
    let (answered, connection) = tokio::join!(answered, connection.without_shutdown());
    let offer = answered?;
    let parts = connection.map_err(failed)?;
    let mut stream = parts.io.into_inner();
    stream.set_budget(None);
    stream.unread(parts.read_buf);
    Ok((stream, offer))
}

fn failed(error: hyper::Error) -> UpgradeError {
    if error.is_parse_too_large() || TooMuch::caused(&error) {
        return UpgradeError::Answer("its head is too long");
    }
    UpgradeError::Http(error)
}

fn upgrade_request(
    endpoint: &Endpoint,
    encoding: Encoding,
    key: &str,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::get(endpoint.path_and_query())
        .header(HOST, endpoint.authority())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, WEBSOCKET)
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key);
    if encoding == Encoding::Sealed {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    }
    request.body(Empty::new())
}

fn check(
    status: StatusCode,
    headers: &HeaderMap,
    encoding: Encoding,
    key: &str,
) -> Result<Offer, UpgradeError> {
    let by_service = is_from_service(headers);
    if status == BAD_REQUEST && !by_service {
        return Err(UpgradeError::BadProxy);
    }
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpgradeError::Refused { status, by_service });
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return Err(UpgradeError::Answer("it does not switch to a WebSocket"));
    }
    if !is_only(headers, &SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(UpgradeError::Answer("it does not match the key of the request"));
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(UpgradeError::Answer("it enables an extension"));
    }
    if encoding == Encoding::Hex {
        if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            return Err(UpgradeError::OtherEncoding("it selects a subprotocol"));
        }
        return Ok(Offer::Hex);
    }
    if !is_only(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL.as_bytes()) {
        return Err(UpgradeError::OtherEncoding("it does not select the subprotocol"));
    }
    let mut challenges = headers.get_all(CHALLENGE).iter();
    let (Some(challenge), None) = (challenges.next(), challenges.next()) else {
        return Err(UpgradeError::OtherEncoding("it does not contain exactly one challenge"));
    };
    let challenge = challenge.to_str().ok().and_then(|digits| digits.parse().ok());
    challenge.map(Offer::Sealed).ok_or(UpgradeError::OtherEncoding("its challenge is malformed"))
}

/// Returns whether a refusal comes straight from a service, which names no program and sends no
/// body.
fn is_from_service(headers: &HeaderMap) -> bool {
    !headers.contains_key(SERVER)
        && !headers.contains_key(VIA)
        && !headers.contains_key(TRANSFER_ENCODING)
        && headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
}

/// Returns whether the comma-separated header `name` contains `token`, in upper or lower case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// Returns whether the header `name` occurs exactly once, with this value.
fn is_only(headers: &HeaderMap, name: &HeaderName, value: &[u8]) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|first| first.as_bytes() == value) && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn answered(status: u16, lines: Lines<'_>) -> UpgradeError {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        check(StatusCode::from_u16(status).unwrap(), &headers, Encoding::Sealed, "").unwrap_err()
    }

    #[test]
    fn each_refusal_is_named_for_what_it_is() {
        let own = [("content-length", "0"), ("connection", "close")];
        let cases: [(u16, Lines<'_>, &str); 15] = [
            (200, &[], "something else than"),
            (400, &own, "it expects no such client from this address; check"),
            (400, &[("content-length", "157")], "proxy_set_header Upgrade $http_upgrade;"),
            (400, &[("content-length", "0"), ("server", "nginx")], "proxy_http_version 1.1;"),
            (400, &[("transfer-encoding", "chunked")], "it must pass on the headers Upgrade"),
            (400, &[("via", "1.1 varnish")], "check that the invitation is current"),
            (403, &own, "its proxy reports an address"),
            (404, &own, "the path in the invitation's URL"),
            (301, &[("location", "https://host.example/")], "the server has moved"),
            (308, &[("location", "https://host.example/")], "put the new URL into the invitation"),
            (302, &[], "redirections are not followed"),
            (307, &[], "redirections are not followed"),
            (429, &own, "too many attempts"),
            (502, &[("server", "nginx")], "the service behind it does not"),
            (401, &[], "a password"),
        ];
        for (status, lines, hint) in cases {
            let error = answered(status, lines);
            let remedy = error.remedy().unwrap();
            assert!(remedy.contains(hint), "{status} {lines:?}: {remedy}");
            assert!(error.to_string().contains(&status.to_string()), "{error}");
            assert_eq!(error.is_refusal(), status != 502, "{error}");
        }
        let strange = answered(418, &[]);
        assert_eq!(strange.to_string(), "the server answered 418 I'm a teapot");
        assert_eq!(strange.remedy(), None);
    }
}
