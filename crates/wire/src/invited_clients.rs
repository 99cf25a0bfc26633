//! The invited clients and the addresses from which they may connect. Implements the checks of
//! `docs/protocol.md` §3.4, §10 and §11.1 that come before any cryptography.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{AddressRange, Encoding, PeerName, hex, sealed};

/// The secrets of one link, in the encoding that its invitation pins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// The secrets of a link of the `sealed` encoding.
    Sealed(Arc<sealed::Credentials>),
    /// The secrets of a link of the `hex` encoding.
    Hex(Arc<hex::Credentials>),
}

impl Credentials {
    /// Returns the link's encoding.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Sealed(_) => Encoding::Sealed,
            Self::Hex(_) => Encoding::Hex,
        }
    }
}

/// A client that this service has invited.
#[derive(Clone, Debug)]
pub struct InvitedClient {
    /// The client's name.
    pub name: PeerName,
    /// The addresses from which it may connect.
    pub range: AddressRange,
    /// The secrets that authenticate it.
    pub credentials: Credentials,
}

/// All clients that a service has invited, found by their addresses.
#[derive(Clone, Debug, Default)]
pub struct InvitedClients {
    expected: Vec<InvitedClient>,
    /// Indices of the clients with a single address, by that address.
    at: HashMap<IpAddr, Vec<usize>>,
    /// Indices of the clients with a whole network.
    within: Vec<usize>,
}

/// The clients of one encoding that may have opened a connection, each with the secrets to try.
#[derive(Clone, Debug)]
pub struct Candidates<'a, C> {
    names: Vec<&'a PeerName>,
    credentials: Vec<&'a Arc<C>>,
}

impl InvitedClients {
    /// Makes the set of these clients.
    #[must_use]
    pub fn new(expected: Vec<InvitedClient>) -> Self {
        let mut clients = Self { expected, ..Self::default() };
        for (index, client) in clients.expected.iter().enumerate() {
            match client.range.single() {
                Some(address) => clients.at.entry(address).or_default().push(index),
                None => clients.within.push(index),
            }
        }
        clients
    }

    /// Returns whether any client may connect from `address`.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.from(address).next().is_some()
    }

    /// Returns whether any client of this `encoding` may connect from `address`.
    #[must_use]
    pub fn admits_in(&self, encoding: Encoding, address: IpAddr) -> bool {
        self.from(address).any(|client| client.credentials.encoding() == encoding)
    }

    /// Returns the clients of the `sealed` encoding that may connect from `address`.
    #[must_use]
    pub fn sealed_candidates(&self, address: IpAddr) -> Candidates<'_, sealed::Credentials> {
        self.candidates(address, |credentials| match credentials {
            Credentials::Sealed(secrets) => Some(secrets),
            Credentials::Hex(_) => None,
        })
    }

    /// Returns the clients of the `hex` encoding that may connect from `address`.
    #[must_use]
    pub fn hex_candidates(&self, address: IpAddr) -> Candidates<'_, hex::Credentials> {
        self.candidates(address, |credentials| match credentials {
            Credentials::Hex(secrets) => Some(secrets),
            Credentials::Sealed(_) => None,
        })
    }

    fn candidates<C>(
        &self,
        address: IpAddr,
        secrets: impl Fn(&Credentials) -> Option<&Arc<C>>,
    ) -> Candidates<'_, C> {
        let clients = self.from(address);
        let (names, credentials) = clients
            .filter_map(|client| Some((&client.name, secrets(&client.credentials)?)))
            .unzip();
        Candidates { names, credentials }
    }

    fn from(&self, address: IpAddr) -> impl Iterator<Item = &InvitedClient> {
        let address = address.to_canonical();
        let alone = self.at.get(&address).into_iter().flatten();
        let alone = alone.map(|index| &self.expected[*index]);
        let within = self.within.iter().map(|index| &self.expected[*index]);
        alone.chain(within.filter(move |client| client.range.contains(address)))
    }
}

impl<'a, C> Candidates<'a, C> {
    /// Returns the secrets to try, in a fixed order.
    pub fn credentials(&self) -> impl ExactSizeIterator<Item = &'a Arc<C>> {
        self.credentials.iter().copied()
    }

    /// Returns the name of the candidate at `index` of [`credentials`](Self::credentials).
    #[must_use]
    pub fn name(&self, index: usize) -> &'a PeerName {
        self.names[index]
    }
}

#[cfg(test)]
mod tests {
    use paddington_crypto::KeyPair;

    use super::*;

    fn expected(name: &str, range: &str, encoding: Encoding) -> InvitedClient {
        let (name, keys): (PeerName, _) = (name.parse().unwrap(), KeyPair::generate().unwrap());
        let credentials = match encoding {
            Encoding::Sealed => Credentials::Sealed(Arc::new(sealed::Credentials::new(
                &"server".parse().unwrap(),
                &name,
                &keys,
            ))),
            Encoding::Hex => Credentials::Hex(Arc::new(hex::Credentials::new(Arc::new(keys)))),
        };
        InvitedClient { name, range: range.parse().unwrap(), credentials }
    }

    fn names<'a, C>(candidates: &Candidates<'a, C>) -> Vec<&'a str> {
        candidates.names.iter().map(|name| name.as_str()).collect()
    }

    #[test]
    fn only_clients_whose_range_contains_the_address_are_candidates() {
        let clients = InvitedClients::new(vec![
            expected("a", "10.0.0.0/8", Encoding::Sealed),
            expected("b", "10.1.0.0/16", Encoding::Sealed),
            expected("c", "10.1.0.0/16", Encoding::Hex),
            expected("d", "2001:db8::/32", Encoding::Sealed),
            expected("e", "10.1.0.1", Encoding::Hex),
            expected("f", "10.1.0.1/32", Encoding::Sealed),
            expected("g", "2001:db8::9", Encoding::Hex),
        ]);
        let cases: [(&str, &[&str], &[&str]); 6] = [
            ("10.1.0.2", &["a", "b"], &["c"]),
            ("10.2.0.1", &["a"], &[]),
            ("10.1.0.1", &["f", "a", "b"], &["e", "c"]),
            ("::ffff:10.1.0.1", &["f", "a", "b"], &["e", "c"]),
            ("2001:db8::9", &["d"], &["g"]),
            ("192.0.2.1", &[], &[]),
        ];
        for (address, sealed, hex) in cases {
            let address = address.parse().unwrap();
            assert_eq!(names(&clients.sealed_candidates(address)), sealed);
            assert_eq!(names(&clients.hex_candidates(address)), hex);
            assert_eq!(clients.admits(address), !sealed.is_empty() || !hex.is_empty());
            assert_eq!(clients.admits_in(Encoding::Hex, address), !hex.is_empty());
            assert_eq!(clients.admits_in(Encoding::Sealed, address), !sealed.is_empty());
        }
    }
}
