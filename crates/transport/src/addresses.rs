//! The order in which the addresses of a server are tried.

use std::net::SocketAddr;

use crate::{DialError, ProxyError};

/// What earlier attempts have shown about the addresses of one server. An address that accepts
/// connections and then does not answer as the server does is *doubted*, and tried last.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// The doubted addresses, in the order of their last failures.
    doubted: Vec<SocketAddr>,
    /// The number of addresses that are not doubted.
    good: usize,
    /// The address that the latest attempt has opened a connection to.
    connected: Option<SocketAddr>,
}

/// The addresses of one attempt, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) addresses: Vec<SocketAddr>,
    /// The index of the first doubted one.
    pub(crate) doubted: usize,
}

impl Addresses {
    /// Begins an attempt. Addresses that the name no longer has are forgotten.
    pub(crate) fn begin(&mut self, resolved: Vec<SocketAddr>) -> Order {
        self.doubted.retain(|address| resolved.contains(address));
        let good = resolved.into_iter().filter(|address| !self.doubted.contains(address));
        let mut addresses = interleave(good.collect());
        self.good = addresses.len();
        self.connected = None;
        addresses.extend_from_slice(&self.doubted);
        Order { addresses, doubted: self.good }
    }

    /// Notes the address that a connection was opened to.
    pub(crate) fn connected_to(&mut self, address: SocketAddr) {
        self.connected = Some(address);
    }

    /// Ends an attempt that has led to a session.
    pub(crate) fn succeeded(&mut self) {
        self.doubted.retain(|address| Some(*address) != self.connected);
    }

    /// Ends an attempt that has failed.
    pub(crate) fn failed(&mut self, error: &DialError) {
        let Some(address) = self.connected.filter(|_| doubts_address(error)) else { return };
        if !self.doubted.contains(&address) {
            self.good = self.good.saturating_sub(1);
        }
        self.doubted.retain(|doubted| *doubted != address);
        self.doubted.push(address);
    }

    /// Returns the address that the latest attempt has opened a connection to.
    pub(crate) fn connected(&self) -> Option<SocketAddr> {
        self.connected
    }

    /// Returns whether there are addresses that are not doubted.
    pub(crate) fn has_good(&self) -> bool {
        self.good > 0
    }
}

/// Returns whether something else than the server may listen at the address.
fn doubts_address(error: &DialError) -> bool {
    match error {
        DialError::Resolve { .. }
        | DialError::Connect { .. }
        | DialError::Proxy {
            source: ProxyError::Resolve(_) | ProxyError::Connect { .. }, ..
        }
        | DialError::Transmit(_)
        | DialError::Refused(_)
        | DialError::NoKeys
        | DialError::NotNow
        | DialError::Superseded => false,
        // A proxy is doubted for its own failures, and for a server that is not what it should be.
        DialError::Proxy { source, .. } => !source.is_refusal(),
        DialError::Tls(_)
        | DialError::Upgrade(_)
        | DialError::Timeout(_)
        | DialError::HungUp(_)
        | DialError::HungUpLate(..)
        | DialError::Handshake(_) => true,
    }
}

/// Alternates between the address families, in the resolver's order within each (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use paddington_wire::CloseCode;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn address_families_alternate() {
        assert_eq!(
            interleave(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"])),
            addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
        );
        assert_eq!(interleave(addresses(&["1.1.1.1:1"])), addresses(&["1.1.1.1:1"]));
        assert!(interleave(Vec::new()).is_empty());
    }

    #[test]
    fn a_doubted_address_is_tried_last_until_it_is_the_server_again() {
        let all = addresses(&["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]);
        let late = DialError::Timeout(crate::Step::Answer);
        let mut known = Addresses::default();
        let order = |known: &mut Addresses| {
            let order = known.begin(all.clone());
            let texts: Vec<_> = order.addresses.iter().map(ToString::to_string).collect();
            (texts.concat(), order.doubted)
        };
        assert_eq!(order(&mut known), ("1.1.1.1:12.2.2.2:13.3.3.3:1".to_owned(), 3));
        known.connected_to(all[0]);
        known.failed(&late);
        assert!(known.has_good());
        assert_eq!(order(&mut known), ("2.2.2.2:13.3.3.3:11.1.1.1:1".to_owned(), 2));
        known.failed(&late); // no connection was opened
        known.connected_to(all[1]);
        known.failed(&DialError::Refused(CloseCode::Busy)); // it is the server
        known.failed(&late);
        known.failed(&late);
        assert!(known.has_good());
        assert_eq!(order(&mut known), ("3.3.3.3:11.1.1.1:12.2.2.2:1".to_owned(), 1));
        known.connected_to(all[2]);
        known.failed(&late);
        assert!(!known.has_good());
        assert_eq!(order(&mut known), ("1.1.1.1:12.2.2.2:13.3.3.3:1".to_owned(), 0));
        known.connected_to(all[1]);
        known.succeeded();
        assert_eq!(order(&mut known), ("2.2.2.2:11.1.1.1:13.3.3.3:1".to_owned(), 1));
        assert_eq!(known.begin(all[..1].to_vec()).addresses, all[..1]);
        assert_eq!(known.doubted.len(), 1, "the others are forgotten");
    }
}
