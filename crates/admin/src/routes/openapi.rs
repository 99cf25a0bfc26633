//! The description of the API for programs.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::{Table, changes, health, letters, outbox, peers, status, streams};

pub(crate) fn routes() -> Table {
    Table::new().get("/v1/openapi.json", document)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "paddington",
        description = "The local API of a service: over its Unix socket, or over loopback TCP with a bearer token."
    ),
    paths(
        changes::invite,
        changes::join,
        changes::remove,
        changes::renew,
        changes::renew_keys,
        changes::set_range,
        health::live,
        health::numbers,
        health::ready,
        letters::drop_letter,
        letters::list,
        letters::retry,
        letters::show,
        outbox::orphan,
        outbox::orphans,
        outbox::outbox,
        outbox::purge,
        peers::disconnect,
        peers::list,
        peers::ping,
        peers::show,
        status::refusals,
        status::status,
        streams::events,
        streams::status,
        document,
    )
)]
struct Described;

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, body = Object)))]
async fn document() -> Json<Document> {
    Json(Described::openapi())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_back() {
        let document = serde_json::to_value(Described::openapi()).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let table = crate::routes::table();
        let routes = table.routes.iter().map(|(method, path)| format!("{method} {path}"));
        assert_eq!(routes.collect::<BTreeSet<_>>(), described);
    }
}
