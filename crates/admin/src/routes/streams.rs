//! Streams of what happens.

use std::collections::VecDeque;

use axum::extract::State;
use axum::response::Response;

use super::Table;
use crate::access::Caller;
use crate::app::Shared;
use crate::sse::{self, Source};
use crate::view;

pub(crate) fn routes() -> Table {
    Table::new().get("/v1/events", events).get("/v1/status/stream", status)
}

/// The last events and those to come, as server-sent events called `event`.
#[utoipa::path(get, path = "/v1/events", responses(
    (status = 200, content_type = "text/event-stream", body = crate::model::EventEntry),
))]
pub(crate) async fn events(State(app): State<Shared>) -> Response {
    let (past, events) = app.history.subscribe();
    let ready = past.iter().filter_map(|entry| sse::event("event", entry)).collect();
    Source { ready, events, ticks: None, stop: app.stop.clone() }.into_response()
}

/// Everything about the service as `status`, and then what has changed, once in a second at most, as
/// `peers`, with `peers`, `removed`, and any of `ready`, `refusals` and `orphans` that changed; `orphans`
/// are null if the store has not said. What happens comes as `event`.
#[utoipa::path(get, path = "/v1/status/stream", responses(
    (status = 200, content_type = "text/event-stream", body = crate::model::Status),
))]
pub(crate) async fn status(State(app): State<Shared>, caller: Caller) -> Response {
    let ticks = app.feed.subscribe();
    let (_, events) = app.history.subscribe();
    let status = view::status(&app, caller).await;
    app.feed.begin(&status);
    let ready: VecDeque<_> = sse::event("status", &status).into_iter().collect();
    Source { ready, events, ticks: Some(ticks), stop: app.stop.clone() }.into_response()
}
