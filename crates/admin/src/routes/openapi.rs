//! The description of the API for programs.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::{
    Table, changes, health, incoming, letters, messages, outbox, peers, requests, status, streams,
};

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
        changes::reload,
        changes::remove,
        changes::renew,
        changes::renew_keys,
        changes::set_range,
        health::live,
        health::numbers,
        health::ready,
        incoming::all_handled,
        incoming::failed,
        incoming::handled,
        incoming::messages,
        letters::drop_letter,
        letters::list,
        letters::retry,
        letters::show,
        messages::send,
        outbox::orphan,
        outbox::orphans,
        outbox::outbox,
        outbox::purge,
        peers::disconnect,
        peers::list,
        peers::ping,
        peers::show,
        requests::request,
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
    Json(described())
}

/// Returns the document, in which every operation has a name of its own.
fn described() -> Document {
    let mut document = Described::openapi();
    for (path, item) in &mut document.paths.paths {
        let methods = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in methods {
            if let Some(operation) = operation {
                operation.operation_id = Some(name(method, path));
            }
        }
    }
    document
}

/// Returns the name of an operation, such as `get_v1_peers_peer`.
fn name(method: &str, path: &str) -> String {
    let words = path.split(['/', '{', '}', '-', '.']).filter(|word| !word.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::described;

    #[test]
    fn every_route_is_in_the_document_and_back() {
        let document = serde_json::to_value(described()).unwrap();
        let (mut paths, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap().to_owned();
                assert!(names.insert(name), "{method} {path}");
                paths.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let table = crate::routes::table();
        let routes = table.routes.iter().map(|(method, path)| format!("{method} {path}"));
        assert_eq!(routes.collect::<BTreeSet<_>>(), paths);
    }
}
