//! Peers as they are, and what leaves their links as they are.

use axum::Json;
use axum::extract::State;

use super::Table;
use crate::app::Shared;
use crate::failure::Failure;
use crate::model::{Disconnected, ErrorBody, Peer, Peers, PingAnswer};
use crate::segment::Segment;
use crate::view;

pub(crate) fn routes() -> Table {
    Table::new()
        .get("/v1/peers", list)
        .get("/v1/peers/{peer}", show)
        .post("/v1/peers/{peer}/ping", ping)
        .post("/v1/peers/{peer}/disconnect", disconnect)
}

/// All peers.
#[utoipa::path(get, path = "/v1/peers", responses((status = 200, body = Peers)))]
pub(crate) async fn list(State(app): State<Shared>) -> Json<Peers> {
    let owners = app.owners.ask(app.service.exchange()).await;
    Json(Peers { peers: view::peers(&app, app.service.peers(), &owners) })
}

/// One peer.
#[utoipa::path(get, path = "/v1/peers/{peer}", params(("peer" = String, Path)), responses(
    (status = 200, body = Peer), (status = "default", body = ErrorBody),
))]
pub(crate) async fn show(
    State(app): State<Shared>,
    Segment(name): Segment,
) -> Result<Json<Peer>, Failure> {
    view::peer(&app, &name).await.map(Json).ok_or_else(|| Failure::unknown_peer(&name))
}

/// Measures a round trip of the session with a peer.
#[utoipa::path(post, path = "/v1/peers/{peer}/ping", params(("peer" = String, Path)), responses(
    (status = 200, body = PingAnswer), (status = "default", body = ErrorBody),
))]
pub(crate) async fn ping(
    State(app): State<Shared>,
    Segment(name): Segment,
) -> Result<Json<PingAnswer>, Failure> {
    let time = app.service.ping(&name).await?;
    Ok(Json(PingAnswer { round_trip_seconds: time.as_secs_f64() }))
}

/// Ends the present session of a peer, which comes back.
#[utoipa::path(post, path = "/v1/peers/{peer}/disconnect", params(("peer" = String, Path)), responses(
    (status = 200, body = Disconnected), (status = "default", body = ErrorBody),
))]
pub(crate) async fn disconnect(
    State(app): State<Shared>,
    _: crate::access::MayChange,
    Segment(name): Segment,
) -> Result<Json<Disconnected>, Failure> {
    let was_connected = app.service.disconnect(&name).await?;
    Ok(Json(Disconnected { was_connected }))
}
