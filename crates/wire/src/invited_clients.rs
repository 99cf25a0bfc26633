//! The invited clients and the addresses from which they may connect. Implements the checks of
//! `docs/protocol.md` §3.4, §10 and §11.1 that come before any cryptography.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::address_set::AddressSet;
use crate::{AddressRange, Bucket, Encoding, LinkId, PeerName, hex, sealed};

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
    /// The link, whose messages and cursors are its own.
    pub link: LinkId,
    /// The client's name.
    pub name: PeerName,
    /// The addresses from which it may connect.
    pub range: AddressRange,
    /// The group in which it is looked for. Invitations without one, and those of the `hex`
    /// encoding, have none.
    pub bucket: Option<Bucket>,
    /// The secrets that authenticate it.
    pub credentials: Credentials,
}

/// All clients that a service has invited, found by their buckets and addresses.
#[derive(Clone, Debug, Default)]
pub struct InvitedClients {
    invited: Vec<InvitedClient>,
    sealed: Clients,
    hex: Clients,
}

/// The clients of one encoding, as indices of all.
#[derive(Clone, Debug, Default)]
struct Clients {
    /// The ranges of all of them.
    ranges: AddressSet,
    /// Those that have a bucket, by it.
    buckets: HashMap<Bucket, Vec<u32>>,
    /// Those without a bucket that have a single address, by it.
    at: HashMap<IpAddr, Vec<u32>>,
    /// Those without a bucket that have a whole network.
    within: Vec<u32>,
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
    pub fn new(invited: Vec<InvitedClient>) -> Self {
        let mut clients = Self { invited, ..Self::default() };
        for (index, client) in (0..).zip(&clients.invited) {
            match client.credentials.encoding() {
                Encoding::Sealed => clients.sealed.add(index, client),
                Encoding::Hex => clients.hex.add(index, client),
            }
        }
        clients
    }

    /// Returns whether any client may connect from `address`.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.sealed.ranges.contains(address) || self.hex.ranges.contains(address)
    }

    /// Returns whether any client of this `encoding` may connect from `address`.
    #[must_use]
    pub fn admits_in(&self, encoding: Encoding, address: IpAddr) -> bool {
        match encoding {
            Encoding::Sealed => self.sealed.ranges.contains(address),
            Encoding::Hex => self.hex.ranges.contains(address),
        }
    }

    /// Returns the clients of the `sealed` encoding that may connect from `address` and ask for
    /// `bucket`; `None` finds those that have no bucket.
    #[must_use]
    pub fn sealed_candidates(
        &self,
        address: IpAddr,
        bucket: Option<Bucket>,
    ) -> Candidates<'_, sealed::Credentials> {
        self.candidates(&self.sealed, address, bucket, |credentials| match credentials {
            Credentials::Sealed(secrets) => Some(secrets),
            Credentials::Hex(_) => None,
        })
    }

    /// Returns the clients of the `hex` encoding that may connect from `address`.
    #[must_use]
    pub fn hex_candidates(&self, address: IpAddr) -> Candidates<'_, hex::Credentials> {
        self.candidates(&self.hex, address, None, |credentials| match credentials {
            Credentials::Hex(secrets) => Some(secrets),
            Credentials::Sealed(_) => None,
        })
    }

    fn candidates<'a, C>(
        &'a self,
        clients: &'a Clients,
        address: IpAddr,
        bucket: Option<Bucket>,
        secrets: impl Fn(&'a Credentials) -> Option<&'a Arc<C>>,
    ) -> Candidates<'a, C> {
        let (alone, within) = clients.group(address.to_canonical(), bucket);
        let within = within.iter().map(|index| &self.invited[*index as usize]);
        let within = within.filter(|client| client.range.contains(address));
        let alone = alone.iter().map(|index| &self.invited[*index as usize]);
        let (names, credentials) = alone
            .chain(within)
            .filter_map(|client| Some((&client.name, secrets(&client.credentials)?)))
            .unzip();
        Candidates { names, credentials }
    }
}

impl Clients {
    fn add(&mut self, index: u32, client: &InvitedClient) {
        self.ranges.insert(client.range);
        match (client.bucket, client.range.single()) {
            (Some(bucket), _) => self.buckets.entry(bucket).or_default().push(index),
            (None, Some(address)) => self.at.entry(address).or_default().push(index),
            (None, None) => self.within.push(index),
        }
    }

    /// Returns those that may connect from `address`, and those whose range has to be looked at.
    fn group(&self, address: IpAddr, bucket: Option<Bucket>) -> (&[u32], &[u32]) {
        match bucket {
            Some(bucket) => (&[], self.buckets.get(&bucket).map_or(&[], Vec::as_slice)),
            None => (self.at.get(&address).map_or(&[], Vec::as_slice), &self.within),
        }
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
        let link = LinkId::of(&"server".parse().unwrap(), &name, &keys);
        let credentials = match encoding {
            Encoding::Sealed => Credentials::Sealed(Arc::new(sealed::Credentials::new(
                &"server".parse().unwrap(),
                &name,
                &keys,
            ))),
            Encoding::Hex => Credentials::Hex(Arc::new(hex::Credentials::new(Arc::new(keys)))),
        };
        InvitedClient { link, name, range: range.parse().unwrap(), bucket: None, credentials }
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
            assert_eq!(names(&clients.sealed_candidates(address, None)), sealed);
            assert_eq!(names(&clients.hex_candidates(address)), hex);
            assert_eq!(clients.admits(address), !sealed.is_empty() || !hex.is_empty());
            assert_eq!(clients.admits_in(Encoding::Hex, address), !hex.is_empty());
            assert_eq!(clients.admits_in(Encoding::Sealed, address), !sealed.is_empty());
        }
    }
    #[test]
    fn a_client_with_a_bucket_is_a_candidate_there_and_nowhere_else() {
        let bucket = |text: &str| Some(text.parse::<Bucket>().unwrap());
        let within = |name: &str, range: &str, text: &str| InvitedClient {
            bucket: bucket(text),
            ..expected(name, range, Encoding::Sealed)
        };
        let clients = InvitedClients::new(vec![
            within("a", "10.0.0.0/8", "001"),
            within("b", "10.1.0.1", "001"),
            within("c", "10.1.0.1", "002"),
            expected("old", "10.0.0.0/8", Encoding::Sealed),
            expected("older", "10.0.0.0/8", Encoding::Hex),
        ]);
        let cases: [(&str, &str, &[&str]); 5] = [
            ("001", "10.1.0.1", &["a", "b"]),
            ("001", "10.1.0.2", &["a"]),
            ("002", "10.1.0.1", &["c"]),
            ("002", "10.1.0.2", &[]),
            ("003", "10.1.0.1", &[]),
        ];
        for (text, address, expected) in cases {
            let found = clients.sealed_candidates(address.parse().unwrap(), bucket(text));
            assert_eq!(names(&found), expected, "{text} {address}");
        }
        let address = "::ffff:10.1.0.1".parse().unwrap();
        assert_eq!(names(&clients.sealed_candidates(address, None)), ["old"]);
        assert_eq!(names(&clients.hex_candidates(address)), ["older"]);
        assert!(clients.admits_in(Encoding::Sealed, address));
    }
}
