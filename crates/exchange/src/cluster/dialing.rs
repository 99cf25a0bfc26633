//! Which replica dials a server that the service is invited to: the one that owns the link (S12).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use super::cluster::lock;
use crate::core::Core;
use crate::dialing::Server;
use crate::faults::{Fault, broken};
use crate::joining;
use crate::store::Mailbox;

/// The interval at which a replica looks for servers that nobody dials; each time it is up to a half
/// longer, so that replicas do not ask together.
const LOOK: Duration = Duration::from_secs(2);

/// Dials the servers whose links live in a shard and are owned by no living replica, until the exchange ends.
pub(super) async fn dial(core: Arc<Core>, shard: usize) {
    let Some(cluster) = core.cluster.clone() else { return };
    loop {
        let is_there = |server: &&Server| cluster.shard_of(server.link) == shard;
        let servers: Vec<Server> =
            lock(&cluster.servers).values().filter(is_there).cloned().collect();
        for server in servers {
            let mailbox = Mailbox { peer: server.name.clone(), link: server.link };
            let owned = core.entry_of(&mailbox).is_none_or(|entry| entry.peer.is_owner());
            if owned {
                continue;
            }
            match core.own(&mailbox, None).await {
                Ok(_) => joining::dial(&core, server),
                Err(_) if broken(Fault::DialledByAll) => joining::dial(&core, server),
                Err(cause) => debug!(peer = %mailbox.peer, ?cause, "not dialled by this replica"),
            }
        }
        let pause = LOOK + LOOK.mul_f64(core.network.chance() / 2.0);
        tokio::select! {
            biased;
            () = core.watchers.cancelled() => return,
            () = cluster.shard(shard).dial.notified() => sleep(pause / 8).await,
            () = sleep(pause) => {}
        }
    }
}
