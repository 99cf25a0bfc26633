//! The beginning of a peer, at the start of its exchange or later: what runs for it.

use std::sync::Arc;
use std::time::Duration;

use paddington_transport::{Dialer, Login, Network, stay_connected};
use paddington_wire::{Credentials, keys};

use crate::KeyStore;
use crate::core::Core;
use crate::dialing::Server;
use crate::host::PeerCaller;
use crate::peer::{LinkKeys, OnChange, Peer, Shared, store_task};
use crate::registry::{Entry, Role};

/// Begins with a peer that was added to the registry.
pub(crate) fn begin(core: &Arc<Core>, entry: &Entry) {
    let peer = &entry.peer;
    peer.set_request_handler(Arc::clone(&core.requests));
    peer.set_concurrency(core.shared.config.concurrency);
    if peer.store().is_some() {
        let stops = [core.store_tasks_stop.clone(), entry.stop()];
        store_task::spawn(peer, &core.store_tasks, stops);
    }
    if let Some(keys) = peer.keys() {
        keys.set_on_change(on_change(core, entry));
    }
}

/// Returns what makes new keys of a link those with which its peer is recognised. A server is dialled
/// with those that its peer has.
fn on_change(core: &Arc<Core>, entry: &Entry) -> Box<OnChange> {
    let (core, identity) = (Arc::downgrade(core), entry.identity.clone());
    Box::new(move |ring| {
        let Some(core) = core.upgrade() else { return };
        let credentials = Credentials::Ring(Arc::clone(ring));
        // Keys that were agreed on are those of no other link.
        let _ = core.peers.replace_keys(&identity.name, credentials.keys_id());
        core.clients.change(identity.link, |client| client.credentials = credentials);
    })
}

/// What the keys of links are made with.
pub(crate) struct KeyMaker {
    interval: u64,
    store: Option<Arc<dyn KeyStore>>,
    network: Arc<dyn Network>,
}

impl KeyMaker {
    pub(crate) fn new(
        shared: &Shared,
        store: Option<Arc<dyn KeyStore>>,
        network: &Arc<dyn Network>,
    ) -> Self {
        let interval = match shared.config.renew_keys {
            Duration::ZERO => u64::MAX,
            interval => interval.as_secs().max(1),
        };
        Self { interval, store, network: Arc::clone(network) }
    }

    /// Gives a new peer the keys of its link, if they have generations.
    pub(crate) fn give(&self, peer: &Peer, role: &Role, credentials: &Credentials) {
        let Credentials::Ring(ring) = credentials else { return };
        let role = match role {
            Role::Client => keys::Role::Server,
            Role::Server(_) => keys::Role::Client,
        };
        let (store, network) = (self.store.clone(), Arc::clone(&self.network));
        peer.set_keys(LinkKeys::new(role, Arc::clone(ring), self.interval, store, network));
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
        login,
        network: Arc::clone(&core.network),
        tls: server.tls,
        config: Arc::clone(&core.transport),
    };
    let stop = dialing.stop.clone();
    let caller = PeerCaller { peer, renewal: server.renewal, dialing };
    stay_connected(dialer, caller, &core.tasks, stop);
}
