//! The beginning of a peer, at the start of its exchange or later: what runs for it.

use std::sync::Arc;

use paddington_transport::{Dialer, Login, stay_connected};

use crate::core::Core;
use crate::dialing::Server;
use crate::host::PeerCaller;
use crate::peer::store_task;
use crate::registry::{Entry, Role};

/// Begins with a peer that was added to the registry.
pub(crate) fn begin(core: &Arc<Core>, entry: &Entry) {
    let peer = &entry.peer;
    peer.set_request_handler(Arc::clone(&core.requests));
    peer.set_concurrency(core.shared.config.concurrency);
    store_task::spawn(peer, &core.store_tasks, core.store_tasks_stop.clone());
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
