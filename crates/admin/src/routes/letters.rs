//! Dead letters: messages that could not be handled.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use paddington::RetryError;
use paddington::store::{DeadLetter, LetterId, LinkStore};

use super::Table;
use crate::access::MayChange;
use crate::app::{App, Shared};
use crate::failure::Failure;
use crate::model::{ErrorBody, LetterDetails, LetterSummary, Letters};
use crate::segment::Segment;

pub(crate) fn routes() -> Table {
    Table::new()
        .get("/v1/dead-letters", list)
        .get("/v1/dead-letters/{id}", show)
        .delete("/v1/dead-letters/{id}", drop_letter)
        .post("/v1/dead-letters/{id}/retry", retry)
}

/// All dead letters, oldest first, without what they say.
#[utoipa::path(get, path = "/v1/dead-letters", responses(
    (status = 200, body = Letters), (status = "default", body = ErrorBody),
))]
pub(crate) async fn list(State(app): State<Shared>) -> Result<Json<Letters>, Failure> {
    let letters = letters(&app).await?;
    Ok(Json(Letters { letters: letters.iter().map(LetterSummary::from).collect() }))
}

/// A dead letter with what it says.
#[utoipa::path(get, path = "/v1/dead-letters/{id}", params(("id" = u64, Path)), responses(
    (status = 200, body = LetterDetails), (status = "default", body = ErrorBody),
))]
pub(crate) async fn show(
    State(app): State<Shared>,
    Segment(id): Segment,
) -> Result<Json<LetterDetails>, Failure> {
    let id = parse(&id)?;
    let letter = letters(&app).await?.into_iter().find(|(it, _)| *it == id);
    let letter = letter.ok_or_else(|| unknown(id))?;
    let summary = LetterSummary::from(&letter);
    Ok(Json(LetterDetails { summary, content: letter.1.into() }))
}

/// Deletes a dead letter.
#[utoipa::path(delete, path = "/v1/dead-letters/{id}", params(("id" = u64, Path)), responses(
    (status = 204), (status = "default", body = ErrorBody),
))]
pub(crate) async fn drop_letter(
    State(app): State<Shared>,
    _: MayChange,
    Segment(id): Segment,
) -> Result<StatusCode, Failure> {
    let id = parse(&id)?;
    let taken = store(&app)?.take_letter(id).await.map_err(|error| Failure::store(&error))?;
    taken.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| unknown(id))
}

/// Hands a dead letter to the handler again, and deletes it if that succeeds. The answer comes when the
/// handler is done.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/retry", params(("id" = u64, Path)), responses(
    (status = 204),
    (status = 409, description = "Another replica is handling it.", body = ErrorBody),
    (status = "default", body = ErrorBody),
))]
pub(crate) async fn retry(
    State(app): State<Shared>,
    _: MayChange,
    Segment(id): Segment,
) -> Result<StatusCode, Failure> {
    let id = parse(&id)?;
    match app.service.exchange().retry_letter(id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(refused(id, &error)),
    }
}

fn refused(id: LetterId, error: &RetryError) -> Failure {
    let told = |status, code| Failure::new(status, code, error.to_string());
    match error {
        RetryError::Unknown(_) => unknown(id),
        RetryError::Elsewhere { replica, .. } => told(StatusCode::CONFLICT, "handled_elsewhere")
            .remedy(format!("wait until replica {replica} has handled it, or try again there")),
        RetryError::NoStore => Failure::no_store(),
        RetryError::Store(error) => Failure::store(error),
        RetryError::Failed(_) => told(StatusCode::BAD_GATEWAY, "failed_again")
            .remedy("mend the handler and try again, or delete the letter"),
        RetryError::Busy => told(StatusCode::TOO_MANY_REQUESTS, "busy"),
        RetryError::ShuttingDown => told(StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        _ => told(StatusCode::CONFLICT, "not_possible"),
    }
}

fn parse(id: &str) -> Result<LetterId, Failure> {
    let invalid = |_| Failure::invalid("invalid_value", "a dead letter has a number");
    id.parse().map(LetterId).map_err(invalid)
}

fn unknown(LetterId(id): LetterId) -> Failure {
    let message = format!("there is no dead letter {id}");
    Failure::new(StatusCode::NOT_FOUND, "unknown_letter", message)
        .remedy("GET /v1/dead-letters lists them")
}

fn store(app: &App) -> Result<&dyn LinkStore, Failure> {
    app.service.exchange().store().ok_or_else(Failure::no_store)
}

async fn letters(app: &App) -> Result<Vec<(LetterId, DeadLetter)>, Failure> {
    store(app)?.letters().await.map_err(|error| Failure::store(&error))
}
