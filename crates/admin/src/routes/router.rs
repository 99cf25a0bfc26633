//! All routes, and what every request passes.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, Uri, header};

use super::{
    Table, changes, health, incoming, letters, messages, openapi, outbox, page, peers, requests,
    status, streams,
};
use crate::Token;
use crate::access;
use crate::app::Shared;
use crate::failure::Failure;

/// Returns the router of the local API. Requests over TCP have to show the token.
pub(crate) fn router(app: Shared, token: Option<Arc<Token>>) -> Router {
    let routes = table().router.fallback(unknown).method_not_allowed_fallback(not_allowed);
    routes
        .with_state(app)
        .layer(from_fn_with_state(token, access::check))
        .layer(from_fn(set_headers))
}

/// All routes.
pub(crate) fn table() -> Table {
    Table::new()
        .with(status::routes())
        .with(peers::routes())
        .with(changes::routes())
        .with(outbox::routes())
        .with(health::routes())
        .with(letters::routes())
        .with(openapi::routes())
        .with(page::routes())
        .with(streams::routes())
        .with(messages::routes())
        .with(requests::routes())
        .with(incoming::routes())
}

/// Says of every answer that it is neither kept nor taken for something else.
async fn set_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn unknown(uri: Uri) -> Failure {
    let path: String = uri.path().chars().take(200).collect();
    Failure::new(StatusCode::NOT_FOUND, "unknown_path", format!("there is nothing at {path}"))
        .remedy("GET /v1/openapi.json lists what there is")
}

async fn not_allowed(method: Method) -> Failure {
    let message = format!("{method} cannot be done here");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "not_allowed", message)
        .remedy("GET /v1/openapi.json lists what there is")
}
