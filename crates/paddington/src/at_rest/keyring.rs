//! The keyring: the keys under which everything else is sealed, themselves sealed under a secret.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use paddington_crypto::passphrase::{PassphraseCost, SALT_LEN};
use paddington_crypto::{SecretKey, StorageKey, random_bytes};
use serde::{Deserialize, Serialize};

use super::{AtRest, AtRestError};
use crate::FileError;
use crate::file::{self, FromText};
use crate::written::HoldsKeys;

/// The version of the file.
const VERSION: u32 = 1;
/// The number of digits of a secret that is a key.
const KEY_DIGITS: usize = 2 * SecretKey::LEN;

/// Keys, oldest first. There are several while everything is being sealed under the last one.
#[derive(Debug)]
pub(crate) struct Keyring {
    path: PathBuf,
    keys: Vec<Arc<StorageKey>>,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyringFile {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passphrase: Option<Passphrase>,
    keys: Vec<Entry>,
}

/// What is added to the name of a keyring for a copy with the keys from before everything was sealed anew.
#[cfg(feature = "postgres")]
const BEFORE: &str = ".before";

/// How the secret becomes a key, if it is a passphrase.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passphrase {
    kdf: crate::format::Kdf,
    iterations: u32,
    /// In KiB.
    memory: u32,
    /// In hexadecimal digits.
    salt: String,
}

/// A sealed key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// In hexadecimal digits, as is `sealed`.
    id: String,
    sealed: String,
}

impl FromText for KeyringFile {
    fn from_text(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// Its keys are sealed.
impl HoldsKeys for KeyringFile {
    fn keys(&self) -> Vec<&SecretKey> {
        Vec::new()
    }
}

impl Keyring {
    /// Opens the keyring. Returns `None` if there is none.
    pub(super) fn open(settings: &AtRest) -> Result<Option<Self>, AtRestError> {
        let path = settings.keyring().to_owned();
        let file: KeyringFile = match file::read(&path, "") {
            Ok(file) => file,
            Err(FileError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(AtRestError::Keyring(Box::new(error))),
        };
        let damaged = || AtRestError::Damaged { path: path.clone() };
        if file.version != VERSION || file.keys.is_empty() {
            return Err(damaged());
        }
        let wrong =
            || AtRestError::WrongSecret { from: settings.source().clone(), path: path.clone() };
        let secret = settings.source().read()?;
        let wrapping = match (key_of(&secret), &file.passphrase) {
            (Some(key), None) => key?,
            (None, Some(passphrase)) => passphrase.key(&secret).ok_or_else(damaged)??,
            _ => return Err(wrong()),
        };
        let mut keys = Vec::with_capacity(file.keys.len());
        for entry in &file.keys {
            let id = u64::from_str_radix(&entry.id, 16).map_err(|_| damaged())?;
            let sealed = const_hex::decode(&entry.sealed).map_err(|_| damaged())?;
            let bytes = wrapping.open(&sealed, &ad(id)).map_err(|_| wrong())?;
            let key = StorageKey::from(SecretKey::from_slice(&bytes)?);
            if key.id() != id {
                return Err(damaged());
            }
            keys.push(Arc::new(key));
        }
        Ok(Some(Self { path, keys }))
    }

    /// Makes a keyring with a new key, and writes it. There must be none yet.
    pub(super) fn create(settings: &AtRest) -> Result<Self, AtRestError> {
        let keyring = Self::generate(settings)?;
        keyring.write_first(settings)?;
        Ok(keyring)
    }

    /// Makes a keyring with a new key, which is nowhere yet but in memory.
    pub(super) fn generate(settings: &AtRest) -> Result<Self, AtRestError> {
        let path = settings.keyring().to_owned();
        Ok(Self { path, keys: vec![Arc::new(StorageKey::generate()?)] })
    }

    /// Writes a keyring where there is none yet.
    pub(super) fn write_first(&self, settings: &AtRest) -> Result<(), AtRestError> {
        self.write(settings, |_| Err("holds a keyring already"))
    }

    /// Adds a new key, which everything is to be sealed under from now on, and seals the keyring under
    /// the secret of other settings, which name the same file.
    #[cfg(any(feature = "durable", feature = "postgres"))]
    pub(super) fn add_key(&mut self, settings: &AtRest) -> Result<(), AtRestError> {
        self.keys.push(Arc::new(StorageKey::generate()?));
        self.write(settings, |_| Ok(()))
    }

    /// Seals the same keys under the secret of other settings.
    #[cfg(feature = "postgres")]
    pub(super) fn reseal(&self, settings: &AtRest) -> Result<(), AtRestError> {
        self.write(settings, |_| Ok(()))
    }

    /// Keeps a copy of a keyring that has several keys, with all of them, in a file beside it.
    #[cfg(feature = "postgres")]
    pub(super) fn keep_copy(&self, settings: &AtRest) -> Result<(), AtRestError> {
        if self.keys.len() < 2 {
            return Ok(());
        }
        let mut path = self.path.clone().into_os_string();
        path.push(BEFORE);
        Self { path: path.into(), keys: self.keys.clone() }.write(settings, |_| Ok(()))
    }

    /// Forgets all keys but the newest.
    #[cfg(any(feature = "durable", feature = "postgres"))]
    pub(super) fn forget_others(&mut self, settings: &AtRest) -> Result<(), AtRestError> {
        let others = self.keys.len().saturating_sub(1);
        if others > 0 {
            self.keys.drain(..others);
            self.write(settings, |_| Ok(()))?;
        }
        Ok(())
    }

    fn write(
        &self,
        settings: &AtRest,
        is_ours: impl FnOnce(&Path) -> Result<(), &'static str>,
    ) -> Result<(), AtRestError> {
        let secret = settings.source().read()?;
        // One that is another each time it is read would never open the keyring again.
        if *settings.source().read()? != *secret {
            let cause = "it is another one each time it is read".to_owned();
            return Err(AtRestError::Source { from: settings.source().clone(), cause });
        }
        let (wrapping, passphrase) = match key_of(&secret) {
            Some(key) => (key?, None),
            None => {
                let passphrase = Passphrase::new(PassphraseCost::default())?;
                let key = passphrase.key(&secret);
                let damaged = || AtRestError::Damaged { path: self.path.clone() };
                (key.ok_or_else(damaged)??, Some(passphrase))
            }
        };
        let entry = |key: &Arc<StorageKey>| {
            let sealed = wrapping.seal(key.expose_bytes(), &ad(key.id()));
            let sealed = sealed.map_err(|_| paddington_crypto::KeyError::NoRandomness)?;
            Ok(Entry { id: format!("{:016x}", key.id()), sealed: const_hex::encode(sealed) })
        };
        let keys = self.keys.iter().map(entry).collect::<Result<_, AtRestError>>()?;
        let file = KeyringFile { version: VERSION, passphrase, keys };
        file::write(&self.path, &file, is_ours).map_err(|error| AtRestError::Keyring(error.into()))
    }

    /// Returns the key that everything is sealed under.
    pub(crate) fn newest(&self) -> &Arc<StorageKey> {
        &self.keys[self.keys.len() - 1]
    }

    /// Returns the key with an id.
    pub(crate) fn key(&self, id: u64) -> Result<&Arc<StorageKey>, AtRestError> {
        self.keys
            .iter()
            .find(|key| key.id() == id)
            .ok_or_else(|| AtRestError::OtherKey { key: id, keyring: self.path.clone() })
    }

    /// Returns all keys, oldest first.
    #[cfg(feature = "postgres")]
    pub(super) fn keys(&self) -> &[Arc<StorageKey>] {
        &self.keys
    }

    /// The same keyring with nothing but the newest key.
    #[cfg(feature = "postgres")]
    pub(super) fn of_newest(&self) -> Self {
        Self { path: self.path.clone(), keys: vec![Arc::clone(self.newest())] }
    }

    /// Returns the ids of all keys, oldest first.
    #[cfg(any(feature = "durable", feature = "postgres"))]
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.keys.iter().map(|key| key.id()).collect()
    }
}

impl Passphrase {
    fn new(cost: PassphraseCost) -> Result<Self, AtRestError> {
        Ok(Self {
            kdf: crate::format::Kdf::Argon2id,
            iterations: cost.iterations(),
            memory: cost.memory(),
            salt: const_hex::encode(random_bytes::<SALT_LEN>()?),
        })
    }

    /// Returns the key; `None` if the salt is not one.
    fn key(&self, secret: &[u8]) -> Option<Result<StorageKey, AtRestError>> {
        let Self { kdf: crate::format::Kdf::Argon2id, iterations, memory, salt } = self;
        let salt = const_hex::decode_to_array(salt).ok()?;
        let cost = PassphraseCost::new(*iterations, *memory);
        let key = cost.and_then(|cost| StorageKey::from_passphrase(secret, &salt, cost));
        Some(key.map_err(AtRestError::from))
    }
}

/// Returns the key that a secret is, if it is not a passphrase.
fn key_of(secret: &[u8]) -> Option<Result<StorageKey, AtRestError>> {
    let digits = std::str::from_utf8(secret).ok().filter(|text| text.len() == KEY_DIGITS)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(SecretKey::from_hex(digits).map(StorageKey::from).map_err(AtRestError::from))
}

/// What a sealed key is bound to.
fn ad(id: u64) -> Vec<u8> {
    [&b"paddington keyring "[..], &id.to_be_bytes()].concat()
}
