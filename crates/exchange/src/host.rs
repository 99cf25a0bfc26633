//! The decisions about authenticated connections that a listener and a dialer ask for. Implements
//! `docs/protocol.md` §8.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use paddington_transport::{
    Acceptor, AuthenticHello, Caller, Change, Endpoint, FailedAttempt, Host, Listener, Refusal,
    Renewed, WorthlessHello,
};
use paddington_wire::keys::KeyRing;
use paddington_wire::{CloseCode, Credentials, InvitedClients, KeyError};
use tracing::{info, warn};

use crate::cluster::{Cluster, NotOwned};
use crate::core::Core;
use crate::dialing::Dialing;
use crate::peer::{Peer, PeerReservation};
use crate::renewal::Renewal;

/// An exchange, as a listener sees it.
#[derive(Clone)]
pub(crate) struct ExchangeHost {
    core: Arc<Core>,
}

/// A bound listener, and what its connections are for.
pub(crate) type Hosted = (Listener, Acceptor<ExchangeHost>);

/// Prepares a listener for the clients of an exchange.
///
/// # Errors
///
/// [`KeyError`] if the operating system gives no random bytes.
pub(crate) fn hosted(core: &Arc<Core>, listener: Listener) -> Result<Hosted, KeyError> {
    let path = core.listen.as_ref().map_or("/", |listen| &listen.path);
    let host = ExchangeHost { core: Arc::clone(core) };
    let acceptor = Acceptor::new(host, path, Arc::clone(&core.transport))?;
    let tls = core.listen.as_ref().and_then(|listen| listen.tls.clone());
    Ok((
        listener,
        match tls {
            Some(tls) => acceptor.with_tls(tls),
            None => acceptor,
        },
    ))
}

/// Listens for clients until the exchange shuts down.
pub(crate) fn listen(core: &Arc<Core>, (listener, acceptor): Hosted) {
    let address = listener.address();
    let _ = core.address.set(address); // it listens once
    let _ = core.refusals.set(acceptor.refusals());
    let _ = core.listening.set(listener.listening());
    let tls = core.listen.as_ref().is_some_and(|listen| listen.tls.is_some());
    info!(service = %core.shared.name, %address, tls, "listening");
    listener.spawn(acceptor, &core.tasks, core.lifecycle.listener());
}

impl Host for ExchangeHost {
    type Reservation = PeerReservation;

    fn is_open(&self) -> bool {
        self.core.cluster.as_ref().is_none_or(|cluster| cluster.takes_peers())
    }

    fn clients(&self) -> Arc<InvitedClients> {
        Arc::clone(&self.core.clients)
    }

    async fn reserve(&self, hello: AuthenticHello) -> Result<PeerReservation, Refusal> {
        let AuthenticHello { client, address, instance, .. } = hello;
        let name = &client.name;
        let peer = self.core.peer(name.as_str()).filter(|it| it.mailbox.link == client.link);
        let Some(peer) = peer else { return Err(Refusal::Silent) };
        if self.core.lifecycle.is_ending() {
            return Err(Refusal::Close(CloseCode::Shutdown));
        }
        let is_out_of_reach = |cluster: &Arc<Cluster>| !cluster.takes(peer.mailbox.link);
        if self.core.cluster.as_ref().is_some_and(is_out_of_reach) {
            return Err(Refusal::Silent); // it tries another replica
        }
        if peer.is_overloaded(instance) {
            warn!(peer = %name, %address, "refused: too many handshakes");
            return Err(refuse(&peer, address, CloseCode::Overload));
        }
        let peer = match &self.core.cluster {
            None => peer,
            Some(_) => match self.core.own(&peer.mailbox, instance).await {
                Ok(peer) => peer,
                Err(NotOwned::NotNow) => return Err(Refusal::Silent),
                Err(NotOwned::Busy) => {
                    peer.report_duplicate(address);
                    return Err(refuse(&peer, address, CloseCode::Busy));
                }
            },
        };
        let probed = peer.probe(instance).await;
        if peer.has_ended() {
            return Err(Refusal::Silent);
        }
        let Ok(probed) = probed else {
            peer.report_duplicate(address);
            return Err(refuse(&peer, address, CloseCode::Busy));
        };
        let reservation = PeerReservation::new(&peer, probed, Some(address));
        // Whatever changes from now on makes the reservation void.
        if !self.core.clients.is_current(&client) {
            return Err(Refusal::Silent);
        }
        self.core.ensure_workers(&peer);
        Ok(reservation)
    }

    fn unix_time(&self) -> u64 {
        self.core.network.unix_time()
    }

    fn recognised(&self, hello: WorthlessHello) {
        let explanation = hello.explanation();
        let WorthlessHello { client, address, generation, why } = hello;
        let peer = self.core.peer(client.name.as_str());
        if let Some(peer) = peer.filter(|it| it.mailbox.link == client.link) {
            peer.report_worthless_keys(address, generation, why);
            peer.note_refused(address, explanation);
        }
    }
}

/// Refuses an authenticated client, which its status tells.
fn refuse(peer: &Peer, address: IpAddr, code: CloseCode) -> Refusal {
    let refusal = Refusal::Close(code);
    if let Some(explanation) = refusal.explanation() {
        peer.note_refused(address, explanation);
    }
    refusal
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
    pub(crate) dialing: Arc<Dialing>,
}

impl Caller for PeerCaller {
    type Reservation = PeerReservation;

    fn reserve(&self) -> PeerReservation {
        PeerReservation::new(&self.peer, None, None)
    }

    async fn keys(&self) -> Option<Arc<KeyRing>> {
        match self.peer.keys() {
            Some(keys) => Some(keys.quiet().await),
            None => None,
        }
    }

    fn is_renewable(&self) -> bool {
        self.renewal.is_some()
    }

    fn renewed(&self) -> Option<Renewed> {
        let renewed = self.renewal.as_ref()?.renewed()?;
        if let (Some(keys), Credentials::Ring(newer)) = (self.peer.keys(), &renewed.credentials)
            && let Some(newest) = newer.generations().last()
        {
            // Keys that are known already stay as they are, and the rest of the invitation counts.
            keys.accept(newest);
        }
        Some(renewed)
    }

    fn connected(&self, endpoint: &Endpoint, address: Option<SocketAddr>) {
        self.peer.note_place(endpoint, address);
    }

    fn failed(&self, attempt: &FailedAttempt) {
        self.peer.note_failed(attempt);
    }

    fn changes(&self) -> Vec<Change> {
        self.dialing.take_changes()
    }

    async fn changed(&self) {
        self.dialing.changed().await;
    }
}
