//! The invited clients and the addresses from which they may connect. Implements the checks of
//! `docs/protocol.md` §3.4, §10 and §11.1 that come before any cryptography.
//!
//! Clients come, change and go while others connect, each in a time that does not grow with their
//! number.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::address_set::AddressSet;
use crate::{AddressRange, Bucket, Encoding, KeysId, LinkId, PeerName, hex, sealed};

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

    /// Returns the identity of the keys that the secrets come from.
    #[must_use]
    pub fn keys_id(&self) -> KeysId {
        match self {
            Self::Sealed(secrets) => secrets.keys_id(),
            Self::Hex(secrets) => secrets.keys_id(),
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

/// All clients that a service has invited, found by their links, and by their buckets and addresses.
///
/// ```
/// use std::sync::Arc;
///
/// use paddington_crypto::KeyPair;
/// use paddington_wire::{Credentials, InvitedClient, InvitedClients, LinkId, sealed};
///
/// let (server, name, keys) = ("hub".parse()?, "sensor".parse()?, KeyPair::generate()?);
/// let link = LinkId::of(&server, &name, &keys);
/// let secrets = sealed::Credentials::new(&server, &name, &keys);
/// let clients = InvitedClients::default();
/// clients.add(InvitedClient {
///     link,
///     name,
///     range: "10.0.0.0/8".parse()?,
///     bucket: None,
///     credentials: Credentials::Sealed(Arc::new(secrets)),
/// });
/// assert!(clients.admits("10.1.2.3".parse()?));
/// clients.remove(link);
/// assert!(!clients.admits("10.1.2.3".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct InvitedClients {
    index: RwLock<Index>,
}

/// All clients, as they are found.
#[derive(Debug, Default)]
struct Index {
    /// Number of clients that were ever added.
    added: Number,
    links: BTreeMap<LinkId, (Number, Arc<InvitedClient>)>,
    sealed: Clients,
    hex: Clients,
}

/// The number of a client: a later one has a higher number.
type Number = u64;

/// Clients, in the order in which they were added.
type Group = BTreeMap<Number, Arc<InvitedClient>>;

/// The clients of one encoding.
#[derive(Debug, Default)]
struct Clients {
    /// The ranges of all of them.
    ranges: AddressSet,
    /// Those that have a bucket, by it.
    buckets: HashMap<Bucket, Group>,
    /// Those without a bucket that have a single address, by it.
    at: HashMap<IpAddr, Group>,
    /// Those without a bucket that have a whole network.
    within: Group,
}

/// The clients of one encoding that may have opened a connection, each with the secrets to try.
#[derive(Debug)]
pub struct Candidates<C> {
    found: Vec<(Arc<InvitedClient>, Arc<C>)>,
}

impl InvitedClients {
    /// Makes the set of these clients. Of several with the same link, the first one counts.
    #[must_use]
    pub fn new(invited: Vec<InvitedClient>) -> Self {
        let clients = Self::default();
        for client in invited {
            clients.add(client);
        }
        clients
    }

    /// Adds a client. Returns whether its link was not there; nothing changes otherwise.
    pub fn add(&self, client: InvitedClient) -> bool {
        let mut index = self.write();
        if index.links.contains_key(&client.link) {
            return false;
        }
        index.added += 1;
        let number = index.added;
        index.insert(number, client);
        true
    }

    /// Removes the client of this link, and returns it if it was there.
    pub fn remove(&self, link: LinkId) -> Option<Arc<InvitedClient>> {
        self.write().remove(link).map(|(_, client)| client)
    }

    /// Changes the client of this link in one step. Returns whether it is there. It keeps its link.
    pub fn change(&self, link: LinkId, change: impl FnOnce(&mut InvitedClient)) -> bool {
        let mut index = self.write();
        let Some((number, client)) = index.remove(link) else { return false };
        let mut changed = (*client).clone();
        change(&mut changed);
        index.insert(number, InvitedClient { link, ..changed });
        true
    }

    /// Returns the client of this link.
    #[must_use]
    pub fn get(&self, link: LinkId) -> Option<Arc<InvitedClient>> {
        self.read().links.get(&link).map(|(_, client)| Arc::clone(client))
    }

    /// Returns whether a client is still there, and has not been changed since it was found.
    #[must_use]
    pub fn is_current(&self, client: &Arc<InvitedClient>) -> bool {
        let index = self.read();
        index.links.get(&client.link).is_some_and(|(_, known)| Arc::ptr_eq(known, client))
    }

    /// Returns whether any client may connect from `address`.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let index = self.read();
        index.sealed.ranges.contains(address) || index.hex.ranges.contains(address)
    }

    /// Returns whether any client of this `encoding` may connect from `address`.
    #[must_use]
    pub fn admits_in(&self, encoding: Encoding, address: IpAddr) -> bool {
        let index = self.read();
        match encoding {
            Encoding::Sealed => index.sealed.ranges.contains(address),
            Encoding::Hex => index.hex.ranges.contains(address),
        }
    }

    /// Returns the clients of the `sealed` encoding that may connect from `address` and ask for
    /// `bucket`; `None` finds those that have no bucket.
    #[must_use]
    pub fn sealed_candidates(
        &self,
        address: IpAddr,
        bucket: Option<Bucket>,
    ) -> Candidates<sealed::Credentials> {
        self.read().sealed.candidates(address, bucket, |credentials| match credentials {
            Credentials::Sealed(secrets) => Some(Arc::clone(secrets)),
            Credentials::Hex(_) => None,
        })
    }

    /// Returns the clients of the `hex` encoding that may connect from `address`.
    #[must_use]
    pub fn hex_candidates(&self, address: IpAddr) -> Candidates<hex::Credentials> {
        self.read().hex.candidates(address, None, |credentials| match credentials {
            Credentials::Hex(secrets) => Some(Arc::clone(secrets)),
            Credentials::Sealed(_) => None,
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn insert(&mut self, number: Number, client: InvitedClient) {
        let client = Arc::new(client);
        self.links.insert(client.link, (number, Arc::clone(&client)));
        self.of(client.credentials.encoding()).insert(number, client);
    }

    fn remove(&mut self, link: LinkId) -> Option<(Number, Arc<InvitedClient>)> {
        let (number, client) = self.links.remove(&link)?;
        self.of(client.credentials.encoding()).remove(number, &client);
        Some((number, client))
    }

    fn of(&mut self, encoding: Encoding) -> &mut Clients {
        match encoding {
            Encoding::Sealed => &mut self.sealed,
            Encoding::Hex => &mut self.hex,
        }
    }
}

impl Clients {
    fn insert(&mut self, number: Number, client: Arc<InvitedClient>) {
        self.ranges.insert(client.range);
        let group = match (client.bucket, client.range.single()) {
            (Some(bucket), _) => self.buckets.entry(bucket).or_default(),
            (None, Some(address)) => self.at.entry(address).or_default(),
            (None, None) => &mut self.within,
        };
        group.insert(number, client);
    }

    fn remove(&mut self, number: Number, client: &InvitedClient) {
        self.ranges.remove(client.range);
        match (client.bucket, client.range.single()) {
            (Some(bucket), _) => remove_from(&mut self.buckets, &bucket, number),
            (None, Some(address)) => remove_from(&mut self.at, &address, number),
            (None, None) => {
                self.within.remove(&number);
            }
        }
    }

    fn candidates<C>(
        &self,
        address: IpAddr,
        bucket: Option<Bucket>,
        secrets: impl Fn(&Credentials) -> Option<Arc<C>>,
    ) -> Candidates<C> {
        let (alone, within) = self.group(address.to_canonical(), bucket);
        let within = within.into_iter().flat_map(Group::values);
        let within = within.filter(|client| client.range.contains(address));
        let alone = alone.into_iter().flat_map(Group::values);
        let found = alone
            .chain(within)
            .filter_map(|client| Some((Arc::clone(client), secrets(&client.credentials)?)));
        Candidates { found: found.collect() }
    }

    /// Returns those that may connect from `address`, and those whose range has to be looked at.
    fn group(&self, address: IpAddr, bucket: Option<Bucket>) -> (Option<&Group>, Option<&Group>) {
        match bucket {
            Some(bucket) => (None, self.buckets.get(&bucket)),
            None => (self.at.get(&address), Some(&self.within)),
        }
    }
}

/// Removes a client from its group, and the group with its last one.
fn remove_from<K: Eq + Hash>(groups: &mut HashMap<K, Group>, key: &K, number: Number) {
    if let Some(group) = groups.get_mut(key) {
        group.remove(&number);
        if group.is_empty() {
            groups.remove(key);
        }
    }
}

impl<C> Candidates<C> {
    /// Returns the secrets to try, in a fixed order.
    pub fn credentials(&self) -> impl ExactSizeIterator<Item = &Arc<C>> {
        self.found.iter().map(|(_, secrets)| secrets)
    }

    /// Returns the candidate at `index` of [`credentials`](Self::credentials).
    #[must_use]
    pub fn client(&self, index: usize) -> &Arc<InvitedClient> {
        &self.found[index].0
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

    fn names<C>(candidates: &Candidates<C>) -> Vec<&str> {
        candidates.found.iter().map(|(client, _)| client.name.as_str()).collect()
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

    #[test]
    fn clients_come_change_and_go_and_leave_nothing_behind() {
        let clients = InvitedClients::default();
        let address: IpAddr = "10.1.0.1".parse().unwrap();
        let of = |name, range, bucket: Option<&str>, encoding| InvitedClient {
            bucket: bucket.map(|bucket| bucket.parse().unwrap()),
            ..expected(name, range, encoding)
        };
        let added = [
            of("a", "10.0.0.0/8", None, Encoding::Sealed),
            of("b", "10.0.0.0/8", None, Encoding::Sealed),
            of("c", "10.1.0.1", None, Encoding::Sealed),
            of("d", "10.0.0.0/8", Some("001"), Encoding::Sealed),
            of("e", "10.1.0.1", None, Encoding::Hex),
        ];
        assert!(added.iter().all(|client| clients.add(client.clone())));
        assert!(!clients.add(added[0].clone()), "its link is known");
        assert_eq!(names(&clients.sealed_candidates(address, None)), ["c", "a", "b"]);

        let before = clients.get(added[0].link).unwrap();
        assert!(clients.is_current(&before));
        assert!(clients.change(added[0].link, |client| {
            client.range = "10.2.0.0/16".parse().unwrap();
            client.link = added[1].link;
        }));
        assert!(!clients.is_current(&before));
        assert_eq!(names(&clients.sealed_candidates(address, None)), ["c", "b"]);
        assert_eq!(clients.get(added[0].link).unwrap().name, added[0].name, "it keeps its link");
        let other = "10.2.0.1".parse().unwrap();
        assert_eq!(names(&clients.sealed_candidates(other, None)), ["a", "b"], "and its place");
        assert!(clients.change(added[0].link, |it| it.bucket = added[3].bucket));
        assert_eq!(names(&clients.sealed_candidates(other, added[3].bucket)), ["a", "d"]);

        for client in &added {
            assert!(clients.admits(address));
            assert_eq!(clients.remove(client.link).unwrap().name, client.name);
            assert!(clients.remove(client.link).is_none());
            assert!(!clients.change(client.link, |_| ()));
        }
        assert!(!clients.admits(address) && !clients.admits(other));
        let index = clients.read();
        for left in [&index.sealed, &index.hex] {
            assert!(left.buckets.is_empty() && left.at.is_empty() && left.within.is_empty());
        }
        assert!(index.links.is_empty());
    }

    #[test]
    fn keys_are_known_again_in_either_encoding_and_under_any_name() {
        let keys = Arc::new(KeyPair::generate().unwrap());
        let name = |text: &str| text.parse::<PeerName>().unwrap();
        let sealed = |client| sealed::Credentials::new(&name("server"), &name(client), &keys);
        let ids = [
            Credentials::Sealed(Arc::new(sealed("a"))).keys_id(),
            Credentials::Sealed(Arc::new(sealed("b"))).keys_id(),
            Credentials::Hex(Arc::new(hex::Credentials::new(Arc::clone(&keys)))).keys_id(),
        ];
        assert_eq!(ids, [KeysId::of(&keys); 3]);
        assert_ne!(KeysId::of(&KeyPair::generate().unwrap()), ids[0]);
    }
}
