//! Which URL of a server is tried next.

use crate::addresses::Addresses;
use crate::{DialError, Dialer, Endpoint};

/// The URLs of one server, and what earlier attempts have shown about the addresses of each. A round
/// tries each URL once: first the one that has led to the last session, then the others in their order.
#[derive(Debug)]
pub(crate) struct Urls {
    /// In the order in which they are preferred. There is at least one.
    urls: Vec<(Endpoint, Addresses)>,
    /// The index of the URL that has led to the last session, or else of the first.
    good: usize,
    /// Number of URLs that the present round has tried before the current one.
    tried: usize,
}

impl Urls {
    pub(crate) fn new(dialer: &Dialer) -> Self {
        let urls = dialer.endpoints().map(|url| (url.clone(), Addresses::default())).collect();
        Self { urls, good: 0, tried: 0 }
    }

    /// Begins anew if the server has other URLs than before.
    pub(crate) fn follow(&mut self, dialer: &Dialer) {
        if !self.urls.iter().map(|(url, _)| url).eq(dialer.endpoints()) {
            *self = Self::new(dialer);
        }
    }

    /// Returns the URL of the present attempt.
    pub(crate) fn current(&self) -> &Endpoint {
        &self.urls[self.index()].0
    }

    /// Returns the addresses of that URL.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.urls[self.index()].1
    }

    pub(crate) fn addresses_mut(&mut self) -> &mut Addresses {
        let index = self.index();
        &mut self.urls[index].1
    }

    /// Ends the round: the attempt has led to a session.
    pub(crate) fn succeeded(&mut self) {
        self.addresses_mut().succeeded();
        (self.good, self.tried) = (self.index(), 0);
    }

    /// Returns whether a failure ends the round: there is no other URL, or none would change it.
    pub(crate) fn ends_with(&self, error: &DialError) -> bool {
        self.tried + 1 == self.urls.len() || !depends_on_url(error)
    }

    /// Goes on to the next URL of the round.
    pub(crate) fn advance(&mut self) {
        self.tried = (self.tried + 1) % self.urls.len();
    }

    /// Begins the next round.
    pub(crate) fn begin_round(&mut self) {
        self.tried = 0;
    }

    /// The index of the current URL. The good one was tried first, and is left out later.
    fn index(&self) -> usize {
        match self.tried {
            0 => self.good,
            tried if tried <= self.good => tried - 1,
            tried => tried,
        }
    }
}

/// Returns whether an attempt by another URL may not fail for the same reason: the server itself has not
/// answered, and this side has done its part.
fn depends_on_url(error: &DialError) -> bool {
    !matches!(
        error,
        DialError::Refused(_)
            | DialError::Transmit(_)
            | DialError::NoKeys
            | DialError::NotNow
            | DialError::Superseded
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use paddington_wire::{CloseCode, Credentials, Instance, sealed};

    use super::*;
    use crate::{Config, Fallbacks, Login, Step, system};

    fn dialer(urls: &[&str]) -> Dialer {
        let mut urls = urls.iter().map(|url| format!("ws://{url}/").parse().unwrap());
        let keys = Arc::new(sealed::Credentials::decoy().unwrap());
        Dialer {
            endpoint: urls.next().unwrap(),
            fallbacks: Fallbacks::new(urls.collect()).unwrap(),
            login: Login {
                credentials: Credentials::Sealed(keys),
                instance: Instance::from([0; 16]),
            },
            network: system(),
            tls: None,
            config: Arc::new(Config::default()),
        }
    }

    /// Fails a whole round, and returns the hosts that it has tried.
    fn round(urls: &mut Urls) -> String {
        let late = DialError::Timeout(Step::Connect);
        let mut hosts = String::new();
        loop {
            hosts += urls.current().host();
            if urls.ends_with(&late) {
                urls.begin_round();
                return hosts;
            }
            urls.advance();
        }
    }

    #[test]
    fn a_round_begins_with_the_last_good_url_and_tries_each_once() {
        let mut urls = Urls::new(&dialer(&["a", "b", "c", "d"]));
        assert_eq!(round(&mut urls), "abcd");
        for (steps, expected) in [(2, "cabd"), (3, "dabc"), (1, "abcd"), (1, "bacd"), (0, "bacd")] {
            (0..steps).for_each(|_| urls.advance());
            urls.succeeded();
            assert_eq!(round(&mut urls), expected);
        }
    }

    #[test]
    fn what_the_server_itself_says_ends_a_round() {
        let mut urls = Urls::new(&dialer(&["a", "b"]));
        assert!(!urls.ends_with(&DialError::Timeout(Step::Answer)));
        for error in [
            DialError::Refused(CloseCode::Busy),
            DialError::NoKeys,
            DialError::NotNow,
            DialError::Superseded,
        ] {
            assert!(urls.ends_with(&error), "{error}");
        }
        urls.advance();
        assert!(urls.ends_with(&DialError::Timeout(Step::Answer)), "it is the last");
        assert!(Urls::new(&dialer(&["a"])).ends_with(&DialError::Timeout(Step::Answer)));
    }

    #[test]
    fn other_urls_begin_anew_and_the_same_ones_go_on() {
        let mut urls = Urls::new(&dialer(&["a", "b"]));
        urls.advance();
        urls.succeeded();
        urls.follow(&dialer(&["a", "b"]));
        assert_eq!(urls.current().host(), "b");
        urls.follow(&dialer(&["a", "b", "c"]));
        assert_eq!(urls.current().host(), "a");
    }
}
