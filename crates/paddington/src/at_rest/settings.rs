//! The settings: where the keyring is, and where its secret comes from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{AtRestError, KeySource, Keyring};

/// How what is kept on a disk is sealed: `[at_rest]` in a configuration.
///
/// ```
/// use paddington::{AtRest, KeySource, ServiceConfig};
///
/// # let folder = tempfile::tempdir()?;
/// # let at = |name: &str| folder.path().join(name);
/// std::fs::write(at("secret"), "a passphrase that nobody guesses\n")?;
/// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
/// hub.set_at_rest(AtRest::new(at("keyring.toml"), KeySource::File(at("secret"))));
/// hub.set_links(at("links"))?;
/// hub.add_client("sensor", "192.0.2.0/24")?;
/// let link = std::fs::read_to_string(at("links").join("sensor.toml"))?;
/// assert!(link.contains("sealed") && !link.contains("inner_key"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct AtRest {
    keyring: PathBuf,
    source: KeySource,
}

impl AtRest {
    /// The keyring at a path, which a secret opens. It is made with the first thing that is sealed.
    pub fn new(keyring: impl Into<PathBuf>, source: KeySource) -> Self {
        Self { keyring: keyring.into(), source }
    }

    /// Returns the path of the keyring.
    #[must_use]
    pub fn keyring(&self) -> &Path {
        &self.keyring
    }

    /// Returns where the secret comes from.
    #[must_use]
    pub fn source(&self) -> &KeySource {
        &self.source
    }

    /// Opens the keyring, which has to be there.
    #[cfg(any(feature = "durable", feature = "postgres"))]
    pub(super) fn open(&self) -> Result<Keyring, AtRestError> {
        Keyring::open(self)?.ok_or_else(|| self.lost())
    }

    #[cfg(any(feature = "durable", feature = "postgres"))]
    pub(super) fn lost(&self) -> AtRestError {
        AtRestError::NoKeyring { path: self.keyring.clone() }
    }

    /// The same keyring under another secret, or under the same one.
    #[cfg(any(feature = "durable", feature = "postgres"))]
    pub(super) fn with_source(&self, source: Option<KeySource>) -> Self {
        Self::new(self.keyring.clone(), source.unwrap_or_else(|| self.source.clone()))
    }

    /// Reads the secret, and opens the keyring if there is one: whether a service could do so.
    ///
    /// # Errors
    ///
    /// [`AtRestError`] if it could not.
    pub fn check(&self) -> Result<(), AtRestError> {
        Keyring::open(self)?.map_or_else(|| self.source.read().map(drop), |_| Ok(()))
    }
}

/// The settings as they are written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    /// The file with the key under which everything else is sealed. Keep a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    keyring: Option<PathBuf>,
    /// The file with the secret that opens the keyring.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
    /// The credential of systemd that is the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_credential: Option<String>,
    /// The variable of the environment that is the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_variable: Option<String>,
    /// The program, with its arguments, that prints the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_command: Option<Vec<String>>,
}

/// Where the keyring is, if the settings do not say it.
const KEYRING: &str = "keyring.toml";

impl TryFrom<Table> for AtRest {
    type Error = AtRestError;

    fn try_from(table: Table) -> Result<Self, AtRestError> {
        let Table { keyring, key_file, key_credential, key_variable, key_command } = table;
        let sources = [
            key_file.map(KeySource::File),
            key_credential.map(KeySource::Credential),
            key_variable.map(KeySource::Variable),
            key_command.map(KeySource::Command),
        ];
        let mut sources: Vec<_> = sources.into_iter().flatten().collect();
        match (sources.pop(), sources.len()) {
            (Some(source), 0) => Ok(Self::new(keyring.unwrap_or_else(|| KEYRING.into()), source)),
            (None, _) => Err(AtRestError::Sources(0)),
            (Some(_), others) => Err(AtRestError::Sources(others + 1)),
        }
    }
}

impl From<AtRest> for Table {
    fn from(AtRest { keyring, source }: AtRest) -> Self {
        let mut table = Self { keyring: Some(keyring), ..Self::default() };
        match source {
            KeySource::File(path) => table.key_file = Some(path),
            KeySource::Credential(name) => table.key_credential = Some(name),
            KeySource::Variable(name) => table.key_variable = Some(name),
            KeySource::Command(words) => table.key_command = Some(words),
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_to_be_named() {
        let read = |text: &str| toml::from_str::<AtRest>(text).map_err(|error| error.to_string());
        let file = read("key_file = \"secret\"").unwrap();
        assert_eq!(file, AtRest::new(KEYRING, KeySource::File("secret".into())));
        let all = [
            KeySource::File("/run/secret".into()),
            KeySource::Credential("at-rest".into()),
            KeySource::Variable("SECRET".into()),
            KeySource::Command(vec!["pass".into(), "show".into()]),
        ];
        for source in all {
            let settings = AtRest::new("/var/keyring", source);
            assert_eq!(read(&toml::to_string(&settings).unwrap()).unwrap(), settings);
        }
        assert!(read("").unwrap_err().contains("names 0 of key_file"));
        let two = read("key_file = \"a\"\nkey_variable = \"B\"").unwrap_err();
        assert!(two.contains("names 2 of key_file"), "{two}");
        assert!(read("key_fil = \"a\"").unwrap_err().contains("unknown field `key_fil`"));
    }
}
