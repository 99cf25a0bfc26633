//! Buckets: groups of clients, among which a server looks for the one that says hello. Implements
//! `docs/protocol.md` §1.3, and the query of §1.1 and §2.

use std::fmt;
use std::str::FromStr;

use paddington_crypto::{KeyError, random_bytes};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A group of clients of one server, named by a number below 4096. A client's invitation names it in
/// the query of the URL: `b=` and three hexadecimal digits.
///
/// ```
/// use paddington_wire::Bucket;
///
/// let bucket: Bucket = "3f2".parse()?;
/// assert_eq!(Bucket::of_query(Some("x=1&b=3f2")), Some(bucket));
/// assert_eq!(bucket.in_query(Some("b=111&x=1")), "x=1&b=3f2");
/// # Ok::<(), paddington_wire::BucketError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bucket(u16);

/// The text names no bucket.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a bucket is named by three lower-case hexadecimal digits")]
pub struct BucketError;

/// The key in the query of a URL.
const KEY: &str = "b";

impl Bucket {
    /// The bucket of a service that has only one.
    pub const FIRST: Self = Self(0);
    /// The number of buckets that can be named.
    pub const COUNT: u16 = 4096;
    /// The number of clients up to which a bucket is filled before another one is used, as long as
    /// there are unused ones.
    pub const CLIENTS: usize = 32;

    /// Draws a bucket from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn random() -> Result<Self, KeyError> {
        Ok(Self(u16::from_be_bytes(random_bytes()?) % Self::COUNT))
    }

    /// Returns all buckets, this one first.
    pub fn all_from(self) -> impl Iterator<Item = Self> {
        (self.0..Self::COUNT).chain(0..self.0).map(Self)
    }

    /// Returns the bucket that the query of a URL names. `None` if it names none, more than one, or
    /// something else.
    #[must_use]
    pub fn of_query(query: Option<&str>) -> Option<Self> {
        let mut named = query?.split('&').filter_map(bucket_of);
        let first = named.next()?;
        if named.next().is_some() { None } else { first.parse().ok() }
    }

    /// Returns `query` with this bucket, and with no other.
    #[must_use]
    pub fn in_query(self, query: Option<&str>) -> String {
        let others = query.unwrap_or_default().split('&');
        let others = others.filter(|part| !part.is_empty() && bucket_of(part).is_none());
        let own = format!("{KEY}={self}");
        others.chain([own.as_str()]).collect::<Vec<_>>().join("&")
    }
}

/// Returns the value of a part of a query, if it is about a bucket.
fn bucket_of(part: &str) -> Option<&str> {
    match part.split_once('=') {
        Some((KEY, value)) => Some(value),
        Some(_) => None,
        None => (part == KEY).then_some(""),
    }
}

impl FromStr for Bucket {
    type Err = BucketError;

    fn from_str(text: &str) -> Result<Self, BucketError> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 3 || !digits {
            return Err(BucketError);
        }
        u16::from_str_radix(text, 16).map(Self).map_err(|_| BucketError)
    }
}

impl TryFrom<String> for Bucket {
    type Error = BucketError;

    fn try_from(text: String) -> Result<Self, BucketError> {
        text.parse()
    }
}

impl From<Bucket> for String {
    fn from(bucket: Bucket) -> Self {
        bucket.to_string()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03x}", self.0)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_one_bucket_or_none() {
        let bucket = |digits: &str| Some(digits.parse::<Bucket>().unwrap());
        let cases = [
            (None, None),
            (Some(""), None),
            (Some("b"), None),
            (Some("b="), None),
            (Some("b=3f2"), bucket("3f2")),
            (Some("x=1&b=000&y"), bucket("000")),
            (Some("b=3f2&b=3f2"), None),
            (Some("b=3f2&b"), None),
            (Some("b=3F2"), None),
            (Some("b=+f2"), None),
            (Some("b=3f"), None),
            (Some("b=03f2"), None),
            (Some("b=3é"), None),
            (Some("bb=3f2"), None),
            (Some("B=3f2"), None),
            (Some("x=b=3f2"), None),
        ];
        for (query, expected) in cases {
            assert_eq!(Bucket::of_query(query), expected, "{query:?}");
        }
    }

    #[test]
    fn a_bucket_replaces_any_other_of_a_query() {
        let bucket: Bucket = "00a".parse().unwrap();
        let cases = [
            (None, "b=00a"),
            (Some(""), "b=00a"),
            (Some("x=1"), "x=1&b=00a"),
            (Some("b=111&x&b=&b"), "x&b=00a"),
        ];
        for (query, expected) in cases {
            assert_eq!(bucket.in_query(query), expected);
            assert_eq!(Bucket::of_query(Some(expected)), Some(bucket));
        }
    }

    #[test]
    fn all_buckets_can_be_drawn_and_listed() {
        for _ in 0..1_000 {
            let bucket = Bucket::random().unwrap();
            assert_eq!(bucket.to_string().parse(), Ok(bucket));
            assert_eq!(bucket.all_from().next(), Some(bucket));
        }
        let last: Bucket = "fff".parse().unwrap();
        let all: std::collections::BTreeSet<_> = last.all_from().collect();
        assert_eq!(all.len(), usize::from(Bucket::COUNT));
    }
}
