//! Ranges of addresses from which a client may connect. Implements `docs/protocol.md` §10.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv4Network};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A single address or a network, of either family.
///
/// An IPv4-mapped IPv6 range becomes the corresponding IPv4 range, and so does each address that is
/// compared with it.
///
/// ```
/// use paddington_wire::AddressRange;
///
/// let range: AddressRange = "10.1.0.0/255.255.0.0".parse()?;
/// assert_eq!(range.to_string(), "10.1.0.0/16");
/// assert!(range.contains("::ffff:10.1.2.3".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange(IpNetwork);

/// The text is not a range of addresses.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not an address range: write an address (192.0.2.7, 2001:db8::1), a network \
     (10.0.0.0/8, 2001:db8::/32) or an IPv4 network with its mask (10.0.0.0/255.0.0.0)"
)]
pub struct RangeError(String);

impl AddressRange {
    /// Returns whether `address` lies in this range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address.to_canonical())
    }

    /// Returns the range of the network of this prefix length that `address` lies in. `None` if its
    /// family has no such network.
    pub(crate) fn around(address: IpAddr, prefix: u8) -> Option<Self> {
        let around = IpNetwork::new(address.to_canonical(), prefix).ok()?;
        IpNetwork::new(around.network(), prefix).ok().map(Self)
    }

    /// Returns the length of the prefix, in bits.
    pub(crate) fn prefix(&self) -> u8 {
        self.0.prefix()
    }

    /// Returns whether all of its addresses are loopback addresses: the machine's own, and no other's.
    ///
    /// ```
    /// use paddington_wire::AddressRange;
    ///
    /// let is_loopback = |text: &str| text.parse::<AddressRange>().map(|range| range.is_loopback());
    /// assert_eq!(is_loopback("127.0.0.0/8"), Ok(true));
    /// assert_eq!(is_loopback("::1"), Ok(true));
    /// assert_eq!(is_loopback("127.0.0.0/7"), Ok(false));
    /// assert_eq!(is_loopback("::/127"), Ok(false));
    /// assert_eq!(is_loopback("192.0.2.7"), Ok(false));
    /// ```
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let least = if self.0.is_ipv4() { 8 } else { 128 };
        self.0.prefix() >= least && self.0.ip().is_loopback()
    }

    /// Returns the address if the range is a single one.
    #[must_use]
    pub fn single(&self) -> Option<IpAddr> {
        let whole = if self.0.is_ipv4() { 32 } else { 128 };
        (self.0.prefix() == whole).then(|| self.0.ip())
    }
}

/// The length of the prefix `::ffff:0:0` of IPv4-mapped IPv6 addresses, in bits.
const MAPPED_PREFIX: u8 = 96;

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let error = || RangeError(text.chars().take(80).collect());
        let network: IpNetwork = text.trim().parse().map_err(|_| error())?;
        let canonical = match (network.ip().to_canonical(), network) {
            (IpAddr::V4(address), IpNetwork::V6(mapped)) if mapped.prefix() >= MAPPED_PREFIX => {
                let prefix = mapped.prefix() - MAPPED_PREFIX;
                Ipv4Network::new(address, prefix).map_err(|_| error())?.into()
            }
            _ => network,
        };
        IpNetwork::new(canonical.network(), canonical.prefix()).map(Self).map_err(|_| error())
    }
}

impl TryFrom<String> for AddressRange {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(address) => fmt::Display::fmt(&address, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_only_their_own_addresses() {
        let cases = [
            // range, printed, inside, outside
            ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.168.4.0/255.255.255.0", "192.168.4.0/24", "192.168.4.9", "192.168.5.9"),
            ("0.0.0.0/0", "0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::1", "::1", "::1", "127.0.0.1"),
            ("2001:db8::/32", "2001:db8::/32", "2001:db8:1::5", "2001:db9::5"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.9.9.9", "::ffff:11.0.0.1"),
            ("::ffff:192.0.2.7", "192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"),
            ("::/0", "::/0", "2001:db8::1", "192.0.2.1"),
        ];
        for (text, printed, inside, outside) in cases {
            let range: AddressRange = text.parse().unwrap();
            assert_eq!(range.to_string(), printed);
            assert!(range.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!range.contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/255.0.255.0",
            "10.0.0.0/8/8",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text:?}");
        }
    }
}
