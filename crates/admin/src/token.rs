//! The token that requests over TCP have to show.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use paddington::is_exposed;
use thiserror::Error;
use zeroize::Zeroizing;

/// Number of random bytes in a token that is made here.
const RANDOM: usize = 32;
/// The shortest token that is taken from a file, in characters.
const SHORTEST: usize = 32;
/// The longest file that is read.
const LONGEST: u64 = 4096;

/// A token. It is compared in constant time, wiped when it is dropped, and never shown.
pub struct Token(Zeroizing<String>);

/// The reason why there is no token.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file could not be read.
    #[error("the token in {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file could not be made.
    #[error("the file {} for a new token cannot be made", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Others than the owner can read the file.
    #[error(
        "others can read the token in {}: delete the file, and a new token is made at the next start",
        .0.display()
    )]
    Open(PathBuf),
    /// The text is no token.
    #[error(
        "{} holds no token: one line of {SHORTEST} to {LONGEST} letters, digits and signs; delete the file, \
         and a new token is made at the next start",
        .0.display()
    )]
    NotAToken(PathBuf),
}

impl Token {
    /// Reads the token from a file that only its owner can read. If there is no such file, a token of
    /// 256 random bits is made and written there.
    ///
    /// # Errors
    ///
    /// [`TokenError`] if the file cannot be used, or others can read it.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, TokenError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(TokenError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Self::create(path)
            }
            loaded => loaded,
        }
    }

    /// Reads the token from a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// As [`load_or_create`](Self::load_or_create).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, TokenError> {
        let path = path.as_ref();
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let no_token = || TokenError::NotAToken(path.to_owned());
        let is_file = fs::metadata(path).map_err(unreadable)?.is_file(); // a pipe would block
        if !is_file {
            return Err(no_token());
        }
        let file = File::open(path).map_err(unreadable)?;
        if is_exposed(&file.metadata().map_err(unreadable)?) {
            return Err(TokenError::Open(path.to_owned()));
        }
        let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
        let mut beginning = file.take(LONGEST + 1);
        match beginning.read_to_string(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(no_token()),
            read => read.map_err(unreadable)?,
        };
        let token = text.trim_ascii();
        let is_token = (SHORTEST..=LONGEST as usize).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then(|| Self(Zeroizing::new(token.to_owned()))).ok_or_else(no_token)
    }

    /// Makes a token and writes it to a new file.
    fn create(path: &Path) -> Result<Self, TokenError> {
        let unwritable = |source| TokenError::Unwritable { path: path.to_owned(), source };
        let token = Self::random().map_err(unwritable)?;
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(token.0.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(unwritable)?;
        Ok(token)
    }

    fn random() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; RANDOM]);
        File::open("/dev/urandom")?.read_exact(&mut *bytes)?;
        let mut text = Zeroizing::new(String::with_capacity(2 * RANDOM));
        for byte in *bytes {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        Ok(Self(text))
    }

    /// Returns whether `shown` is this token. The time that it takes does not depend on where they
    /// differ.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        let own = self.0.as_bytes();
        if own.len() != shown.len() {
            return false; // the length is no secret
        }
        let difference = own.iter().zip(shown).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
