//! The tasks that wait for the next deadline of any peer: for messages that expire while none is sent
//! or transmitted, for peers that are absent, and for requests that are over time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::core::Core;
use crate::peer::{Peer, Shared};

/// Time for which deadlines are collected, to be met together.
const GATHER: Duration = Duration::from_millis(50);

/// Starts the tasks.
pub(crate) fn spawn(core: &Arc<Core>) {
    tokio::spawn(watch(Arc::clone(core), |shared| &shared.deadlines, Peer::expire));
    tokio::spawn(watch(Arc::clone(core), |shared| &shared.absences, Peer::note_absence));
    let core = Arc::clone(core);
    // Handlers may ask as long as a shutdown lets them run.
    tokio::spawn(async move { core.shared.looks.run(core.lifecycle.finished()).await });
}

/// Meets the deadlines of all peers. `meet` returns the time until the next one of a peer; `news`
/// tells of new ones.
async fn watch(core: Arc<Core>, news: fn(&Shared) -> &Notify, meet: fn(&Peer) -> Option<Duration>) {
    loop {
        let next = core.peers.peers().iter().filter_map(|peer| meet(peer)).min();
        let deadline = async {
            match next {
                Some(delay) => sleep(delay.max(GATHER)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.watchers.cancelled() => return,
            () = news(&core.shared).notified() => {
                core.watchers.run_until_cancelled(sleep(GATHER)).await;
            }
            () = deadline => {}
        }
    }
}
