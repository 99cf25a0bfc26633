//! The secrets of a link, made from its keys.

use std::sync::Arc;

use paddington_crypto::KeyPair;
use paddington_wire::{Credentials, Encoding, PeerName, hex, sealed};

/// The secrets of the link between `server` and `client`.
pub(crate) fn credentials(
    encoding: Encoding,
    server: &PeerName,
    client: &PeerName,
    keys: &Arc<KeyPair>,
) -> Credentials {
    match encoding {
        Encoding::Hex => Credentials::Hex(Arc::new(hex::Credentials::new(Arc::clone(keys)))),
        _ => Credentials::Sealed(Arc::new(sealed::Credentials::new(server, client, keys))),
    }
}
