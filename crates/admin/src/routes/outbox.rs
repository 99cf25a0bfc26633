//! The mail that waits for peers, and for links that are gone.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use paddington::LinkId;
use paddington::store::{Mailbox, MailboxStatus};

use super::Table;
use crate::access::MayChange;
use crate::app::Shared;
use crate::failure::Failure;
use crate::model::{ErrorBody, Orphan, Outbox};
use crate::segment::Segment;
use crate::view;

pub(crate) fn routes() -> Table {
    Table::new()
        .get("/v1/outbox", outbox)
        .get("/v1/orphans", orphans)
        .get("/v1/orphans/{link}", orphan)
        .delete("/v1/orphans/{link}", purge)
}

/// The mail that waits for each peer, and for links that are gone.
#[utoipa::path(get, path = "/v1/outbox", responses(
    (status = 200, body = Outbox), (status = "default", body = ErrorBody),
))]
pub(crate) async fn outbox(State(app): State<Shared>) -> Result<Json<Outbox>, Failure> {
    Ok(Json(view::outbox(&app).await?))
}

/// Orphans: mail of links that are gone.
#[utoipa::path(get, path = "/v1/orphans", responses(
    (status = 200, body = Vec<Orphan>), (status = "default", body = ErrorBody),
))]
pub(crate) async fn orphans(State(app): State<Shared>) -> Result<Json<Vec<Orphan>>, Failure> {
    Ok(Json(view::orphans(&app).await?))
}

/// An orphan: mail of a link that is gone.
#[utoipa::path(get, path = "/v1/orphans/{link}", params(("link" = String, Path)), responses(
    (status = 200, body = Orphan), (status = "default", body = ErrorBody),
))]
pub(crate) async fn orphan(
    State(app): State<Shared>,
    Segment(link): Segment,
) -> Result<Json<Orphan>, Failure> {
    let orphans = view::orphans(&app).await?;
    orphans.into_iter().find(|orphan| orphan.link == link).map(Json).ok_or_else(unknown)
}

/// Removes what is stored for a link that is gone.
#[utoipa::path(delete, path = "/v1/orphans/{link}", params(("link" = String, Path)), responses(
    (status = 204), (status = "default", body = ErrorBody),
))]
pub(crate) async fn purge(
    State(app): State<Shared>,
    _: MayChange,
    Segment(link): Segment,
) -> Result<StatusCode, Failure> {
    let link: LinkId = link.parse().map_err(|error: paddington::LinkIdError| {
        Failure::invalid("invalid_value", error.to_string())
    })?;
    let orphans = app.service.orphans().await?;
    let mailbox = orphans.into_iter().map(|MailboxStatus { mailbox, .. }| mailbox);
    let mailbox: Mailbox = mailbox.into_iter().find(|it| it.link == link).ok_or_else(unknown)?;
    app.service.purge(&mailbox).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown() -> Failure {
    let message = "nothing is stored for a link of this identity that is gone";
    Failure::new(StatusCode::NOT_FOUND, "unknown_link", message)
        .remedy("GET /v1/outbox lists what is stored")
}
