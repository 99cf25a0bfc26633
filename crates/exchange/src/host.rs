//! The decisions about authenticated connections that a listener and a dialer ask for. Implements
//! `docs/protocol.md` §8.

use std::fmt;
use std::sync::Arc;

use paddington_transport::{AuthenticHello, Caller, Host, Refusal, Renewed};
use paddington_wire::{CloseCode, InvitedClients};
use tracing::warn;

use crate::core::Core;
use crate::peer::{Peer, PeerReservation};
use crate::renewal::Renewal;

/// An exchange, as a listener sees it.
#[derive(Clone)]
pub(crate) struct ExchangeHost {
    pub(crate) core: Arc<Core>,
    pub(crate) clients: Arc<InvitedClients>,
}

impl Host for ExchangeHost {
    type Reservation = PeerReservation;

    fn clients(&self) -> Arc<InvitedClients> {
        Arc::clone(&self.clients)
    }

    async fn reserve(&self, hello: AuthenticHello) -> Result<PeerReservation, Refusal> {
        let AuthenticHello { client, address, instance, .. } = hello;
        let name = &client.name;
        let Some(peer) = self.core.peer(name.as_str()) else { return Err(Refusal::Silent) };
        if self.core.lifecycle.is_ending() {
            return Err(Refusal::Close(CloseCode::Shutdown));
        }
        if peer.is_overloaded(instance) {
            warn!(peer = %name, %address, "refused: too many handshakes");
            return Err(Refusal::Close(CloseCode::Overload));
        }
        let Ok(probed) = peer.probe(instance).await else {
            peer.report_duplicate(address);
            return Err(Refusal::Close(CloseCode::Busy));
        };
        self.core.ensure_workers(peer);
        Ok(PeerReservation::new(peer, probed))
    }
}

impl fmt::Debug for ExchangeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeHost").field("name", &self.core.shared.name).finish_non_exhaustive()
    }
}

/// One peer, as its dialer sees it.
#[derive(Debug)]
pub(crate) struct PeerCaller {
    pub(crate) peer: Arc<Peer>,
    pub(crate) renewal: Option<Arc<dyn Renewal>>,
}

impl Caller for PeerCaller {
    type Reservation = PeerReservation;

    fn reserve(&self) -> PeerReservation {
        PeerReservation::new(&self.peer, None)
    }

    fn is_renewable(&self) -> bool {
        self.renewal.is_some()
    }

    fn renewed(&self) -> Option<Renewed> {
        self.renewal.as_ref()?.renewed()
    }
}
