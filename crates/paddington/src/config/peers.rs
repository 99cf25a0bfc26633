//! The peers of a configuration: how they are added, changed and removed.
//!
//! Each change is planned first, which changes nothing, then made durable, and then takes effect. A
//! running service makes the same plans.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use paddington_crypto::KeyPair;
use paddington_transport::{Endpoint, Fallbacks};
use paddington_wire::keys::{Generation, KeyRing, Origin};
use paddington_wire::{AddressRange, Encoding, LinkId, PeerName};

use super::{ConfigError, ServiceConfig};
use crate::known::{KnownClient, KnownPeer, KnownServer};
use crate::links::{Keys, PeerRole};
use crate::timestamp::Timestamp;
use crate::{Invite, InviteOptions};

/// A link, as a configuration knows it. What it does at the moment is in
/// [`PeerStatus`](crate::PeerStatus).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkDetails {
    /// The peer's name.
    pub name: String,
    /// What the peer is.
    pub role: PeerRole,
    /// The link's identity, which stays when its keys change.
    pub link: LinkId,
    /// The link's encoding.
    pub encoding: Encoding,
    /// Of a client: the addresses from which it may connect.
    pub range: Option<AddressRange>,
    /// Of a server: where it is reached.
    pub url: Option<Endpoint>,
    /// Of a server: further URLs, which are tried when that one fails.
    pub fallback_urls: Vec<Endpoint>,
    /// Of a server: the file with the only certificate authorities that are trusted, if there is one.
    pub authorities: Option<PathBuf>,
    /// The number of the generation of keys in use; `None` if there was no contact yet, or generations
    /// are not counted.
    pub generation: Option<u64>,
    /// Since when this side has the keys in use.
    pub since: Option<SystemTime>,
    /// The number of the generation that was agreed on and is used from the next connection on, if there
    /// is one.
    pub next: Option<u64>,
    /// The invitation that waits to be used, if there is one.
    pub invitation: Option<InvitationDetails>,
    /// Why the keys stay as they were handed over, if they do.
    pub fixed: Option<FixedKeys>,
}

/// An invitation that was not used yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvitationDetails {
    /// The number of the generation of its keys.
    pub generation: u64,
    /// When it is void, at the server; `None` for never.
    pub expires: Option<SystemTime>,
}

/// Why the keys of a link are neither renewed nor burned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FixedKeys {
    /// The link is a `hex` link.
    Hex,
    /// The configuration has no folder of links, in which new keys could be stored.
    NoFolder,
    /// The peer, which is connected, has no place for new keys.
    Peer,
}

impl ServiceConfig {
    /// Invites a client to connect from an address or a range of addresses. The invitation is for
    /// the client's operator; its keys are stored nowhere else but in this configuration.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let invite = hub.add_client("sensor", "192.0.2.0/24")?;
    /// assert_eq!((invite.name(), invite.client()), ("hub", Some("sensor")));
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the name or the range is not valid, or the name is known already.
    pub fn add_client(&mut self, name: &str, range: &str) -> Result<Invite, ConfigError> {
        self.add_client_with(name, range, InviteOptions::default())
    }

    /// As [`add_client`](Self::add_client), with another encoding, `hex` for a client that runs the
    /// original paddington, or other [`InviteOptions`].
    ///
    /// ```
    /// use paddington::{Encoding, ServiceConfig};
    ///
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let invite = hub.add_client_with("sensor", "192.0.2.7", Encoding::Hex)?;
    /// assert_eq!(invite.encoding(), Encoding::Hex);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add_client`](Self::add_client).
    pub fn add_client_with(
        &mut self,
        name: &str,
        range: &str,
        options: impl Into<InviteOptions>,
    ) -> Result<Invite, ConfigError> {
        let options = options.into();
        self.change(name, |config| config.plan_client(name, range, options, Timestamp::now()))
    }

    /// Accepts an invitation: this service will connect to the server that wrote it.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let mut sensor = ServiceConfig::new("sensor", "ws://localhost:6502", "127.0.0.1", &6502)?;
    /// sensor.add_server(hub.add_client("sensor", "192.0.2.0/24")?)?;
    /// assert_eq!(sensor.peers().collect::<Vec<_>>(), ["hub"]);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it was made for another service, or its server is known already.
    pub fn add_server(&mut self, invite: Invite) -> Result<(), ConfigError> {
        self.add_server_with(invite, None)
    }

    /// As [`add_server`](Self::add_server), but for `wss`, only the certificate authorities in the
    /// PEM file `authorities` are trusted.
    ///
    /// # Errors
    ///
    /// As [`add_server`](Self::add_server).
    pub fn add_server_with(
        &mut self,
        invite: Invite,
        authorities: Option<PathBuf>,
    ) -> Result<(), ConfigError> {
        let name = invite.server.clone();
        self.change(name.as_str(), |config| {
            Ok((config.plan_server(invite, authorities, Timestamp::now())?, ()))
        })
    }

    /// Removes a peer. Its invitation is void as soon as the services that run know it.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.add_client("sensor", "192.0.2.0/24")?;
    /// hub.remove("sensor")?;
    /// assert_eq!(hub.peers().count(), 0);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is not known, or the folder of links cannot be changed.
    pub fn remove(&mut self, name: &str) -> Result<(), ConfigError> {
        let folder = self.open(name)?;
        let peer = self.known_peer(name)?;
        folder.forget(peer.name(), peer.link())?;
        self.known_mut().remove(peer.name());
        Ok(())
    }

    /// Writes a new invitation for a client that is known. It is still the same link, and what waits
    /// for the client stays. The keys that it has work until the new ones are first used, for 24 hours
    /// at most; those of a `hex` link end at once.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let mut sensor = ServiceConfig::new("sensor", "ws://localhost:6502", "127.0.0.1", &6502)?;
    /// sensor.add_server(hub.add_client("sensor", "192.0.2.0/24")?)?;
    /// sensor.replace_server(hub.renew("sensor")?)?;
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is not a client that is known, or the folder of links cannot be changed.
    pub fn renew(&mut self, name: &str) -> Result<Invite, ConfigError> {
        self.renew_for(name, None)
    }

    /// As [`renew`](Self::renew), with an invitation that is good for `lifetime` if it is not used:
    /// zero for ever, and `None` for as long as the setting `invitation_lifetime` says.
    ///
    /// # Errors
    ///
    /// As [`renew`](Self::renew).
    pub fn renew_for(
        &mut self,
        name: &str,
        lifetime: Option<Duration>,
    ) -> Result<Invite, ConfigError> {
        self.change(name, |config| config.plan_renewal(name, lifetime, Timestamp::now()))
    }

    /// Accepts a new invitation from a server that is known, which replaces the keys of the same link.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if its server is not known, it is not for the same link, or is the one that
    /// was accepted before.
    pub fn replace_server(&mut self, invite: Invite) -> Result<(), ConfigError> {
        let name = invite.server.clone();
        self.change(name.as_str(), |config| {
            Ok((config.plan_replacement(invite, Timestamp::now())?, ()))
        })
    }

    /// Changes the addresses from which a client may connect.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the range is not valid, or it is not a client that is known.
    pub fn set_range(&mut self, name: &str, range: &str) -> Result<(), ConfigError> {
        let range = range.parse()?;
        self.change(name, |config| Ok((config.plan_range(name, range)?, ())))
    }

    /// Changes the link with a peer to what is planned, as it is in the folder of links by now.
    fn change<T>(
        &mut self,
        name: &str,
        plan: impl FnOnce(&Self) -> Result<(KnownPeer, T), ConfigError>,
    ) -> Result<T, ConfigError> {
        let folder = self.open(name)?;
        let (peer, result) = plan(self)?;
        folder.keep(&peer)?;
        self.known_mut().replace(peer);
        Ok(result)
    }

    /// Returns the names of all peers: clients first, then servers.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.add_client("attic", "192.0.2.7")?;
    /// hub.add_client("cellar", "192.0.2.8")?;
    /// assert_eq!(hub.peers().collect::<Vec<_>>(), ["attic", "cellar"]);
    /// # Ok::<(), paddington::ConfigError>(())
    /// ```
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        let clients = self.known.clients.iter().map(|client| &client.name);
        clients.chain(self.known.servers.iter().map(|server| &server.name)).map(PeerName::as_str)
    }

    /// Returns the details of all links: those with clients first.
    #[must_use]
    pub fn link_details(&self) -> Vec<LinkDetails> {
        self.known.peers().map(|peer| self.details(&peer)).collect()
    }

    pub(crate) fn details(&self, peer: &KnownPeer) -> LinkDetails {
        let (range, url, fallbacks) = match peer {
            KnownPeer::Client(client) => (Some(client.range), None, Fallbacks::default()),
            KnownPeer::Server(server) => (None, Some(server.url.clone()), server.fallbacks.clone()),
        };
        let ring = match peer.keys() {
            Keys::Hex(_) => None,
            Keys::Sealed(ring) => Some(&**ring),
        };
        let generations = ring.map(KeyRing::generations).unwrap_or_default();
        let is_used = |it: &&Generation| it.is_used() || it.origin() == Origin::Agreed;
        let used = generations.first().filter(is_used);
        let waits = |origin| move |it: &&Generation| !it.is_used() && it.origin() == origin;
        let time = |seconds| SystemTime::from(Timestamp::from_seconds(seconds));
        LinkDetails {
            name: peer.name().to_string(),
            role: peer.role(),
            link: peer.link(),
            encoding: peer.keys().encoding(),
            range,
            url,
            fallback_urls: fallbacks.into(),
            authorities: match peer {
                KnownPeer::Client(_) => None,
                KnownPeer::Server(server) => server.authorities.clone(),
            },
            generation: used.map(Generation::number),
            since: used.map(|used| time(used.since())),
            next: used.and_then(|used| {
                let agreed = generations.iter().rev().find(waits(Origin::Agreed));
                agreed.map(Generation::number).filter(|number| *number > used.number())
            }),
            invitation: generations.iter().rev().find(waits(Origin::HandedOver)).map(|it| {
                InvitationDetails {
                    generation: it.number(),
                    expires: it.expiry().moment().map(time),
                }
            }),
            fixed: match (ring, self.keeps_links()) {
                (None, _) => Some(FixedKeys::Hex),
                (Some(_), false) => Some(FixedKeys::NoFolder),
                (Some(_), true) => None,
            },
        }
    }

    // The plans of changes, which change nothing.

    pub(crate) fn plan_client(
        &self,
        name: &str,
        range: &str,
        options: InviteOptions,
        now: Timestamp,
    ) -> Result<(KnownPeer, Invite), ConfigError> {
        let InviteOptions { encoding, lifetime } = options;
        let name: PeerName = name.parse()?;
        let range = range.parse()?;
        self.check_new(&name)?;
        let keys_error = |source| ConfigError::Keys { peer: name.clone(), source };
        let pair = Arc::new(KeyPair::generate().map_err(keys_error)?);
        // The original drops the query.
        let bucket = match encoding {
            Encoding::Hex => None,
            _ => Some(self.known.buckets.choose().map_err(keys_error)?),
        };
        let expires = self.expiry(lifetime, now).filter(|_| encoding != Encoding::Hex);
        let keys = Keys::begin(encoding, [&self.name, &name], 0, Arc::clone(&pair), expires, now);
        let link = LinkId::of(&self.name, &name, &pair);
        let client = KnownClient { name, range, bucket, link, keys };
        let invite = Invite { expires, ..self.invitation(&client, encoding, pair) };
        Ok((KnownPeer::Client(client), invite))
    }

    /// The invitation of a client, which begins its link.
    fn invitation(&self, client: &KnownClient, encoding: Encoding, keys: Arc<KeyPair>) -> Invite {
        let told = |url: Endpoint| match client.bucket {
            Some(bucket) => url.with_bucket(bucket),
            None => url,
        };
        Invite {
            server: self.name.clone(),
            url: told(self.url.clone()),
            fallbacks: self.fallbacks.clone().map(told),
            client: Some(client.name.clone()),
            encoding,
            keys,
            link: None,
            generation: 0,
            expires: None,
            source: None,
        }
    }

    /// The end of an invitation that is written now.
    fn expiry(&self, lifetime: Option<Duration>, now: Timestamp) -> Option<Timestamp> {
        let lifetime = lifetime.unwrap_or(self.settings.invitation_lifetime);
        let ends = self.keeps_links() && !lifetime.is_zero();
        ends.then(|| now.after(lifetime))
    }

    pub(crate) fn plan_server(
        &self,
        invite: Invite,
        authorities: Option<PathBuf>,
        now: Timestamp,
    ) -> Result<KnownPeer, ConfigError> {
        self.check_invited(&invite)?;
        self.check_new(&invite.server)?;
        if let Some(other) = self.known.owner_of(&invite.keys) {
            let peers = [other.clone(), invite.server];
            return Err(ConfigError::SharedKey { peers });
        }
        let link = invite.link_of(&self.name);
        let Invite { server: name, url, fallbacks, encoding, keys, generation, source, .. } =
            invite;
        let keys = Keys::begin(encoding, [&name, &self.name], generation, keys, None, now);
        Ok(KnownPeer::Server(KnownServer { name, url, fallbacks, authorities, link, keys, source }))
    }

    pub(crate) fn plan_renewal(
        &self,
        name: &str,
        lifetime: Option<Duration>,
        now: Timestamp,
    ) -> Result<(KnownPeer, Invite), ConfigError> {
        let KnownPeer::Client(mut client) = self.known_peer(name)? else {
            return Err(ConfigError::NotAClient(name.parse()?));
        };
        let keys_error = |source| ConfigError::Keys { peer: client.name.clone(), source };
        let pair = Arc::new(KeyPair::generate().map_err(keys_error)?);
        let encoding = client.keys.encoding();
        let mut invite = self.invitation(&client, encoding, Arc::clone(&pair));
        match &mut client.keys {
            Keys::Hex(keys) => *keys = pair,
            Keys::Sealed(ring) => {
                let expires = self.expiry(lifetime, now);
                let end = expires.map(Timestamp::seconds);
                let next = ring.invite(pair, end, now.seconds());
                let ring_error = |source| ConfigError::Ring { peer: client.name.clone(), source };
                *ring = Arc::new(next.map_err(ring_error)?);
                invite.generation = ring.generations().last().map_or(0, Generation::number);
                (invite.link, invite.expires) = (Some(client.link), expires);
            }
        }
        Ok((KnownPeer::Client(client), invite))
    }

    pub(crate) fn plan_replacement(
        &self,
        invite: Invite,
        now: Timestamp,
    ) -> Result<KnownPeer, ConfigError> {
        self.check_invited(&invite)?;
        let name = invite.server.clone();
        let KnownPeer::Server(mut server) = self.known_peer(name.as_str())? else {
            return Err(ConfigError::NotAServer(name));
        };
        if let Some(other) = self.known.owner_of(&invite.keys).filter(|other| **other != name) {
            return Err(ConfigError::SharedKey { peers: [other.clone(), name] });
        }
        let is_same = invite.encoding == server.keys.encoding()
            && (invite.encoding == Encoding::Hex || invite.link_of(&self.name) == server.link);
        if !is_same {
            return Err(ConfigError::OtherLink(name));
        }
        match &mut server.keys {
            Keys::Hex(keys) if *keys == invite.keys => {
                return Err(ConfigError::SeenInvitation(name));
            }
            Keys::Hex(keys) => *keys = invite.keys,
            Keys::Sealed(ring) => {
                let next = ring.accept(invite.keys, invite.generation, now.seconds());
                *ring = Arc::new(next.ok_or(ConfigError::SeenInvitation(name))?);
            }
        }
        (server.url, server.fallbacks, server.source) =
            (invite.url, invite.fallbacks, invite.source);
        Ok(KnownPeer::Server(server))
    }

    pub(crate) fn plan_range(
        &self,
        name: &str,
        range: AddressRange,
    ) -> Result<KnownPeer, ConfigError> {
        match self.known_peer(name)? {
            KnownPeer::Client(client) => Ok(KnownPeer::Client(KnownClient { range, ..client })),
            KnownPeer::Server(server) => Err(ConfigError::NotAClient(server.name)),
        }
    }

    pub(crate) fn known_peer(&self, name: &str) -> Result<KnownPeer, ConfigError> {
        let name: PeerName = name.parse()?;
        self.known.peer(&name).ok_or(ConfigError::Unknown(name))
    }

    fn check_invited(&self, invite: &Invite) -> Result<(), ConfigError> {
        match &invite.client {
            Some(invited) if *invited != self.name => {
                Err(ConfigError::NotInvited { invited: invited.clone(), own: self.name.clone() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_new(&self, name: &PeerName) -> Result<(), ConfigError> {
        self.check_other(name)?;
        if self.known.knows(name) {
            return Err(ConfigError::Duplicate(name.clone()));
        }
        Ok(())
    }

    pub(super) fn check_other(&self, name: &PeerName) -> Result<(), ConfigError> {
        if *name == self.name { Err(ConfigError::Own(name.clone())) } else { Ok(()) }
    }
}
