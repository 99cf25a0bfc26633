//! Who may have a place: the answers that listeners and dialers ask for.
//! Implements `docs/protocol.md` §8.

use std::sync::Arc;

use paddington_transport::{AuthenticHello, Caller, Host, Refusal, Renewed};
use paddington_wire::{CloseCode, InvitedClients};
use tracing::{error, warn};

use crate::peer::Peer;
use crate::peer::PeerReservation;
use crate::{Exchange, Renewal};

/// An exchange, as a listener sees it.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeHost {
    pub(crate) exchange: Exchange,
    pub(crate) clients: Arc<InvitedClients>,
}

impl Host for ExchangeHost {
    type Reservation = PeerReservation;

    fn clients(&self) -> Arc<InvitedClients> {
        Arc::clone(&self.clients)
    }

    async fn reserve(&self, hello: AuthenticHello) -> Result<PeerReservation, Refusal> {
        let AuthenticHello { peer: name, address, instance, .. } = hello;
        let Some(peer) = self.exchange.peer(name.as_str()) else { return Err(Refusal::Silent) };
        if self.exchange.is_shutting_down() {
            return Err(Refusal::Close(CloseCode::Shutdown));
        }
        if peer.is_overloaded() {
            warn!(peer = %name, %address, "refused: too many handshakes in a short time");
            return Err(Refusal::Close(CloseCode::Overload));
        }
        let Ok(silent) = peer.probe(instance).await else {
            error!(
                peer = %name, %address,
                "refused: a second process uses this invitation while the first one is connected; \
                 stop one of them, or give each its own invitation"
            );
            return Err(Refusal::Close(CloseCode::Busy));
        };
        Ok(PeerReservation::new(peer, silent))
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
