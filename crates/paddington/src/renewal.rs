//! Reads an invitation again, because its file may hold a newer one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use paddington_crypto::KeyPair;
use paddington_exchange::Renewal;
use paddington_transport::{Endpoint, Renewed};
use paddington_wire::{Encoding, PeerName};

use crate::Invite;
use crate::credentials::credentials;

/// The file that an invitation was read from, which may hold a newer one by now.
#[derive(Debug)]
pub(crate) struct InvitationFile {
    path: PathBuf,
    own: PeerName,
    server: PeerName,
    encoding: Encoding,
    last: Mutex<(Endpoint, Arc<KeyPair>)>,
}

impl InvitationFile {
    pub(crate) fn new(
        own: &PeerName,
        (server, encoding): (PeerName, Encoding),
        path: &Path,
        url: Endpoint,
        keys: Arc<KeyPair>,
    ) -> Self {
        let (path, own) = (path.to_owned(), own.clone());
        Self { path, own, server, encoding, last: Mutex::new((url, keys)) }
    }
}

impl Renewal for InvitationFile {
    /// Returns a newer invitation of the same link. One that cannot be read is ignored, because it
    /// may be half written.
    fn renewed(&self) -> Option<Renewed> {
        let invite = Invite::load_again(&self.path).ok()?;
        let same_link = invite.server == self.server
            && invite.encoding == self.encoding
            && invite.client.is_none_or(|client| client == self.own);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !same_link || (last.0 == invite.url && last.1 == invite.keys) {
            return None;
        }
        *last = (invite.url.clone(), Arc::clone(&invite.keys));
        Some(Renewed {
            endpoint: invite.url,
            credentials: credentials(self.encoding, &self.server, &self.own, &invite.keys),
        })
    }
}
