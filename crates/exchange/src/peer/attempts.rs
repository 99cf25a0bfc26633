//! What is kept of connections and attempts for whoever asks: why the last of them has failed, and what
//! each URL of a server has led to.

use paddington_transport::{Endpoint, Fallbacks};

use crate::{LastError, UrlStatus};

/// What attempts have shown. It takes no room for a peer that nothing has happened to yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts(Option<Box<Shown>>);

#[derive(Clone, Debug, Default)]
struct Shown {
    last_error: Option<LastError>,
    /// The URLs that were tried, the latest last.
    urls: Vec<UrlStatus>,
}

impl Attempts {
    /// Keeps why a connection has ended, or an attempt has failed.
    pub(super) fn failed(&mut self, error: LastError) {
        self.shown().last_error = Some(error);
    }

    /// Keeps that the last failure was that of an attempt by this URL.
    pub(super) fn failed_by(&mut self, url: &Endpoint) {
        let shown = self.shown();
        let is_good = shown.take(url).is_some_and(|known| known.is_good);
        let last_error = shown.last_error.clone();
        shown.urls.push(UrlStatus { url: url.clone(), is_good, last_error });
    }

    /// Keeps that a session was established by this URL.
    pub(super) fn succeeded_by(&mut self, url: &Endpoint) {
        let shown = self.shown();
        shown.take(url);
        shown.urls.iter_mut().for_each(|other| other.is_good = false);
        shown.urls.push(UrlStatus { url: url.clone(), is_good: true, last_error: None });
    }

    pub(super) fn last_error(&self) -> Option<LastError> {
        self.0.as_ref()?.last_error.clone()
    }

    /// Returns the URLs that were tried, the latest last.
    pub(super) fn urls(&self) -> Vec<UrlStatus> {
        self.0.as_ref().map(|shown| shown.urls.clone()).unwrap_or_default()
    }

    fn shown(&mut self) -> &mut Shown {
        self.0.get_or_insert_default()
    }
}

impl Shown {
    /// Takes a URL out of the list, in which there is room for one more then. A newer invitation may name
    /// others, and the oldest is forgotten first.
    fn take(&mut self, url: &Endpoint) -> Option<UrlStatus> {
        let known = self.urls.iter().position(|known| known.url == *url);
        let known = known.map(|at| self.urls.remove(at));
        if self.urls.len() > Fallbacks::MOST {
            self.urls.remove(0);
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

    fn fail(attempts: &mut Attempts, port: usize, code: &'static str) {
        let at = SystemTime::UNIX_EPOCH;
        attempts.failed(LastError { at, code, cause: String::new(), remedy: None });
        attempts.failed_by(&url(port));
    }

    fn shown(attempts: &Attempts) -> Vec<(u16, bool, Option<&'static str>)> {
        let code = |it: &UrlStatus| it.last_error.as_ref().map(|error| error.code);
        attempts.urls().iter().map(|it| (it.url.port(), it.is_good, code(it))).collect()
    }

    #[test]
    fn each_url_has_its_last_failure_until_it_is_good_again() {
        let mut attempts = Attempts::default();
        fail(&mut attempts, 1, "connection_refused");
        fail(&mut attempts, 1, "name_not_resolved");
        attempts.succeeded_by(&url(2));
        assert_eq!(shown(&attempts), [(1, false, Some("name_not_resolved")), (2, true, None)]);
        fail(&mut attempts, 2, "no_answer");
        assert_eq!(shown(&attempts)[1], (2, true, Some("no_answer")));
        attempts.succeeded_by(&url(1));
        assert_eq!(shown(&attempts), [(2, false, Some("no_answer")), (1, true, None)]);
        assert_eq!(attempts.last_error().unwrap().code, "no_answer");
    }

    #[test]
    fn the_urls_are_bounded() {
        let mut attempts = Attempts::default();
        for number in 1..=100 {
            fail(&mut attempts, number, "no_answer");
        }
        let ports: Vec<_> = shown(&attempts).iter().map(|it| it.0).collect();
        assert_eq!(ports, [93, 94, 95, 96, 97, 98, 99, 100]);
    }
}
