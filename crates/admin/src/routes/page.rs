//! The status page. Its files hold nothing of the service: what it shows, it asks for with the token.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, header};

use super::Table;

/// The page may load its own files and ask the service that it came from, and nothing else; no other page
/// may show it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page.
#[derive(Clone, Copy)]
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! scripts {
    ($($name:literal),*) => {
        [$(File {
            path: concat!("/", $name),
            kind: SCRIPT,
            text: include_str!(concat!("../page/", $name)),
        }),*]
    };
}

const PAGE: [File; 2] = [
    File { path: "/", kind: HTML, text: include_str!("../page/index.html") },
    File { path: "/style.css", kind: STYLE, text: include_str!("../page/style.css") },
];

const SCRIPTS: [File; 11] = scripts![
    "announcements.js",
    "charts.js",
    "details.js",
    "elements.js",
    "graph.js",
    "known.js",
    "logs.js",
    "script.js",
    "stream.js",
    "table.js",
    "words.js"
];

fn files() -> impl Iterator<Item = File> {
    PAGE.into_iter().chain(SCRIPTS)
}

pub(crate) fn routes() -> Table {
    files().fold(Table::new(), |table, file| {
        table.file(file.path, move || async move { answer(file) })
    })
}

/// Returns whether a path is that of a file of the page.
pub(crate) fn is_page(path: &str) -> bool {
    files().any(|file| file.path == path)
}

fn answer(file: File) -> Response {
    let headers = [
        (header::CONTENT_TYPE, file.kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    (headers, file.text).into_response()
}
