//! Hosts as the variable `NO_PROXY` names them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use paddington_wire::AddressRange;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Hosts, and perhaps one port of them: `*` for every host, a name with all names below it, an address, or
/// a range of addresses.
///
/// A dot or `*.` before a name changes nothing. Names are not looked up, so a range matches hosts only that
/// a URL names by their addresses.
///
/// ```
/// use paddington_transport::HostPattern;
///
/// let pattern: HostPattern = ".Example.org:6501".parse()?;
/// assert_eq!(pattern.to_string(), "example.org:6501");
/// assert!(pattern.matches("hub.example.org", 6501));
/// assert!(!pattern.matches("hub.example.org", 443));
/// # Ok::<(), paddington_transport::HostPatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Every,
    /// A name in lower case, and all below it.
    Domain(String),
    Range(AddressRange),
}

/// The text names no hosts.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} names no hosts: write a name (example.org, with all names below it), an address, a range \
     (10.0.0.0/8), each perhaps with a port (example.org:6501, [2001:db8::1]:443), or * for all"
)]
pub struct HostPatternError(String);

/// The number of characters of a bad text that an error shows.
const LONGEST_SHOWN: usize = 80;

impl HostPattern {
    /// Returns whether a host is meant, by its name or its address, without brackets.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
            && match &self.hosts {
                Hosts::Every => true,
                Hosts::Range(range) => host.parse().is_ok_and(|address| range.contains(address)),
                Hosts::Domain(domain) => is_below(host.strip_suffix('.').unwrap_or(host), domain),
            }
    }
}

/// Returns whether `host` is `domain` or a name below it, in upper or lower case.
fn is_below(host: &str, domain: &str) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let is_label = at == 0 || host.as_bytes()[at - 1] == b'.';
    is_label && host.as_bytes()[at..].eq_ignore_ascii_case(domain.as_bytes())
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let error = || HostPatternError(text.chars().take(LONGEST_SHOWN).collect());
        let text = text.trim();
        if let Some(hosts) = hosts(text) {
            return Ok(Self { hosts, port: None });
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((range, "")) => (range, None),
            Some((range, rest)) => (range, Some(rest.strip_prefix(':').ok_or_else(error)?)),
            None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let number = |port: &str| port.parse().ok().filter(|port| *port > 0).ok_or_else(error);
        let port = port.map(number).transpose()?;
        let hosts = match text.starts_with('[') {
            true => host.parse::<AddressRange>().ok().map(Hosts::Range),
            false => hosts(host),
        };
        Ok(Self { hosts: hosts.ok_or_else(error)?, port })
    }
}

/// Reads hosts without a port and without brackets.
fn hosts(text: &str) -> Option<Hosts> {
    if text == "*" {
        return Some(Hosts::Every);
    }
    if text.contains(':') && text.parse::<IpAddr>().is_err() && !text.contains('/') {
        return None; // a port
    }
    if let Ok(range) = text.parse() {
        return Some(Hosts::Range(range));
    }
    let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_good = !name.is_empty() && !name.starts_with('.') && name.chars().all(is_name);
    is_good.then(|| Hosts::Domain(name.to_ascii_lowercase()))
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, HostPatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Every => f.write_str("*")?,
            Hosts::Domain(domain) => f.write_str(domain)?,
            Hosts::Range(range) if self.port.is_some() && range.to_string().contains(':') => {
                write!(f, "[{range}]")?;
            }
            Hosts::Range(range) => write!(f, "{range}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_as_other_programs_do() {
        let cases = [
            ("*", "hub.example", 1, true),
            ("*", "192.0.2.7", 1, true),
            ("*:443", "hub.example", 443, true),
            ("*:443", "hub.example", 80, false),
            ("example.org", "example.org", 443, true),
            ("example.org", "hub.example.org", 443, true),
            ("example.org", "a.hub.example.org", 443, true),
            ("example.org", "badexample.org", 443, false),
            ("example.org", "example.org.evil", 443, false),
            ("example.org", "org", 443, false),
            (".example.org", "example.org", 443, true),
            (".example.org", "hub.example.org", 443, true),
            ("*.example.org", "hub.example.org", 443, true),
            ("*.example.org", "badexample.org", 443, false),
            ("Example.ORG", "hub.example.org", 443, true),
            ("example.org", "HUB.Example.Org", 443, true),
            ("example.org.", "hub.example.org", 443, true),
            ("example.org", "hub.example.org.", 443, true),
            ("hub", "hub", 443, true),
            ("hub", "hub.example.org", 443, false),
            ("example.org:6501", "hub.example.org", 6501, true),
            ("example.org:6501", "hub.example.org", 443, false),
            ("192.0.2.7", "192.0.2.7", 443, true),
            ("192.0.2.7", "192.0.2.70", 443, false),
            ("192.0.2.7", "::ffff:192.0.2.7", 443, true),
            ("192.0.2.7:443", "192.0.2.7", 443, true),
            ("192.0.2.7:443", "192.0.2.7", 80, false),
            ("10.0.0.0/8", "10.255.0.1", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("10.0.0.0/8", "hub.example", 443, false),
            ("10.0.0.0/8:443", "10.1.2.3", 443, true),
            ("10.0.0.0/8:443", "10.1.2.3", 80, false),
            ("0.0.0.0/0", "8.8.8.8", 443, true),
            ("0.0.0.0/0", "2001:db8::1", 443, false),
            ("2001:db8::/32", "2001:db8:1::7", 443, true),
            ("2001:db8::/32", "2001:db9::7", 443, false),
            ("2001:db8::1", "2001:db8::1", 443, true),
            ("2001:DB8::1", "2001:db8:0::1", 443, true),
            ("[2001:db8::1]", "2001:db8::1", 443, true),
            ("[2001:db8::1]:443", "2001:db8::1", 443, true),
            ("[2001:db8::1]:443", "2001:db8::1", 80, false),
            ("[2001:db8::/32]:443", "2001:db8::9", 443, true),
            (" example.org ", "hub.example.org", 443, true),
        ];
        for (text, host, port, expected) in cases {
            let pattern: HostPattern = text.parse().unwrap();
            assert_eq!(pattern.matches(host, port), expected, "{text} {host} {port}");
            let again: HostPattern = pattern.to_string().parse().unwrap();
            assert_eq!(again, pattern, "{text} {pattern}");
        }
    }

    #[test]
    fn what_names_no_hosts_is_refused() {
        for text in [
            "",
            " ",
            ".",
            "*.",
            "..a",
            "a b",
            "10.0.0.0/33",
            "a:0",
            "a:x",
            "a:70000",
            "a:",
            "[::1",
            "http://a",
            "[a]:1",
            "[::1]x",
            "user:pass@a",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
    }
}
