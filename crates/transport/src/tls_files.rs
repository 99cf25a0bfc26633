//! The files of a listener's own TLS: its certificate, its key, and the authorities of its clients.
//! They are read here, and checked against each other; `tls_server.rs` serves them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::regular;
use crate::tls::{self, TlsError};

/// The longest file of a certificate with its intermediate ones, or of a key, in bytes.
const LONGEST: u64 = 256 * 1024;
/// The names of the two files in a folder, as ACME clients choose them.
const IN_DIRECTORY: [&str; 2] = ["fullchain.pem", "privkey.pem"];

/// The files with which a listener speaks TLS itself. They may be replaced at any time.
///
/// ```
/// use paddington_transport::TlsFiles;
/// use std::path::Path;
///
/// let files = TlsFiles::in_directory("/etc/letsencrypt/live/hub.example");
/// assert_eq!(files.key(), Path::new("/etc/letsencrypt/live/hub.example/privkey.pem"));
/// let files = TlsFiles::new("hub.pem", "hub.key").with_client_authorities("clients.pem");
/// assert_eq!(files.certificate(), Path::new("hub.pem"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct TlsFiles {
    place: Place,
    client_authorities: Option<PathBuf>,
}

/// Where the certificate and the key are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Files { certificate: PathBuf, key: PathBuf },
    Directory(PathBuf),
}

/// The table of the configuration.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    /// The folder of an ACME client with `fullchain.pem` and `privkey.pem`, instead of the two files below.
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    /// The file of the certificate in PEM, with its intermediate ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
    /// The file of its key in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
    /// The file of the authorities that sign the certificates which clients then need, beside their keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_authorities: Option<PathBuf>,
}

/// The failure to use the files of a listener's own TLS. It never shows anything of a key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsFilesError {
    /// The file of the certificate cannot be read, or is not a PEM file.
    #[error("the certificate in {path} could not be read")]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error in reading it.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {0}: it has to hold one in PEM, and its intermediate ones")]
    NoCertificate(PathBuf),
    /// The certificate is malformed.
    #[error("the certificate in {path} cannot be used")]
    Malformed {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// The file of the key cannot be read.
    #[error("the key in {path} could not be read")]
    UnreadableKey {
        /// The path of the file.
        path: PathBuf,
        /// The error in reading it.
        #[source]
        source: io::Error,
    },
    /// There is no key in the file.
    #[error("there is no key in {0}: it has to hold one in PEM that needs no passphrase")]
    NoKey(PathBuf),
    /// The key is malformed, or of a kind that is not known.
    #[error(
        "the key in {0} cannot be used: it has to be one of ECDSA (P-256, P-384), Ed25519 or RSA"
    )]
    UnusableKey(PathBuf),
    /// The key is not that of the certificate.
    #[error("the key in {key} is not that of the certificate in {certificate}")]
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// The authorities of clients cannot be used.
    #[error("the authorities of client certificates cannot be used")]
    Authorities(#[source] TlsError),
    /// rustls does not accept the configuration.
    #[error("TLS could not be set up")]
    Setup(#[from] rustls::Error),
}

/// The content of the files, which fits together.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) identity: CertifiedKey,
    /// The certificates of the authorities whose clients are accepted, if clients need a certificate.
    pub(crate) client_authorities: Option<Vec<CertificateDer<'static>>>,
}

/// The state of the files, as far as it can be seen without reading them: another one is a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<Option<FileState>>);

/// The length of a file and its last change; where there are inodes also the number and the change of
/// the inode.
type FileState = (u64, Option<SystemTime>, [i128; 4]);

impl TlsFiles {
    /// Names a file with the certificate and its intermediate ones, and a file with its key, both in
    /// PEM.
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let place = Place::Files { certificate: certificate.into(), key: key.into() };
        Self { place, client_authorities: None }
    }

    /// Names a folder as ACME clients leave it, with `fullchain.pem` and `privkey.pem`, which may be
    /// symbolic links.
    #[must_use]
    pub fn in_directory(folder: impl Into<PathBuf>) -> Self {
        Self { place: Place::Directory(folder.into()), client_authorities: None }
    }

    /// Requires clients to present a certificate that an authority in this PEM file has signed.
    #[must_use]
    pub fn with_client_authorities(self, path: impl Into<PathBuf>) -> Self {
        Self { client_authorities: Some(path.into()), ..self }
    }

    /// Returns the file of the certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        match &self.place {
            Place::Files { certificate, .. } => certificate.clone(),
            Place::Directory(folder) => folder.join(IN_DIRECTORY[0]),
        }
    }

    /// Returns the file of the key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        match &self.place {
            Place::Files { key, .. } => key.clone(),
            Place::Directory(folder) => folder.join(IN_DIRECTORY[1]),
        }
    }

    /// Returns the file of the authorities that sign the certificates of clients, if clients need one.
    #[must_use]
    pub fn client_authorities(&self) -> Option<&Path> {
        self.client_authorities.as_deref()
    }

    /// Reads the files, and checks that they fit together.
    pub(crate) fn read(&self) -> Result<Content, TlsFilesError> {
        let (certificate, key) = (self.certificate(), self.key());
        let chain = read_chain(&certificate)?;
        let secret = read_key(&key)?;
        let provider = rustls::crypto::ring::default_provider();
        let signer = provider.key_provider.load_private_key(secret);
        let signer = signer.map_err(|_| TlsFilesError::UnusableKey(key.clone()))?;
        let identity = CertifiedKey::new(chain, signer);
        identity.keys_match().map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => {
                TlsFilesError::OtherKey { key, certificate: certificate.clone() }
            }
            source => TlsFilesError::Malformed { path: certificate.clone(), source },
        })?;
        let authorities = self.client_authorities.as_deref().map(tls::read_authorities).transpose();
        let client_authorities = authorities.map_err(TlsFilesError::Authorities)?;
        Ok(Content { identity, client_authorities })
    }

    /// Returns what tells whether one of the files was changed.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let files = [self.certificate(), self.key()].into_iter();
        let files = files.chain(self.client_authorities.clone());
        Fingerprint(files.map(|path| fs::metadata(path).ok().map(|it| state(&it))).collect())
    }
}

fn state(metadata: &fs::Metadata) -> FileState {
    #[cfg(unix)]
    let inode = {
        use std::os::unix::fs::MetadataExt;
        let changed = [metadata.ctime().into(), metadata.ctime_nsec().into()];
        [metadata.dev().into(), metadata.ino().into(), changed[0], changed[1]]
    };
    #[cfg(not(unix))]
    let inode = [0; 4];
    (metadata.len(), metadata.modified().ok(), inode)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFilesError> {
    let read = regular::read(path, LONGEST).map_err(pem::Error::Io);
    let chain: Vec<_> = read
        .and_then(|bytes| CertificateDer::pem_slice_iter(&bytes).collect())
        .map_err(|source| TlsFilesError::Unreadable { path: path.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsFilesError::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}

/// Reads a key. What the reader of PEM says about the file is left out: it may be a part of the key.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFilesError> {
    let unreadable = |source| TlsFilesError::UnreadableKey { path: path.to_owned(), source };
    let bytes = regular::read(path, LONGEST).map_err(unreadable)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| TlsFilesError::NoKey(path.to_owned()))
}

impl TryFrom<Fields> for TlsFiles {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, &'static str> {
        let Fields { directory, certificate, key, client_authorities } = fields;
        let place = match (directory, certificate, key) {
            (Some(folder), None, None) => Place::Directory(folder),
            (None, Some(certificate), Some(key)) => Place::Files { certificate, key },
            (Some(_), ..) => return Err("either directory, or certificate and key, not both"),
            (None, ..) => return Err("both certificate and key are needed, or directory"),
        };
        Ok(Self { place, client_authorities })
    }
}

impl From<TlsFiles> for Fields {
    fn from(files: TlsFiles) -> Self {
        let (directory, certificate, key) = match files.place {
            Place::Directory(folder) => (Some(folder), None, None),
            Place::Files { certificate, key } => (None, Some(certificate), Some(key)),
        };
        Self { directory, certificate, key, client_authorities: files.client_authorities }
    }
}
