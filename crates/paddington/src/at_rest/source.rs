//! Where the secret comes from that opens the keyring.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fmt, fs, thread};

use paddington_transport::{is_exposed, regular};
use tracing::warn;
use zeroize::Zeroizing;

use super::AtRestError;

/// The longest secret, in bytes.
const LONGEST: u64 = 4096;
/// How long a program may take to print it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The variable that names the folder in which systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where the secret comes from that opens the keyring: 64 hexadecimal digits, which are a key, or anything
/// else, which is a passphrase. The end of its line does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file, such as one that a container's platform mounts.
    File(PathBuf),
    /// A credential of this name, which systemd hands to the service (`LoadCredential=`).
    Credential(String),
    /// A variable of the environment. Whoever can look into the process can read it.
    Variable(String),
    /// What a program prints, which is started with its arguments and without a shell.
    Command(Vec<String>),
}

impl KeySource {
    /// Reads the secret.
    pub(super) fn read(&self) -> Result<Zeroizing<Vec<u8>>, AtRestError> {
        let failed = |cause: String| AtRestError::Source { from: self.clone(), cause };
        let mut secret = match self {
            Self::File(path) => file(path),
            Self::Credential(name) => credential(name),
            Self::Variable(name) => variable(name),
            Self::Command(words) => printed(words),
        }
        .map_err(failed)?;
        while secret.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            secret.pop();
        }
        if secret.is_empty() {
            return Err(failed("it is empty".to_owned()));
        }
        Ok(secret)
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Credential(name) => write!(f, "the credential {name:?}"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            // Its arguments may be secret.
            Self::Command(words) => {
                write!(f, "the command {:?}", words.first().map_or("", String::as_str))
            }
        }
    }
}

type Secret = Result<Zeroizing<Vec<u8>>, String>;

fn file(path: &Path) -> Secret {
    let secret = read(path)?;
    if fs::metadata(path).is_ok_and(|found| is_exposed(&found)) {
        let path = path.display();
        warn!(%path, "others can read this file, which opens what is at rest: run chmod 600 on it");
    }
    Ok(secret)
}

fn read(path: &Path) -> Secret {
    let opened = regular::open(path).map_err(|error| error.to_string())?;
    let (file, _) = opened.ok_or("it is not a regular file")?;
    bounded(file)
}

/// Reads to the end of what has at most [`LONGEST`] bytes.
fn bounded(from: impl Read) -> Secret {
    // It has room for all of it, so that it does not move and leave copies.
    let mut secret = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 2));
    from.take(LONGEST + 1).read_to_end(&mut secret).map_err(|error| error.to_string())?;
    if secret.len() as u64 > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    Ok(secret)
}

fn credential(name: &str) -> Secret {
    let folder = env::var_os(CREDENTIALS).ok_or_else(|| {
        format!("{CREDENTIALS} is not set: the unit needs LoadCredential={name}:PATH")
    })?;
    let is_name = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
    if !is_name {
        return Err("a credential's name has no slash".to_owned());
    }
    read(&PathBuf::from(folder).join(name))
}

fn variable(name: &str) -> Secret {
    match env::var(name) {
        Ok(secret) => bounded(Zeroizing::new(secret).as_bytes()),
        Err(env::VarError::NotPresent) => Err("it is not set".to_owned()),
        Err(env::VarError::NotUnicode(_)) => Err("it is not UTF-8".to_owned()),
    }
}

fn printed(words: &[String]) -> Secret {
    let (program, arguments) = words.split_first().ok_or("it names no program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let stdout = child.stdout.take().ok_or("it has no output")?;
    let (given, taken) = mpsc::channel();
    // If the program hangs, this thread ends with it.
    let reading = thread::Builder::new().spawn(move || given.send(bounded(stdout)));
    reading.map_err(|error| error.to_string())?;
    let late = || Err(format!("it has printed nothing whole in {} s", PATIENCE.as_secs()));
    let secret = taken.recv_timeout(PATIENCE).unwrap_or_else(|_| late());
    if secret.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait().map_err(|error| error.to_string())?;
    let secret = secret?;
    if ended.success() { Ok(secret) } else { Err(format!("it ended with {ended}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> KeySource {
        KeySource::Command(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_secret_is_read_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for text in ["a secret", "a secret\n", "a secret\r\n\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(**KeySource::File(path.clone()).read().unwrap(), *b"a secret");
        }
        assert_eq!(**command(&["printf", " a secret \n"]).read().unwrap(), *b" a secret ");
    }

    #[test]
    fn what_is_no_secret_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| KeySource::File(folder.path().join(name));
        fs::write(folder.path().join("empty"), "\n").unwrap();
        fs::write(folder.path().join("long"), vec![b'x'; 5000]).unwrap();
        for (source, cause) in [
            (at("empty"), "it is empty"),
            (at("long"), "it has more than 4096 bytes"),
            (at("none"), "No such file"),
            (at(""), "not a regular file"),
            (KeySource::Credential("a/b".to_owned()), "CREDENTIALS_DIRECTORY"),
            (KeySource::Variable("PADDINGTON_NOT_SET".to_owned()), "it is not set"),
            (command(&[]), "it names no program"),
            (command(&["false"]), "it ended with exit status: 1"),
            (command(&["/no/such/program", "hush"]), "No such file"),
            (command(&["yes"]), "it has more than 4096 bytes"),
        ] {
            let error = source.read().unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
