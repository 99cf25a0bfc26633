//! The URL of a server.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use paddington_wire::Bucket;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The URL of a server: `ws` or `wss`, host, port, path and query. None of it is dropped.
///
/// `http` and `https` are read as `ws` and `wss`, in upper or lower case. The port is always shown,
/// even if it is the scheme's default.
///
/// ```
/// use paddington_transport::Endpoint;
///
/// let endpoint: Endpoint = "https://host.example/paddington?a=b".parse()?;
/// assert_eq!(endpoint.to_string(), "wss://host.example:443/paddington?a=b");
/// assert_eq!(endpoint.to_string().parse::<Endpoint>()?, endpoint);
/// # Ok::<(), paddington_transport::EndpointError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

/// The text is not a server's URL. A user name or password in it is not shown.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{url:?} is not a server's URL: {reason}; an example is ws://host.example:6501/")]
pub struct EndpointError {
    url: String,
    reason: &'static str,
}

/// The number of characters of a bad URL that an error shows.
const LONGEST_SHOWN: usize = 200;

impl Endpoint {
    /// Returns whether the connection uses TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns the host's name or address, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path and the query.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.path
    }

    /// Returns the path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.split('?').next().unwrap_or("/")
    }

    /// Returns the bucket that the query names, if it names one.
    #[must_use]
    pub fn bucket(&self) -> Option<Bucket> {
        Bucket::of_query(self.path.split_once('?').map(|(_, query)| query))
    }

    /// Returns the URL with `bucket` in its query, instead of any other.
    ///
    /// ```
    /// use paddington_transport::Endpoint;
    ///
    /// let endpoint: Endpoint = "wss://host.example/paddington?a=b".parse()?;
    /// let endpoint = endpoint.with_bucket("3f2".parse()?);
    /// assert_eq!(endpoint.to_string(), "wss://host.example:443/paddington?a=b&b=3f2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_bucket(self, bucket: Bucket) -> Self {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path.as_str(), None),
        };
        Self { path: format!("{path}?{}", bucket.in_query(query)), ..self }
    }

    /// Returns host and port as in an HTTP request, an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let error = |reason| EndpointError { url: without_password(url), reason };
        if has_zone(url) {
            return Err(error(
                "an IPv6 address with a zone, such as %eth0, is not supported; use an address \
                 without one, or a name",
            ));
        }
        let uri: Uri = url.trim().parse().map_err(|_| error("it is malformed"))?;
        let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
        let secure = match scheme.as_deref() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(error("it does not begin with ws:// or wss://")),
        };
        let authority = uri.authority().ok_or_else(|| error("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(error("it contains a user name"));
        }
        let host = authority.host();
        if host.is_empty() || (host.starts_with('[') && !is_ipv6(host)) {
            return Err(error("it names no host"));
        }
        let has_port = authority.as_str().len() > host.len();
        let port = match authority.port_u16() {
            Some(0) => return Err(error("its port is 0")),
            Some(port) => port,
            None if has_port => return Err(error("its port is not a number from 1 to 65535")),
            None if secure => 443,
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        Ok(Self { secure, host: host.to_ascii_lowercase(), port, path })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(url: String) -> Result<Self, EndpointError> {
        url.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the beginning of a text that should be a URL, without what stands before an `@`.
fn without_password(url: &str) -> String {
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '+');
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (&url[..scheme.len() + 3], rest),
        _ => ("", url),
    };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}***@{rest}"),
        None => url.to_owned(),
    }
    .chars()
    .take(LONGEST_SHOWN)
    .collect()
}

/// Returns whether the host is an IPv6 address with a zone (RFC 6874).
fn has_zone(url: &str) -> bool {
    let host = url.split_once("://[").and_then(|(_, rest)| rest.split_once(']'));
    host.is_some_and(|(host, _)| host.contains('%') && !host.contains('@'))
}

fn is_ipv6(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    matches!(address.parse(), Ok(IpAddr::V6(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_printed_in_full_and_reads_back_the_same() {
        let cases = [
            ("http://localhost:6501", "ws://localhost:6501/"),
            ("ws://host.example:80/", "ws://host.example:80/"),
            ("ws://host.example", "ws://host.example:80/"),
            ("wss://host.example:443/a/b?c=d&e", "wss://host.example:443/a/b?c=d&e"),
            ("https://host.example?c=d", "wss://host.example:443/?c=d"),
            ("ws://[2001:db8::1]:6501/x", "ws://[2001:db8::1]:6501/x"),
            ("ws://192.0.2.7:1", "ws://192.0.2.7:1/"),
            ("WS://Host.Example:1/A", "ws://host.example:1/A"),
            ("Wss://host.example", "wss://host.example:443/"),
            ("HTTP://host.example", "ws://host.example:80/"),
            ("HTTPS://host.example:1", "wss://host.example:1/"),
        ];
        for (url, printed) in cases {
            let endpoint: Endpoint = url.parse().unwrap();
            assert_eq!(endpoint.to_string(), printed);
            assert_eq!(printed.parse::<Endpoint>().unwrap(), endpoint);
        }
        assert_eq!("ws://[::1]:1/".parse::<Endpoint>().unwrap().host(), "::1");
    }

    #[test]
    fn a_text_that_is_not_a_server_url_is_refused() {
        for url in [
            "",
            "localhost:6501",
            "ftp://host.example/",
            "ws://",
            "ws:///path",
            "ws://user@host.example/",
            "ws://host.example:0/",
            "ws://host.example:65536/",
            "ws://host.example:x/",
            "ws://host example/",
        ] {
            assert!(url.parse::<Endpoint>().is_err(), "{url:?}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_password() {
        for url in [
            "ws://user:sesame@host.example/",
            "WS://user:sesame@host.example:0/",
            "wss://:sesame@[::1]:1/",
            "ftp://user:sesame@host.example/",
            "user:sesame@host.example",
            "//user:sesame@host.example",
            "ws://user:sesame@",
            "ws://user:a@sesame@host.example/",
            "ws://user:a/sesame#?@host.example/",
            "ws://user:a://sesame@host.example/",
            "user:a://sesame@host.example/",
            "ws://user:sesame@host example/",
            "ws://user:sesame@[fe80::1%eth0]/",
            "ws://[user:sesame%@host.example]/",
            " ws://user:sesame@host.example/",
        ] {
            let error = url.parse::<Endpoint>().unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("sesame") && !shown.contains("user:"), "{shown}");
        }
        let error = "ws://user:sesame@host.example/a".parse::<Endpoint>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"ws://***@host.example/a\" is not a server's URL: it contains a user name; an example \
             is ws://host.example:6501/"
        );
    }

    #[test]
    fn a_zone_in_an_address_is_named_in_the_error() {
        for url in ["ws://[fe80::1%eth0]:6501/", "WS://[fe80::1%25eth0]/", "wss://[fe80::1%2]:1"] {
            let error = url.parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().contains("with a zone, such as %eth0"), "{error}");
        }
    }
}
