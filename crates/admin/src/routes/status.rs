//! How the service is.

use axum::Json;
use axum::extract::State;

use super::Table;
use crate::access::Caller;
use crate::app::Shared;
use crate::model::{Refusals, Status};
use crate::view;

pub(crate) fn routes() -> Table {
    Table::new().get("/v1/status", status).get("/v1/refusals", refusals)
}

/// Everything about the service at this moment.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(crate) async fn status(State(app): State<Shared>, caller: Caller) -> Json<Status> {
    Json(view::status(&app, caller).await)
}

/// The last connections that were refused.
#[utoipa::path(get, path = "/v1/refusals", responses((status = 200, body = Refusals)))]
pub(crate) async fn refusals(State(app): State<Shared>) -> Json<Refusals> {
    Json(Refusals { refusals: view::refusals(&app) })
}
