//! The rights of callers. Over the Unix socket everything is allowed, because its mode says who can open
//! it. Over TCP a token is required, keys are never told, and peers are changed only where that is
//! switched on. Pages of other sites get nothing from either (DNS rebinding, cross-site requests).

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use crate::app::Shared;
use crate::failure::Failure;
use crate::token::Token;

/// The way by which a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The Unix socket.
    Socket,
    /// Loopback TCP.
    Tcp,
}

/// A caller that may change peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MayChange;

/// A caller that may be told keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MayHaveKeys;

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // Without a mark the request counts as one that may do less.
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self::Tcp))
    }
}

impl FromRequestParts<Shared> for MayChange {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if caller == Caller::Socket || app.changes {
            return Ok(Self);
        }
        let message = "peers are not changed over TCP";
        Err(Failure::new(StatusCode::FORBIDDEN, "no_changes", message)
            .remedy("use the Unix socket, or set changes = true in [api] of service.toml"))
    }
}

impl FromRequestParts<Shared> for MayHaveKeys {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Failure> {
        match Caller::from_request_parts(parts, app).await? {
            Caller::Socket => Ok(Self),
            Caller::Tcp => {
                let message = "an invitation holds keys, which are not told over TCP";
                Err(Failure::new(StatusCode::FORBIDDEN, "only_socket", message)
                    .remedy("use the Unix socket, or the command paddington"))
            }
        }
    }
}

/// Refuses what pages of other sites ask for, and requests without the token.
pub(crate) async fn check(
    State(token): State<Option<std::sync::Arc<Token>>>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    let is_open = caller == Caller::Socket || is_open(request.uri());
    let checked = is_local(caller, request.headers()).and_then(|()| match token {
        _ if is_open => Ok(()),
        Some(token) if shows(request.headers(), &token) => Ok(()),
        _ => Err(no_token()),
    });
    match checked {
        Ok(()) => next.run(request).await,
        Err(refused) => {
            let mut response = refused.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

/// Returns whether everybody on this machine may ask for it: health, and the page without its data.
fn is_open(uri: &Uri) -> bool {
    let path = uri.path();
    matches!(path, "/livez" | "/readyz") || crate::routes::is_page(path)
}

fn no_token() -> Failure {
    let message = "the request does not show the token of this service";
    Failure::new(StatusCode::UNAUTHORIZED, "no_token", message).remedy(
        "send the header Authorization: Bearer, with the token in the file that token_file names",
    )
}

fn shows(headers: &HeaderMap, token: &Token) -> bool {
    let Some(shown) = only(headers, &header::AUTHORIZATION) else { return false };
    let shown = shown.as_bytes();
    let Some((scheme, shown)) = shown.split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(shown.trim_ascii())
}

/// Returns the value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Checks that a request does not come from a page of another site: it is for a name that only this
/// machine has, and from a page of the same origin or from none.
fn is_local(caller: Caller, headers: &HeaderMap) -> Result<(), Failure> {
    let host = only(headers, &header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.filter(|host| is_local_host(caller, host)) else {
        let status = StatusCode::MISDIRECTED_REQUEST;
        return Err(Failure::new(status, "foreign_host", "the request is for another host")
            .remedy(
                "ask for http://localhost or http://127.0.0.1, with the port if there is one",
            ));
    };
    let same = |origin: &HeaderValue| {
        origin.as_bytes().strip_prefix(b"http://").is_some_and(|origin| origin == host.as_bytes())
    };
    let is_same_origin = headers.get_all(header::ORIGIN).iter().all(same);
    let site = headers.get_all("sec-fetch-site").iter();
    let is_same_site = site.into_iter().all(|site| site == "same-origin" || site == "none");
    if is_same_origin && is_same_site {
        return Ok(());
    }
    let message = "the request comes from a page of another origin";
    Err(Failure::new(StatusCode::FORBIDDEN, "foreign_origin", message))
}

/// Returns whether a host is a name of this machine. Over the socket a name without dots will do, which
/// no page can have: `curl --unix-socket … http://paddington/` is usual.
fn is_local_host(caller: Caller, host: &str) -> bool {
    let (name, has_port) = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => {
            (name, true)
        }
        _ => (host, false),
    };
    let is_label = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || (caller == Caller::Socket && !has_port && is_label(name) && !is_port(name))
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}
