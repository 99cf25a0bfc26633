//! Invitations: the files that a server's operator hands to a client's operator.
//! Implements `docs/protocol.md` §1.1.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use paddington_crypto::{KeyError, KeyPair};
use paddington_transport::{Endpoint, EndpointError, Fallbacks, FallbacksError};
use paddington_wire::keys::LAST_GENERATION;
use paddington_wire::{Encoding, LinkId, PeerName};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::FileError;
use crate::file;
use crate::format::{Form, Identity, InviteFile, KeyTable};
use crate::timestamp::Timestamp;

mod options;
mod sealed;

pub use options::InviteOptions;

/// The version of the `sealed` encoding that this crate speaks.
const VERSION: u32 = 1;

/// Advice for a client whose invitation is missing.
const HINT: &str = ": the server's operator makes it and hands it over";

/// An invitation to a server, made for one client. It holds two keys: whoever has it can pass for
/// that client.
#[derive(Clone, Debug)]
pub struct Invite {
    pub(crate) server: PeerName,
    pub(crate) url: Endpoint,
    pub(crate) fallbacks: Fallbacks,
    pub(crate) client: Option<PeerName>,
    pub(crate) encoding: Encoding,
    pub(crate) keys: Arc<KeyPair>,
    /// The link whose keys it renews; if none, it begins one.
    pub(crate) link: Option<LinkId>,
    pub(crate) generation: u64,
    pub(crate) expires: Option<Timestamp>,
    /// The file that it was read from, if any.
    pub(crate) source: Option<PathBuf>,
}

/// The reason why an invitation could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The invitation is for another version of the protocol.
    #[error(
        "the invitation is for version {found} of the protocol, and this service speaks version \
         {VERSION}: update the older one of the two services, or ask for a new invitation"
    )]
    Version {
        /// The version in the invitation.
        found: u32,
    },
    /// The invitation lacks a field.
    #[error("the invitation lacks {0:?}, which the sealed encoding requires")]
    Incomplete(&'static str),
    /// The number of its generation is too high.
    #[error("the invitation says a generation above 2^63 - 1")]
    Generation,
    /// The keys are not a valid pair.
    #[error("the keys of the invitation cannot be used")]
    Keys(#[from] KeyError),
    /// The invitation is sealed with a passphrase.
    #[error("the invitation is sealed: it takes the passphrase that its writer chose")]
    Sealed,
    /// The invitation is not sealed, and a passphrase was given.
    #[error(
        "the invitation is not sealed with a passphrase, so anybody could have read it: load it without one"
    )]
    NotSealed,
    /// The passphrase does not open it.
    #[error("the invitation does not open: the passphrase is another one, or the file was changed")]
    Passphrase,
    /// The passphrase is empty.
    #[error("an empty passphrase protects nothing: choose another one")]
    EmptyPassphrase,
}

impl Invite {
    /// Reads an invitation from a file. One without an `encoding` was written by the original
    /// paddington, and is `hex`.
    ///
    /// A service reads the file again when the server refuses the invitation, so that a newer one
    /// takes effect without a restart.
    ///
    /// ```
    /// # use paddington::{Invite, ServiceConfig};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("invitation.toml");
    /// # let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// # hub.add_client("sensor", "192.0.2.0/24")?.save(&path)?;
    /// let invite = Invite::load(&path)?;
    /// assert_eq!((invite.name(), invite.client()), ("hub", Some("sensor")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InviteError`] if the file cannot be read or is not valid. The error names the line and
    /// never shows a key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, InviteError> {
        Self::from_file(file::read_private(path.as_ref(), HINT)?, path.as_ref())
    }

    /// As [`load`](Self::load), without a warning about the file's mode.
    pub(crate) fn load_again(path: &Path) -> Result<Self, InviteError> {
        Self::from_file(file::read(path, HINT)?, path)
    }

    fn from_file(file: InviteFile, path: &Path) -> Result<Self, InviteError> {
        let mut invite = Self::check(file)?;
        invite.source = Some(path.to_owned());
        Ok(invite)
    }

    /// Reads an invitation from text, such as a secret that is not in a file.
    ///
    /// ```
    /// use paddington::{Encoding, Invite};
    ///
    /// let invite = Invite::from_toml(
    ///     r#"
    ///     name = "hub"
    ///     url = "ws://hub.example:6501/"
    ///     inner_key.data = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    ///     outer_key.data = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
    ///     "#,
    /// )?;
    /// assert_eq!(invite.encoding(), Encoding::Hex);
    /// # Ok::<(), paddington::InviteError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, InviteError> {
        Self::check(file::parse(Path::new("the invitation"), text)?)
    }

    /// Writes the invitation to a file that only its owner can read. An older invitation is
    /// replaced as a whole; any other file, and any symbolic link, is left as it is.
    ///
    /// ```
    /// # use paddington::{Invite, ServiceConfig};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("invitation.toml");
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let invite = hub.add_client("sensor", "192.0.2.0/24")?;
    /// invite.save(&path)?;
    /// # assert_eq!(Invite::load(&path)?.url(), invite.url());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InviteError`] if the path holds another file, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), InviteError> {
        Ok(file::write(path.as_ref(), &self.to_file(Form::StandIns), is_invitation)?)
    }

    /// Returns the invitation as [`save`](Self::save) writes it, for a place that keeps secrets.
    /// The text is wiped when it is dropped; wipe its copies.
    ///
    /// ```
    /// # use paddington::{Invite, ServiceConfig};
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let text = hub.add_client("sensor", "192.0.2.0/24")?.to_toml()?;
    /// assert_eq!(Invite::from_toml(&text)?.client(), Some("sensor"));
    /// # Ok::<(), paddington::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InviteError`] if it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<Zeroizing<String>, InviteError> {
        Ok(file::text(Path::new("the invitation"), &self.to_file(Form::StandIns))?)
    }

    fn to_file(&self, form: Form) -> InviteFile {
        let (inner_key, outer_key) = KeyTable::pair(&self.keys, form);
        InviteFile {
            inner_key: Some(inner_key),
            outer_key: Some(outer_key),
            ..self.to_file_without_keys()
        }
    }

    fn to_file_without_keys(&self) -> InviteFile {
        let sealed = self.encoding == Encoding::Sealed;
        InviteFile {
            name: self.server.clone(),
            url: self.url.clone(),
            fallback_urls: self.fallbacks.clone(),
            client: self.client.clone(),
            encoding: Some(self.encoding),
            version: sealed.then_some(VERSION),
            link: self.link.map(Identity),
            generation: Some(self.generation).filter(|generation| *generation > 0),
            expires: self.expires,
            inner_key: None,
            outer_key: None,
            sealed: None,
        }
    }

    /// Replaces the URL, and takes away all others: behind a proxy or an address translation, clients may reach the server at
    /// another URL than it knows. The keys are not bound to the URL. The client's bucket, by which the
    /// server finds it, stays in the query.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let invite = hub.add_client("sensor", "192.0.2.0/24")?.at("wss://proxy.example/hub")?;
    /// assert!(invite.url().to_string().starts_with("wss://proxy.example:443/hub?b="));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`EndpointError`] if it is not the URL of a server.
    pub fn at(mut self, url: &str) -> Result<Self, EndpointError> {
        let url: Endpoint = url.parse()?;
        self.url = self.told(url);
        self.fallbacks = Fallbacks::default();
        self.source = None;
        Ok(self)
    }

    /// Lets the client try further URLs of the server, in their order, when the one before fails, instead of
    /// those that it would try else. All have to lead to the same server.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// let mut hub = ServiceConfig::new("hub", "wss://hub.example", "0.0.0.0", &6501)?;
    /// let invite = hub.add_client("sensor", "192.0.2.0/24")?;
    /// let invite = invite.with_fallbacks(&["wss://hub2.example", "ws://10.0.0.7:6501"])?;
    /// assert_eq!(invite.fallback_urls().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FallbacksError`] if one of them is not the URL of a server, or the list is too long or names one
    /// twice.
    pub fn with_fallbacks(mut self, urls: &[&str]) -> Result<Self, FallbacksError> {
        self.fallbacks = Fallbacks::parse(urls)?.map(|url| self.told(url));
        self.source = None;
        Ok(self)
    }

    /// Returns a URL as the client is told it: with its bucket.
    fn told(&self, url: Endpoint) -> Endpoint {
        match self.url.bucket() {
            Some(bucket) => url.with_bucket(bucket),
            None => url,
        }
    }

    /// Returns the name of the server that wrote the invitation.
    #[must_use]
    pub fn name(&self) -> &str {
        self.server.as_str()
    }

    /// Returns the URL of the server.
    #[must_use]
    pub fn url(&self) -> &Endpoint {
        &self.url
    }

    /// Returns the further URLs of the server, which are tried when that one fails.
    pub fn fallback_urls(&self) -> impl Iterator<Item = &Endpoint> {
        self.fallbacks.iter()
    }

    /// Returns the name of the client that it was made for. `hex` invitations may name none.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.as_ref().map(PeerName::as_str)
    }

    /// Returns the encoding of the link.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns when the server stops accepting it, unless it was used before; `None` for never.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires.map(SystemTime::from)
    }

    /// Returns whether a file is an invitation, sealed or not. Only such a file is replaced by
    /// [`save`](Self::save) and [`save_sealed`](Self::save_sealed).
    #[must_use]
    pub fn is_at(path: impl AsRef<Path>) -> bool {
        is_invitation(path.as_ref()).is_ok()
    }

    /// Returns a fingerprint of its keys: the same on both sides, and another one for other keys. Two
    /// people can compare it, as words, to know that the file was not exchanged on its way. It is no
    /// secret. `None` if the invitation does not name its client, as those of the original.
    ///
    /// ```
    /// # use paddington::{Invite, ServiceConfig};
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// let written = hub.add_client("sensor", "192.0.2.0/24")?;
    /// let read = Invite::from_toml(&written.to_toml()?)?;
    /// assert_eq!(read.fingerprint(), written.fingerprint());
    /// assert_ne!(hub.add_client("attic", "192.0.2.0/24")?.fingerprint(), written.fingerprint());
    /// # Ok::<(), paddington::Error>(())
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> Option<[u8; 16]> {
        let client = self.client.as_ref()?;
        Some(*LinkId::of(&self.server, client, &self.keys).as_bytes())
    }

    /// Returns the identity of the link that it belongs to. The client's own name is `client`, which an
    /// invitation of the original does not hold.
    pub(crate) fn link_of(&self, client: &PeerName) -> LinkId {
        self.link.unwrap_or_else(|| LinkId::of(&self.server, client, &self.keys))
    }

    fn check(mut file: InviteFile) -> Result<Self, InviteError> {
        if file.sealed.is_some() {
            return Err(InviteError::Sealed);
        }
        let inner = file.inner_key.take().ok_or(InviteError::Incomplete("inner_key"))?;
        let outer = file.outer_key.take().ok_or(InviteError::Incomplete("outer_key"))?;
        Self::with_keys(file, KeyTable::join(inner, outer)?)
    }

    fn with_keys(file: InviteFile, keys: KeyPair) -> Result<Self, InviteError> {
        let encoding = file.encoding.unwrap_or(Encoding::Hex);
        if encoding == Encoding::Sealed {
            match file.version {
                Some(VERSION) => {}
                Some(found) => return Err(InviteError::Version { found }),
                None => return Err(InviteError::Incomplete("version")),
            }
            if file.client.is_none() {
                return Err(InviteError::Incomplete("client"));
            }
        }
        if file.generation.is_some_and(|generation| generation > LAST_GENERATION) {
            return Err(InviteError::Generation);
        }
        Ok(Self {
            server: file.name,
            url: file.url,
            fallbacks: file.fallback_urls,
            client: file.client,
            encoding,
            keys: Arc::new(keys),
            link: file.link.map(|Identity(link)| link),
            generation: file.generation.unwrap_or(0),
            expires: file.expires,
            source: None,
        })
    }
}

/// Checks that a file may be replaced by an invitation: it holds one.
fn is_invitation(path: &Path) -> Result<(), &'static str> {
    file::read::<InviteFile>(path, "").map(drop).map_err(|_| "is not an invitation")
}

/// Writes the invitation as a value of another file, as its fields. They hold the keys, and the
/// serializer may leave copies of them in memory.
impl Serialize for Invite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_file(Form::Plain).serialize(serializer)
    }
}

/// Reads an invitation that is a value of another file, with the checks of [`Invite::load`].
impl<'de> Deserialize<'de> for Invite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::check(InviteFile::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
