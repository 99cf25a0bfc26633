//! The beginning of a peer, at the start of its exchange or later: what runs for it.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use paddington_transport::{Dialer, Login, Network, stay_connected};
use paddington_wire::keys::KeyRing;
use paddington_wire::{Credentials, keys};

use crate::core::Core;
use crate::dialing::Server;
use crate::host::PeerCaller;
use crate::peer::{KeyMatters, Peer, store_task};
use crate::registry::{Entry, Role};
use crate::{Config, KeyStore};

/// Begins with a peer that was added to the registry.
pub(crate) fn begin(core: &Arc<Core>, entry: &Entry) {
    let peer = &entry.peer;
    peer.set_request_handler(Arc::clone(&core.requests));
    store_task::spawn(peer, &core.store_tasks, core.store_tasks_stop.clone());
}

/// What the keys of links are made with.
pub(crate) struct KeyMaker(Arc<KeyMatters>);

impl KeyMaker {
    pub(crate) fn new(
        config: &Config,
        store: Option<Arc<dyn KeyStore>>,
        network: &Arc<dyn Network>,
    ) -> Self {
        let interval = match config.renew_keys {
            Duration::ZERO => u64::MAX,
            interval => interval.as_secs().max(1),
        };
        let (network, on_change) = (Arc::clone(network), OnceLock::new());
        Self(Arc::new(KeyMatters { interval, store, network, on_change }))
    }

    /// Makes new keys of a link those with which its peer is recognised. A server is dialled with those
    /// that its peer has.
    pub(crate) fn begin(&self, core: Weak<Core>) {
        let on_change = move |peer: &Peer, ring: &Arc<KeyRing>| {
            let Some(core) = core.upgrade() else { return };
            let credentials = Credentials::Ring(Arc::clone(ring));
            // Keys that were agreed on are those of no other link.
            let _ = core.peers.replace_keys(&peer.name, credentials.keys_id());
            core.clients.change(peer.mailbox.link, |client| client.credentials = credentials);
        };
        let _ = self.0.on_change.set(Box::new(on_change)); // it is set once
    }

    /// Stores nothing more.
    pub(crate) fn close(&self) {
        if let Some(store) = &self.0.store {
            store.close();
        }
    }

    /// Gives a new peer the keys of its link, if they have generations.
    pub(crate) fn give(&self, peer: &Peer, role: &Role, credentials: &Credentials) {
        let Credentials::Ring(ring) = credentials else { return };
        let role = match role {
            Role::Client => keys::Role::Server,
            Role::Server(_) => keys::Role::Client,
        };
        peer.set_keys(role, Arc::clone(ring), Arc::clone(&self.0));
    }
}

/// Dials a server that was added to the registry.
pub(crate) fn dial(core: &Arc<Core>, server: Server) {
    let Some(Entry { peer, role: Role::Server(dialing), .. }) =
        core.peers.entry(server.name.as_str())
    else {
        return;
    };
    core.ensure_workers(&peer);
    let login = Login { credentials: server.credentials, instance: peer.instance };
    let dialer = Dialer {
        endpoint: server.endpoint,
        fallbacks: server.fallbacks,
        login,
        network: Arc::clone(&core.network),
        tls: server.tls,
        config: Arc::clone(&core.transport),
    };
    let stop = dialing.stop.clone();
    let caller = PeerCaller { peer, renewal: server.renewal, dialing };
    stay_connected(dialer, caller, &core.tasks, stop);
}
