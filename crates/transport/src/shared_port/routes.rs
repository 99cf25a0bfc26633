//! Which of the services on a port a request is for.

use std::io;
use std::net::SocketAddr;

use http::Uri;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::{Endpoint, Stream};

/// A connection whose request is unread, and where it comes from.
pub(super) type Arrival = (Stream, SocketAddr);

/// The services, in the order in which they came.
#[derive(Debug)]
pub(super) struct Routes {
    services: Vec<Route>,
    /// Number of connections that may wait for each of them.
    waiting: usize,
}

/// A service that listens.
#[derive(Debug)]
struct Route {
    path: String,
    /// In lower case.
    host: String,
    arrivals: Sender<Arrival>,
}

impl Routes {
    pub(super) fn new(waiting: usize) -> Self {
        Self { services: Vec::new(), waiting: waiting.max(1) }
    }

    /// Adds the service with a URL. One that listens no longer is forgotten.
    pub(super) fn begin(&mut self, url: &Endpoint) -> io::Result<Receiver<Arrival>> {
        self.services.retain(|route| !route.arrivals.is_closed());
        let (path, host) = (url.path().to_owned(), url.host().to_ascii_lowercase());
        if self.services.iter().any(|route| route.path == path && route.host == host) {
            let why =
                format!("another service on this port has the URL {url}: give each its own path");
            return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
        }
        let (arrivals, arrived) = mpsc::channel(self.waiting);
        self.services.push(Route { path, host, arrivals });
        Ok(arrived)
    }

    /// Hands a connection to the service that the head of its request is for.
    pub(super) fn hand_over(&self, head: &[u8], arrival: Arrival) -> Result<(), &'static str> {
        let listening = || self.services.iter().filter(|route| !route.arrivals.is_closed());
        let first = listening().next().ok_or("no service listens")?;
        let asked = Asked::of(head).unwrap_or_default();
        let of_path = || listening().filter(|route| route.path == asked.path);
        let of_host = of_path().find(|route| route.host == asked.host);
        let route = of_host.or_else(|| of_path().next()).unwrap_or(first);
        route
            .arrivals
            .try_send(arrival)
            .map_err(|_| "its service has too many connections to begin")
    }
}

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    path: String,
    /// In lower case, without port and brackets.
    host: String,
}

impl Asked {
    /// Reads the head of a request. The service says what is wrong with one that cannot be read.
    fn of(head: &[u8]) -> Option<Self> {
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        let mut headers = vec![httparse::EMPTY_HEADER; lines];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(head).ok()?;
        let uri: Uri = request.path?.parse().ok()?;
        let mut hosts = request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case("host"));
        let named = hosts.next().and_then(|it| std::str::from_utf8(it.value).ok());
        let host = uri.authority().map(|it| it.host().to_owned()).or_else(|| {
            let authority: http::uri::Authority = named?.trim().parse().ok()?;
            Some(authority.host().to_owned())
        });
        let host = host.unwrap_or_default().to_ascii_lowercase();
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_owned();
        Some(Self { path: uri.path().to_owned(), host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> Option<(String, String)> {
        Asked::of(head.as_bytes()).map(|Asked { path, host }| (path, host))
    }

    #[test]
    fn path_and_host_are_those_of_the_request() {
        for (head, path, host) in [
            ("GET /hub?b=7 HTTP/1.1\r\nHost: Hub.Example:443\r\n\r\n", "/hub", "hub.example"),
            ("GET / HTTP/1.1\r\nupgrade: x\r\nhost:  a. \r\n\r\n", "/", "a"),
            ("GET / HTTP/1.1\r\nhost: [::1]:6501\r\n\r\n", "/", "::1"),
            ("GET http://B:80/x HTTP/1.1\r\nhost: a\r\n\r\n", "/x", "b"),
            ("GET /x HTTP/1.1\r\n\r\n", "/x", ""),
            ("GET /x HTTP/1.1\r\nhost: a b\r\n\r\n", "/x", ""),
            ("GET /x HTTP/1.1\r\nhost: \u{fc}\r\n\r\n", "/x", ""),
        ] {
            assert_eq!(asked(head), Some((path.to_owned(), host.to_owned())), "{head:?}");
        }
        for head in ["", "?\r\n\r\n", "GET /\r\n\r\n", "\r\n\r\n", "GET \u{1} HTTP/1.1\r\n\r\n"] {
            assert_eq!(asked(head), None, "{head:?}");
        }
    }

    /// Returns which of the services gets a request.
    fn given(services: &[&str], head: &str) -> Option<usize> {
        let mut routes = Routes::new(1);
        let urls = services.iter().map(|url| url.parse().unwrap());
        let mut queues: Vec<_> = urls.map(|url| routes.begin(&url).unwrap()).collect();
        let arrival = (Stream::new(tokio::io::duplex(1).0), ([192, 0, 2, 1], 1).into());
        routes.hand_over(head.as_bytes(), arrival).ok()?;
        queues.iter_mut().position(|queue| queue.try_recv().is_ok())
    }

    #[test]
    fn the_path_decides_and_then_the_name() {
        let hosts = ["wss://a.example/x", "wss://a.example/y", "wss://b.example/x"];
        for (path, host, service) in [
            ("/x", "a.example", 0),
            ("/y", "a.example", 1),
            ("/y", "b.example", 1),
            ("/x", "B.example:443", 2),
            ("/x", "c.example", 0),
            ("/z", "b.example", 0),
        ] {
            let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            assert_eq!(given(&hosts, &head), Some(service), "{path} {host}");
        }
        assert_eq!(given(&hosts, "not HTTP\r\n\r\n"), Some(0));
        assert_eq!(given(&[], "GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn a_url_belongs_to_one_service_as_long_as_that_listens() {
        let mut routes = Routes::new(1);
        let url: Endpoint = "ws://a.example/x".parse().unwrap();
        let listening = routes.begin(&url).unwrap();
        let refused = routes.begin(&"ws://A.example:99/x".parse().unwrap()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(listening);
        let mut again = routes.begin(&url).unwrap();
        let arrival = || (Stream::new(tokio::io::duplex(1).0), ([192, 0, 2, 1], 1).into());
        routes.hand_over(b"GET /x HTTP/1.1\r\n\r\n", arrival()).unwrap();
        assert!(routes.hand_over(b"GET /x HTTP/1.1\r\n\r\n", arrival()).is_err(), "it is full");
        again.try_recv().unwrap();
    }
}
