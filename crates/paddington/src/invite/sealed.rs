//! Invitations that are sealed with a passphrase. Implements `docs/protocol.md` §1.1.

use std::path::Path;

use paddington_crypto::passphrase::{PassphraseCost, SALT_LEN, open_keys, seal_keys};
use paddington_crypto::random_bytes;
use paddington_wire::PeerName;

use super::{HINT, Invite, InviteError};
use crate::file;
use crate::format::{InviteFile, Kdf, SealedKeys};

impl Invite {
    /// Writes the invitation so that its keys can be read with a passphrase only. Tell it to the
    /// client's operator in another way than the file. Otherwise as [`save`](Self::save); guessing a
    /// passphrase takes 64 MiB of memory and about a tenth of a second per guess.
    ///
    /// ```
    /// # use paddington::{Invite, ServiceConfig};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("invitation.toml");
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.add_client("sensor", "192.0.2.0/24")?.save_sealed(&path, "correct horse")?;
    /// assert!(Invite::load(&path).is_err());
    /// assert!(Invite::load_sealed(&path, "correct house").is_err());
    /// assert_eq!(Invite::load_sealed(&path, "correct horse")?.client(), Some("sensor"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InviteError`] if the passphrase is empty, the path holds another file, or the file cannot be
    /// written.
    pub fn save_sealed(&self, path: impl AsRef<Path>, passphrase: &str) -> Result<(), InviteError> {
        if passphrase.is_empty() {
            return Err(InviteError::EmptyPassphrase);
        }
        let (salt, cost) = (random_bytes::<SALT_LEN>()?, PassphraseCost::default());
        let mut file = self.to_file_without_keys();
        let sealed = seal_keys(&self.keys, passphrase, &salt, cost, &file.names());
        file.sealed = Some(SealedKeys {
            kdf: Kdf::Argon2id,
            iterations: cost.iterations(),
            memory: cost.memory(),
            salt: const_hex::encode(salt),
            data: const_hex::encode(sealed.map_err(|_| InviteError::Passphrase)?),
        });
        Ok(file::write(path.as_ref(), &file, super::is_invitation)?)
    }

    /// Reads an invitation that is sealed with a passphrase. A newer one in the same file is not
    /// noticed by itself, because nobody is there to open it.
    ///
    /// # Errors
    ///
    /// [`InviteError`] if the file cannot be read or is not valid, is not sealed, or the passphrase
    /// does not open it.
    pub fn load_sealed(path: impl AsRef<Path>, passphrase: &str) -> Result<Self, InviteError> {
        let mut file: InviteFile = file::read_private(path.as_ref(), HINT)?;
        let SealedKeys { kdf: Kdf::Argon2id, iterations, memory, salt, data } =
            file.sealed.take().ok_or(InviteError::NotSealed)?;
        let cost = PassphraseCost::new(iterations, memory)?;
        let salt = const_hex::decode_to_array(salt).map_err(|_| InviteError::Passphrase)?;
        let data = const_hex::decode(data).map_err(|_| InviteError::Passphrase)?;
        let keys = open_keys(&data, passphrase, &salt, cost, &file.names());
        Self::with_keys(file, keys.map_err(|_| InviteError::Passphrase)?)
    }
}

impl InviteFile {
    /// What the sealed keys are bound to: the names of both services, each behind its length.
    fn names(&self) -> Vec<u8> {
        let client = self.client.as_ref().map(PeerName::as_str).unwrap_or_default();
        let names = [self.name.as_str(), client];
        // A name has at most 64 bytes.
        names.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect()
    }
}
