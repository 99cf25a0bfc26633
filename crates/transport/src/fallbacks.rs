//! Further URLs of a server.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Endpoint, EndpointError};

/// Further URLs of a server, which are tried in their order when the ones before fail. All of them lead
/// to the same server, with the same keys.
///
/// ```
/// use paddington_transport::Fallbacks;
///
/// let fallbacks = Fallbacks::parse(&["wss://b.example", "ws://10.0.0.7:6501"])?;
/// assert_eq!(fallbacks.iter().count(), 2);
/// assert!(Fallbacks::parse(&["wss://b.example", "wss://b.example:443"]).is_err());
/// # Ok::<(), paddington_transport::FallbacksError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Endpoint>", into = "Vec<Endpoint>")]
pub struct Fallbacks(Vec<Endpoint>);

/// The URLs cannot be the further ones of a server.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FallbacksError {
    /// There are too many.
    #[error("these are {0} further URLs of a server, and it has {most} at most", most = Fallbacks::MOST)]
    TooMany(usize),
    /// One is there twice.
    #[error("{0} is there twice")]
    Twice(Endpoint),
    /// One is not the URL of a server.
    #[error(transparent)]
    Url(#[from] EndpointError),
}

impl Fallbacks {
    /// Number of further URLs that a server has at most.
    pub const MOST: usize = 7;

    /// Checks a list.
    ///
    /// # Errors
    ///
    /// [`FallbacksError`] if it is too long, or holds a URL twice.
    pub fn new(urls: Vec<Endpoint>) -> Result<Self, FallbacksError> {
        if urls.len() > Self::MOST {
            return Err(FallbacksError::TooMany(urls.len()));
        }
        let twice = urls.iter().enumerate().find(|(at, url)| urls[..*at].contains(url));
        match twice {
            Some((_, url)) => Err(FallbacksError::Twice(url.clone())),
            None => Ok(Self(urls)),
        }
    }

    /// Parses a list.
    ///
    /// # Errors
    ///
    /// [`FallbacksError`] if one of them is not the URL of a server, or the list is too long, or holds one
    /// twice.
    pub fn parse(urls: &[&str]) -> Result<Self, FallbacksError> {
        Self::new(urls.iter().map(|url| url.parse()).collect::<Result<_, EndpointError>>()?)
    }

    /// Returns the URLs in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the same list with each URL changed. Two of them that are the same then are one.
    #[must_use]
    pub fn map(self, change: impl Fn(Endpoint) -> Endpoint) -> Self {
        let mut urls = Vec::with_capacity(self.0.len());
        for url in self.0.into_iter().map(change) {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        Self(urls)
    }
}

impl TryFrom<Vec<Endpoint>> for Fallbacks {
    type Error = FallbacksError;

    fn try_from(urls: Vec<Endpoint>) -> Result<Self, FallbacksError> {
        Self::new(urls)
    }
}

impl From<Fallbacks> for Vec<Endpoint> {
    fn from(fallbacks: Fallbacks) -> Self {
        fallbacks.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_bounded_and_names_each_url_once() {
        let url = |port: usize| format!("ws://host.example:{port}").parse::<Endpoint>().unwrap();
        assert!(Fallbacks::new((1..=Fallbacks::MOST).map(url).collect()).is_ok());
        let many = Fallbacks::new((1..=Fallbacks::MOST + 1).map(url).collect());
        assert_eq!(many, Err(FallbacksError::TooMany(Fallbacks::MOST + 1)));
        let twice = Fallbacks::new(vec![url(1), url(2), url(1)]);
        assert_eq!(twice, Err(FallbacksError::Twice(url(1))));
        let same = Fallbacks::new(vec![url(1), url(2)]).unwrap().map(|_| url(3));
        assert_eq!(same.iter().collect::<Vec<_>>(), [&url(3)]);
    }
}
