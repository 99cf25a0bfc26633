//! The client's address behind a proxy. Implements `docs/protocol.md` §10.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};
use paddington_wire::AddressRange;
use serde::{Deserialize, Serialize};

use crate::forwarded;

/// The proxies that are trusted to report a client's address, and how they report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustedProxies {
    /// The addresses of the proxies that are trusted to report a client's address.
    pub ranges: Vec<AddressRange>,
    /// The header that they set; its last entry is the nearest one. `Forwarded` is read by RFC 7239.
    #[serde(with = "header_name")]
    pub header: HeaderName,
    /// Whether they begin each connection with a header of the PROXY protocol, of version 1 or 2. It is
    /// required from them then, and refused from all others; the header of requests is not read.
    pub proxy_protocol: bool,
}

/// Trusts no proxy; the header is `X-Forwarded-For`.
impl Default for TrustedProxies {
    fn default() -> Self {
        let header = HeaderName::from_static("x-forwarded-for");
        Self { ranges: Vec::new(), header, proxy_protocol: false }
    }
}

/// The header is missing, malformed, or lists only proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownClient;

impl TrustedProxies {
    /// Returns whether `address` is a trusted proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Returns whether a connection from `address` begins with a header of the PROXY protocol.
    pub(crate) fn begins_with_header(&self, address: IpAddr) -> bool {
        self.proxy_protocol && self.trusts(address)
    }

    /// Returns whether the header of a request from `address` reports its client.
    pub(crate) fn sets_header(&self, address: IpAddr) -> bool {
        !self.proxy_protocol && self.trusts(address)
    }

    /// Returns the client's address: the last one in the header that is not a proxy's. Anything
    /// before it may be forged and is not read.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Result<IpAddr, UnknownClient> {
        let mut lines: Vec<&str> = Vec::new();
        for value in headers.get_all(&self.header) {
            lines.push(value.to_str().map_err(|_| UnknownClient)?);
        }
        let entries = lines.iter().flat_map(|line| match self.header {
            FORWARDED => forwarded::nodes(line),
            _ => line.split(',').collect(),
        });
        for entry in entries.collect::<Vec<_>>().into_iter().rev() {
            let address = address(entry.trim()).ok_or(UnknownClient)?;
            if !self.trusts(address) {
                return Ok(address);
            }
        }
        Err(UnknownClient)
    }
}

/// Header names in configuration files.
mod header_name {
    use http::header::HeaderName;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        name: &HeaderName,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HeaderName, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(|_| de::Error::custom("not a valid name of an HTTP header"))
    }
}

/// Parses an address with or without a port, an IPv6 address with or without brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok();
    let address = address.or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_found_behind_its_proxies() {
        let proxies = TrustedProxies {
            ranges: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:aa::/48".parse().unwrap()],
            ..TrustedProxies::default()
        };
        let cases: [(&[&str], Option<&str>); 15] = [
            (&["192.0.2.7"], Some("192.0.2.7")),
            (&["198.51.100.1, 192.0.2.7"], Some("192.0.2.7")),
            (&["192.0.2.7, 10.0.0.1"], Some("192.0.2.7")),
            (&["192.0.2.7,10.0.0.1 , 10.1.2.3"], Some("192.0.2.7")),
            (&["198.51.100.1", "192.0.2.7, 10.0.0.1"], Some("192.0.2.7")),
            (&["forged nonsense, 192.0.2.7"], Some("192.0.2.7")),
            (&["192.0.2.7:51234"], Some("192.0.2.7")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["[2001:db8::1]:51234, 2001:db8:aa::1"], Some("2001:db8::1")),
            (&["[2001:db8::1]"], Some("2001:db8::1")),
            (&["::ffff:192.0.2.7"], Some("192.0.2.7")),
            (&["192.0.2.7, nonsense"], None),
            (&["192.0.2.7, "], None),
            (&["10.0.0.1"], None),
            (&[], None),
        ];
        for (lines, client) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let expected = client.map(|text| text.parse().unwrap()).ok_or(UnknownClient);
            assert_eq!(proxies.client(&headers), expected, "{lines:?}");
        }
    }
}
