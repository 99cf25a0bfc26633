//! The URLs that clients are told, and whether they can lead to this service.

use paddington::{Endpoint, TransportConfig, TrustedProxies};

use super::Problem;
use super::document::Document;

/// Returns all URLs that are valid, each with its key.
pub(super) fn all(document: &Document<'_>) -> Vec<(&'static str, Endpoint)> {
    let first = document.string(&["url"]).and_then(|url| url.parse().ok());
    let further = written(document).into_iter().flatten();
    let further = further.filter_map(|url| url.as_str()?.parse().ok());
    first
        .map(|url| ("url", url))
        .into_iter()
        .chain(further.map(|url| ("fallback_urls", url)))
        .collect()
}

fn written(document: &Document<'_>) -> Option<toml::value::Array> {
    document.read(&["fallback_urls"])?.ok()
}

/// Returns whether clients come through proxies, which may have certificates and paths of their own.
pub(super) fn is_behind_proxies(document: &Document<'_>) -> bool {
    let transport = document.read::<TransportConfig>(&["settings", "transport"]);
    transport.is_some_and(|it| it.is_ok_and(|it| it.proxies != TrustedProxies::default()))
}

/// A URL that is there twice, or has a path which this service does not answer.
pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let all = all(document);
    let Some(((_, first), further)) = all.split_first() else { return Vec::new() };
    let line = document.line(&["fallback_urls"]);
    let same = further.iter().filter(|(_, url)| url == first).map(|(_, url)| {
        let what = format!("fallback_urls: {url} is url already, and is tried once only");
        Problem::at(line, what, "Take it out of fallback_urls.")
    });
    let is_direct = !is_behind_proxies(document);
    let other_path = further.iter().filter(|(_, url)| is_direct && url.path() != first.path());
    let other_path = other_path.map(|(_, url)| {
        let what = format!(
            "fallback_urls: {url} has another path than url, and this service answers {:?} only",
            first.path()
        );
        Problem::at(line, what, "Let the paths agree.")
    });
    same.chain(other_path).collect()
}
