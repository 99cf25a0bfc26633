//! The Unix socket and the TCP port of the local API: how they are bound, and what is refused.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::Settings;

/// The reason why the local API cannot listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody answers at the socket.
    #[error("{} is in use: another process runs this service", .0.display())]
    InUse(PathBuf),
    /// There is something else than a socket.
    #[error("{} is not a socket: delete it, or choose another path for the socket", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("the socket {} cannot be made", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The address can be reached from other machines.
    #[error(
        "{0} is not a loopback address: the local API is for this machine only; use 127.0.0.1 or [::1]"
    )]
    NotLoopback(SocketAddr),
    /// TCP without a token would let everybody on this machine in.
    #[error("the local API on {0} requires a token")]
    NoToken(SocketAddr),
    /// The TCP port cannot be bound.
    #[error("the local API cannot listen on {address}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The listeners.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) socket: Option<(UnixListener, SocketFile)>,
    pub(crate) tcp: Option<TcpListener>,
    pub(crate) address: Option<SocketAddr>,
}

/// The file of a Unix socket. It is removed when this is dropped, unless another one is there by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Listeners {
    pub(crate) async fn bind(settings: &Settings) -> Result<Self, BindError> {
        let tcp = match settings.tcp {
            Some(address) => Some(bind_tcp(address, settings.token.is_some()).await?),
            None => None,
        };
        let socket = match &settings.socket {
            Some(path) => Some(bind_socket(path).await?),
            None => None,
        };
        let address = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());
        Ok(Self { socket, tcp, address })
    }
}

async fn bind_tcp(address: SocketAddr, has_token: bool) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback(address));
    }
    if !has_token {
        return Err(BindError::NoToken(address));
    }
    TcpListener::bind(address).await.map_err(|source| BindError::Tcp { address, source })
}

/// Binds a Unix socket that only its owner can open, from its first moment on: it is made in a folder
/// that only the owner can enter, and then moved to its place.
async fn bind_socket(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let failed = |source| BindError::Socket { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // One at a time: two that start at once would both find a dead socket.
    let turn = File::open(folder).map_err(failed)?;
    turn.try_lock().map_err(|_| BindError::InUse(path.to_owned()))?;
    check_vacant(path).await?;
    // Its path is hardly longer than that of the socket, because such paths have a short limit.
    let draft = tempfile::Builder::new().prefix(".").rand_bytes(8).tempdir_in(folder);
    let draft = draft.map_err(failed)?;
    let socket = draft.path().join("s");
    let listener = UnixListener::bind(&socket).map_err(failed)?;
    let publish = || {
        fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        let file = SocketFile { path: path.to_owned(), identity: identity(&socket)? };
        fs::rename(&socket, path)?;
        Ok(file)
    };
    Ok((listener, publish().map_err(failed)?))
}

/// Checks that nothing is at a path, or a socket at which nobody answers.
async fn check_vacant(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(failed(error)),
        // Whoever has a full queue of connections lives, too.
        _ => Err(BindError::InUse(path.to_owned())),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl SocketFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // A socket that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
