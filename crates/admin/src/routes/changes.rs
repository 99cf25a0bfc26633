//! Changes of peers and of their keys.

use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use paddington::{Encoding, Invite, InviteOptions, Waiting, with_causes};
use zeroize::{Zeroize, Zeroizing};

use super::Table;
use crate::access::{MayChange, MayHaveKeys};
use crate::app::Shared;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::model::{
    ErrorBody, InvitationAnswer, InviteRequest, JoinRequest, Peer, RangeRequest, Reloaded,
    RemoveQuery, RemovedAnswer, RenewRequest, WaitingMail, time,
};
use crate::segment::Segment;
use crate::view;

pub(crate) fn routes() -> Table {
    Table::new()
        .post("/v1/peers", invite)
        .post("/v1/peers/join", join)
        .delete("/v1/peers/{peer}", remove)
        .post("/v1/peers/{peer}/renew", renew)
        .post("/v1/peers/{peer}/keys", renew_keys)
        .put("/v1/peers/{peer}/range", set_range)
        .post("/v1/reload", reload)
}

/// Reads the configuration again. Links follow it at once.
#[utoipa::path(post, path = "/v1/reload", responses(
    (status = 200, body = Reloaded), (status = "default", body = ErrorBody),
))]
pub(crate) async fn reload(
    State(app): State<Shared>,
    _: MayChange,
) -> Result<Json<Reloaded>, Failure> {
    let Some(reload) = &app.reload else {
        let message = "this service has no configuration that can be read again";
        return Err(Failure::new(StatusCode::CONFLICT, "not_possible", message));
    };
    let applied = reload.apply(&app.service).await;
    applied.map(Json).map_err(|cause| {
        let message = format!("the configuration cannot be used; everything is as before: {cause}");
        Failure::new(StatusCode::CONFLICT, "invalid_configuration", message)
            .remedy("`paddington check` lists every problem")
    })
}

/// Invites a client.
#[utoipa::path(post, path = "/v1/peers", request_body = InviteRequest, responses(
    (status = 201, body = InvitationAnswer), (status = "default", body = ErrorBody),
))]
pub(crate) async fn invite(
    State(app): State<Shared>,
    _: MayHaveKeys,
    JsonBody(request): JsonBody<InviteRequest>,
) -> Result<Response, Failure> {
    let encoding = match request.encoding.as_deref() {
        None | Some("sealed") => Encoding::Sealed,
        Some("hex") => Encoding::Hex,
        Some(_) => return Err(unknown_encoding()),
    };
    let lifetime = request.lifetime_seconds.map(Duration::from_secs);
    let options = InviteOptions { encoding, lifetime };
    let invite = app.service.add_client_with(&request.name, &request.range, options).await?;
    told(StatusCode::CREATED, &invite)
}

fn unknown_encoding() -> Failure {
    Failure::invalid("invalid_value", "the encoding of a link is \"sealed\" or \"hex\"")
}

/// Accepts an invitation: a new one of a server that is known renews the keys of its link.
#[utoipa::path(post, path = "/v1/peers/join", request_body = JoinRequest, responses(
    (status = 201, body = Peer), (status = 200, body = Peer), (status = "default", body = ErrorBody),
))]
pub(crate) async fn join(
    State(app): State<Shared>,
    _: MayChange,
    JsonBody(request): JsonBody<JoinRequest>,
) -> Result<(StatusCode, Json<Peer>), Failure> {
    let text = Zeroizing::new(request.invitation);
    let invite = Invite::from_toml(&text)
        .map_err(|error| Failure::invalid("invalid_invitation", with_causes(&error)))?;
    let name = invite.name().to_owned();
    let status = if app.knows(&name) {
        app.service.replace_server(invite).await?;
        StatusCode::OK
    } else {
        let authorities = request.authorities.map(PathBuf::from);
        app.service.add_server_with(invite, authorities).await?;
        StatusCode::CREATED
    };
    let peer = view::peer(&app, &name).await.ok_or_else(|| Failure::unknown_peer(&name))?;
    Ok((status, Json(peer)))
}

/// Removes a peer.
#[utoipa::path(delete, path = "/v1/peers/{peer}", params(("peer" = String, Path), RemoveQuery), responses(
    (status = 200, body = RemovedAnswer), (status = "default", body = ErrorBody),
))]
pub(crate) async fn remove(
    State(app): State<Shared>,
    _: MayChange,
    Segment(name): Segment,
    query: Result<Query<RemoveQuery>, QueryRejection>,
) -> Result<Json<RemovedAnswer>, Failure> {
    let Query(query) = query.map_err(|_| {
        Failure::invalid("invalid_value", "waiting is \"refuse\", \"purge\" or \"keep\"")
    })?;
    let waiting = match query.waiting {
        WaitingMail::Refuse => Waiting::Refuse,
        WaitingMail::Purge => Waiting::Purge,
        WaitingMail::Keep => Waiting::Keep,
    };
    let removed = app.service.remove(&name, waiting).await?;
    Ok(Json(RemovedAnswer {
        messages: view::count(removed.messages),
        unhandled: view::count(removed.unhandled),
        not_purged: removed.not_purged.map(|why| why.to_string()),
    }))
}

/// Writes a new invitation for a client that is known.
#[utoipa::path(post, path = "/v1/peers/{peer}/renew", params(("peer" = String, Path)), request_body = RenewRequest, responses(
    (status = 200, body = InvitationAnswer), (status = "default", body = ErrorBody),
))]
pub(crate) async fn renew(
    State(app): State<Shared>,
    _: MayHaveKeys,
    Segment(name): Segment,
    JsonBody(request): JsonBody<RenewRequest>,
) -> Result<Response, Failure> {
    let lifetime = request.lifetime_seconds.map(Duration::from_secs);
    let invite = app.service.renew_for(&name, lifetime).await?;
    told(StatusCode::OK, &invite)
}

/// Asks for new keys of a link, which both sides agree on in the present session.
#[utoipa::path(post, path = "/v1/peers/{peer}/keys", params(("peer" = String, Path)), responses(
    (status = 202), (status = "default", body = ErrorBody),
))]
pub(crate) async fn renew_keys(
    State(app): State<Shared>,
    _: MayChange,
    Segment(name): Segment,
) -> Result<StatusCode, Failure> {
    app.service.renew_keys(&name).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Changes the addresses from which a client may connect.
#[utoipa::path(put, path = "/v1/peers/{peer}/range", params(("peer" = String, Path)), request_body = RangeRequest, responses(
    (status = 200, body = Peer), (status = "default", body = ErrorBody),
))]
pub(crate) async fn set_range(
    State(app): State<Shared>,
    _: MayChange,
    Segment(name): Segment,
    JsonBody(request): JsonBody<RangeRequest>,
) -> Result<Json<Peer>, Failure> {
    app.service.set_range(&name, &request.range).await?;
    view::peer(&app, &name).await.map(Json).ok_or_else(|| Failure::unknown_peer(&name))
}

/// Answers with an invitation. The copies that are made here are wiped.
fn told(status: StatusCode, invite: &Invite) -> Result<Response, Failure> {
    let failed = |what: String| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", what);
    let text = invite.to_toml().map_err(|error| failed(with_causes(&error)))?;
    let fingerprint =
        invite.fingerprint().map(|bytes| format!("{:032x}", u128::from_be_bytes(bytes)));
    let expires = invite.expires().map(time);
    let mut answer = InvitationAnswer { invitation: text.to_string(), fingerprint, expires };
    let json = serde_json::to_vec(&answer).map(Zeroizing::new);
    answer.invitation.zeroize();
    let json = json.map_err(|_| failed("the invitation cannot be written".to_owned()))?;
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((status, kind, Bytes::from_owner(json)).into_response())
}
