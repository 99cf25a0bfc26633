//! A ping that somebody waits for.

use std::time::Duration;

use paddington_wire::{Encoding, SessionId};
use tokio::time::timeout;

use super::Peer;
use super::peer::wake;
use super::pings::PingError;

/// A ping that is waited for. It is forgotten when this is dropped.
struct Waiting<'a> {
    peer: &'a Peer,
    session: SessionId,
    token: u64,
}

impl Peer {
    /// Sends a ping, and returns the time until its answer.
    pub(crate) async fn ping(&self) -> Result<Duration, PingError> {
        if self.encoding() == Encoding::Hex {
            return Err(PingError::Hex(self.name.clone()));
        }
        let waited = self.shared.config.transport.timeouts.dead;
        let asked = self.lock().presence.ping(&self.name, waited)?;
        let _waiting = Waiting { peer: self, session: asked.session, token: asked.token };
        wake(asked.waker);
        match timeout(waited, asked.answer).await {
            Ok(Ok(round_trip)) => Ok(round_trip),
            Ok(Err(_)) => Err(PingError::Ended(self.name.clone())),
            Err(_) => Err(PingError::NoAnswer { peer: self.name.clone(), waited }),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.peer.lock().presence.forget_ping(self.session, self.token);
    }
}
