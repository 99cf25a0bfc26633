//! The contract of whoever stores the keys of links. Implements `docs/protocol.md` §3.6.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use paddington_wire::PeerName;
use paddington_wire::keys::KeyRing;

use crate::HandlerError;

/// A place for the keys of links, which outlives the process. Without one, keys stay as they were
/// handed over.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Replaces the keys of the link with `peer`. They are durable once this is answered with `Ok`, and
    /// otherwise the former ones are still there. For one link, there is one call at a time.
    fn store(
        &self,
        peer: &PeerName,
        ring: Arc<KeyRing>,
    ) -> BoxFuture<'static, Result<(), HandlerError>>;

    /// Is told that the exchange has ended and stores nothing more.
    fn close(&self) {}
}
