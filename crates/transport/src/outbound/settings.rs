//! The settings of the way out.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use super::{HostPattern, ProxyUrl};
use crate::{TlsFiles, TlsFilesError, regular};

/// The way to servers: directly, or through an HTTP proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// The proxy: that of the environment (`HTTPS_PROXY` and its like), none, or the one at a URL such as
    /// `http://user@proxy.example:3128`.
    pub proxy: ProxyChoice,
    /// The file that holds the password of the user in the proxy's URL, and nothing else but perhaps a line
    /// break at its end. It is read for each connection, so it may be replaced. Without a path there is none.
    pub proxy_password_file: PathBuf,
    /// Hosts that are reached without a proxy, beside those that `NO_PROXY` names for the proxies of the
    /// environment.
    pub no_proxy: Vec<HostPattern>,
    /// Hosts of this machine that are reached through the proxy: `localhost`, names below it and loopback
    /// addresses are reached directly otherwise.
    pub proxy_loopback: Vec<HostPattern>,
    /// The file of the certificate in PEM, with its intermediate ones, that is shown to `wss` servers that ask
    /// for one. It is read again when it has changed. Without a path there is none.
    pub client_certificate: PathBuf,
    /// The file of its key in PEM.
    pub client_key: PathBuf,
}

impl Outbound {
    /// Returns the files of the certificate for servers that ask for one, if there is one.
    #[must_use]
    pub fn certificate(&self) -> Option<TlsFiles> {
        let (certificate, key) = (&self.client_certificate, &self.client_key);
        let are_named = [certificate, key].iter().all(|path| !path.as_os_str().is_empty());
        are_named.then(|| TlsFiles::new(certificate, key))
    }

    /// Reads the certificate for servers and its key, if there are any, as a start does.
    ///
    /// # Errors
    ///
    /// [`TlsFilesError`] if they cannot be read, or do not belong together.
    pub fn check_certificate(&self) -> Result<(), TlsFilesError> {
        self.certificate().map_or(Ok(()), |files| files.read().map(drop))
    }

    /// Reads the file with the password, if there is one, as each connection does.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if it cannot be read, is empty or too long.
    pub fn check_password_file(&self) -> io::Result<()> {
        match self.proxy_password_file.as_os_str().is_empty() {
            true => Ok(()),
            false => password(&self.proxy_password_file).map(drop),
        }
    }
}

/// The longest file with a password, in bytes.
const LONGEST_PASSWORD: usize = 1024;

/// Reads a file with a password.
pub(super) fn password(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let Some((file, _)) = regular::open(path)? else { return invalid("it is not a regular file") };
    // The buffer has room for more than may be read, so that it does not move and leave copies.
    let mut password = Zeroizing::new(Vec::with_capacity(2 * LONGEST_PASSWORD));
    file.take(LONGEST_PASSWORD as u64 + 1).read_to_end(&mut password)?;
    if password.len() > LONGEST_PASSWORD {
        return invalid("it is longer than 1024 bytes");
    }
    let end = password.trim_ascii_end().len();
    password.truncate(end);
    match password.iter().any(u8::is_ascii_control) {
        true => invalid("it has more than one line"),
        false if password.is_empty() => invalid("it is empty"),
        false => Ok(password),
    }
}

/// Where the proxy is named. In a file, `"environment"`, `"none"` or a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyChoice {
    /// The environment of the process may name one.
    #[default]
    Environment,
    /// There is none.
    None,
    /// This one.
    Url(ProxyUrl),
}

const ENVIRONMENT: &str = "environment";
const NONE: &str = "none";

/// Writes the URL with its password; the serializer may leave copies of it in memory.
impl Serialize for ProxyChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Environment => serializer.serialize_str(ENVIRONMENT),
            Self::None => serializer.serialize_str(NONE),
            Self::Url(url) => serializer.serialize_str(&url.expose_url()),
        }
    }
}

impl<'de> Deserialize<'de> for ProxyChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl de::Visitor<'_> for Text {
    type Value = ProxyChoice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the URL of a proxy, \"environment\" or \"none\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ProxyChoice, E> {
        match text.trim() {
            ENVIRONMENT => Ok(ProxyChoice::Environment),
            NONE | "" => Ok(ProxyChoice::None),
            url => url.parse().map(ProxyChoice::Url).map_err(E::custom),
        }
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<ProxyChoice, E> {
        self.visit_str(&Zeroizing::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_password_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            password(&path).map(|password| password.to_vec()).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"open sesame\r\n").unwrap(), b"open sesame");
        assert_eq!(read(&[b'a'; 1024]).unwrap(), [b'a'; 1024]);
        for (content, error) in [
            (b"".as_slice(), "empty"),
            (b"\n", "empty"),
            (b"one\ntwo", "more than one line"),
            (&[b'a'; 1025], "longer than 1024 bytes"),
        ] {
            assert!(read(content).unwrap_err().contains(error), "{content:?}");
        }
        let mut outbound = Outbound::default();
        outbound.check_password_file().unwrap();
        outbound.proxy_password_file = folder.path().to_owned();
        assert!(outbound.check_password_file().unwrap_err().to_string().contains("regular file"));
    }
}
