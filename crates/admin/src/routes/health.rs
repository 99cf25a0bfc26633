//! Health and metrics, as those who supervise a service ask for them.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::Table;
use crate::app::Shared;
use crate::exposition::Exposition;
use crate::failure::Failure;
use crate::metrics;

pub(crate) fn routes() -> Table {
    Table::new().get("/livez", live).get("/readyz", ready).get("/metrics", numbers)
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/livez", responses((status = 200, body = String)))]
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// Whether the service can do its work, and if not, why, with one reason in each line.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, body = String), (status = 503, body = String),
))]
pub(crate) async fn ready(State(app): State<Shared>) -> (StatusCode, String) {
    let ready = app.ready(&app.service.peers());
    if ready.ready {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let mut reasons = ready.reasons.join("\n");
    reasons.push('\n');
    (StatusCode::SERVICE_UNAVAILABLE, reasons)
}

/// The numbers of the service, for Prometheus: in the OpenMetrics format if it is asked for, else as text.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String)))]
pub(crate) async fn numbers(
    State(app): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let written = metrics::write(&app).map_err(|_| {
        let message = "the metrics cannot be written";
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message)
    })?;
    let exposition = Exposition::asked_by(&headers);
    let content_type = [(header::CONTENT_TYPE, exposition.media_type())];
    Ok((content_type, exposition.write(written)).into_response())
}
