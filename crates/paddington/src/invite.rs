//! Invitations: what one service hands to another so that the two can meet.
//! Implements `docs/protocol.md` §1.1.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use paddington_crypto::{KeyError, KeyPair};
use paddington_transport::{Endpoint, EndpointError};
use paddington_wire::{Encoding, PeerName};
use thiserror::Error;

use crate::FileError;
use crate::file;
use crate::format::{InviteFile, KeyTable};

/// The version of the `sealed` encoding that this crate speaks.
const VERSION: u32 = 1;

/// An invitation to one service, made for another. It holds two keys: whoever has it can be the
/// client that it was made for.
#[derive(Clone, Debug)]
pub struct Invite {
    pub(crate) server: PeerName,
    pub(crate) url: Endpoint,
    pub(crate) client: Option<PeerName>,
    pub(crate) encoding: Encoding,
    pub(crate) keys: Arc<KeyPair>,
    /// The file that it was read from.
    pub(crate) source: Option<PathBuf>,
}

/// Why an invitation could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is for another version of the protocol.
    #[error(
        "the invitation is for version {found} of the protocol, and this service speaks version \
         {VERSION}: update the older one of the two services, or ask for a new invitation"
    )]
    Version {
        /// The version in the invitation.
        found: u32,
    },
    /// A `sealed` invitation that does not say what it has to.
    #[error("the invitation lacks {0:?}, which an invitation of the sealed encoding has")]
    Incomplete(&'static str),
    /// Its keys make no pair.
    #[error("the invitation's keys are of no use")]
    Keys(#[from] KeyError),
}

impl Invite {
    /// Reads an invitation. One without an `encoding` is of the original's kind: `hex`.
    ///
    /// A service that was given it reads the file again when the server does not accept it, so that
    /// a newer invitation takes effect without a restart.
    ///
    /// # Errors
    ///
    /// [`InviteError`] says what is wrong and where. It never shows a key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, InviteError> {
        let invite = Self::load_again(path.as_ref())?;
        file::warn_if_exposed(path.as_ref());
        Ok(invite)
    }

    /// As [`load`](Self::load), without a warning about the file's mode.
    pub(crate) fn load_again(path: &Path) -> Result<Self, InviteError> {
        const HINT: &str = ": the server's operator makes it and hands it over";
        let mut invite = Self::check(file::read(path, HINT)?)?;
        invite.source = Some(path.to_owned());
        Ok(invite)
    }

    /// Reads an invitation from text, such as a secret that is not in a file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, InviteError> {
        Self::check(file::parse(Path::new("the invitation"), text)?)
    }

    /// Writes the invitation to a file that only its owner can read. An older invitation is
    /// replaced as a whole; anything else that is there, and any link, is left as it is.
    ///
    /// # Errors
    ///
    /// [`InviteError`] if something else is there or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), InviteError> {
        let (inner_key, outer_key) = KeyTable::pair(&self.keys);
        let sealed = self.encoding == Encoding::Sealed;
        let value = InviteFile {
            name: self.server.clone(),
            url: self.url.clone(),
            client: self.client.clone(),
            encoding: Some(self.encoding),
            version: sealed.then_some(VERSION),
            inner_key,
            outer_key,
        };
        let is_ours = |path: &Path| {
            file::read::<InviteFile>(path, "").map(drop).map_err(|_| "is not an invitation")
        };
        Ok(file::write(path.as_ref(), &value, is_ours)?)
    }

    /// The same invitation for another URL: behind a proxy or an address translation the server
    /// may be reached elsewhere than it knows. The URL is not bound to the keys.
    ///
    /// # Errors
    ///
    /// [`EndpointError`] if it is no URL of a server.
    pub fn at(mut self, url: &str) -> Result<Self, EndpointError> {
        self.url = url.parse()?;
        self.source = None;
        Ok(self)
    }

    /// The name of the server that wrote it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.server.as_str()
    }

    /// Where the server is.
    #[must_use]
    pub fn url(&self) -> &Endpoint {
        &self.url
    }

    /// The name of the client that it was made for, if it says so.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.as_ref().map(PeerName::as_str)
    }

    /// What the two services will speak.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn check(file: InviteFile) -> Result<Self, InviteError> {
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
        Ok(Self {
            server: file.name,
            url: file.url,
            client: file.client,
            encoding,
            keys: Arc::new(KeyTable::join(file.inner_key, file.outer_key)?),
            source: None,
        })
    }
}
