//! The URLs of a server that were tried, for whoever asks.

use paddington_transport::{Endpoint, Fallbacks};

use crate::{LastError, UrlStatus};

/// The URLs that were tried, the latest last.
#[derive(Debug, Default)]
pub(super) struct TriedUrls(Vec<UrlStatus>);

impl TriedUrls {
    /// Keeps what an attempt by this URL has failed with.
    pub(super) fn failed(&mut self, url: &Endpoint, error: Option<LastError>) {
        let is_good = self.take(url).is_some_and(|known| known.is_good);
        self.0.push(UrlStatus { url: url.clone(), is_good, last_error: error });
    }

    /// Keeps that a session was established by this URL.
    pub(super) fn succeeded(&mut self, url: &Endpoint) {
        self.take(url);
        self.0.iter_mut().for_each(|other| other.is_good = false);
        self.0.push(UrlStatus { url: url.clone(), is_good: true, last_error: None });
    }

    pub(super) fn list(&self) -> Vec<UrlStatus> {
        self.0.clone()
    }

    /// Takes a URL out of the list, in which there is room for one more then. A newer invitation may name
    /// others, and the oldest is forgotten first.
    fn take(&mut self, url: &Endpoint) -> Option<UrlStatus> {
        let known = self.0.iter().position(|known| known.url == *url);
        let known = known.map(|at| self.0.remove(at));
        if self.0.len() > Fallbacks::MOST {
            self.0.remove(0);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn url(port: usize) -> Endpoint {
        format!("ws://host.example:{port}").parse().unwrap()
    }

    fn error(code: &'static str) -> Option<LastError> {
        Some(LastError { at: SystemTime::UNIX_EPOCH, code, cause: String::new(), remedy: None })
    }

    fn shown(urls: &TriedUrls) -> Vec<(u16, bool, Option<&'static str>)> {
        let list = urls.list();
        list.iter()
            .map(|it| (it.url.port(), it.is_good, it.last_error.as_ref().map(|it| it.code)))
            .collect()
    }

    #[test]
    fn each_url_has_its_last_failure_until_it_is_good_again() {
        let mut urls = TriedUrls::default();
        urls.failed(&url(1), error("connection_refused"));
        urls.failed(&url(1), error("name_not_resolved"));
        urls.succeeded(&url(2));
        assert_eq!(shown(&urls), [(1, false, Some("name_not_resolved")), (2, true, None)]);
        urls.failed(&url(2), error("no_answer"));
        assert_eq!(shown(&urls)[1], (2, true, Some("no_answer")));
        urls.succeeded(&url(1));
        assert_eq!(shown(&urls), [(2, false, Some("no_answer")), (1, true, None)]);
    }

    #[test]
    fn the_list_is_bounded() {
        let mut urls = TriedUrls::default();
        for number in 1..=100 {
            urls.failed(&url(number), None);
        }
        let ports: Vec<_> = shown(&urls).iter().map(|it| it.0).collect();
        assert_eq!(ports, [93, 94, 95, 96, 97, 98, 99, 100]);
    }
}
