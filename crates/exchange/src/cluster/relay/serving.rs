//! The requests of other replicas, and those of this one from before it owned the link: taken from the
//! store, made at the peer, and answered there.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use paddington_wire::LinkId;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::cluster::cluster::lock;
use crate::core::Core;
use crate::peer::{Made, Peer};
use crate::store::{Ending, RelayId, Relayed, ReplicaId, SharedStore, TakeOf};

/// The interval at which the store is asked although no signal has come: one may be lost (S5).
const LOOK: Duration = Duration::from_secs(5);
/// The pause after the store has failed.
const RETRY: Duration = Duration::from_millis(250);

/// The requests that this replica makes because it owns the links.
pub(crate) struct Serving {
    store: Arc<dyn SharedStore>,
    state: Mutex<State>,
    /// Notified when a shard has to be asked.
    news: Vec<Notify>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct State {
    /// What there may be in each shard.
    looks: Vec<Looks>,
    /// Those that are under way, with what stops them.
    running: HashMap<(ReplicaId, u64), (RelayId, AbortHandle)>,
}

/// What there may be in a shard.
#[derive(Clone, Debug, Default)]
struct Looks {
    /// Links for which there may be requests.
    links: BTreeSet<LinkId>,
    /// Whether there may be some for any link.
    all: bool,
}

/// A request that is under way.
struct Running {
    serving: Arc<Serving>,
    id: RelayId,
}

impl Serving {
    pub(crate) fn new(store: Arc<dyn SharedStore>) -> Self {
        let shards = store.shards();
        let state = State { looks: vec![Looks::default(); shards], running: HashMap::new() };
        Self {
            store,
            state: Mutex::new(state),
            news: (0..shards).map(|_| Notify::new()).collect(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Looks for requests for a link.
    pub(crate) fn look_at(&self, link: LinkId) {
        let shard = self.store.shard_of(link);
        self.lock().looks[shard].links.insert(link);
        self.news[shard].notify_one();
    }

    /// Looks for requests for all links.
    pub(crate) fn look(&self) {
        (0..self.news.len()).for_each(|shard| self.look_in(shard));
    }

    /// Looks for requests for all links of a shard.
    fn look_in(&self, shard: usize) {
        self.lock().looks[shard].all = true;
        self.news[shard].notify_one();
    }

    /// Stops a request for whose answer nobody waits any more.
    pub(crate) fn give_up(&self, asker: ReplicaId, number: u64) {
        let stopped = self.lock().running.remove(&(asker, number));
        if let Some((_, task)) = stopped {
            task.abort();
        }
    }

    /// Starts the tasks that take requests, one for each shard.
    pub(crate) fn spawn(self: &Arc<Self>, core: &Arc<Core>) {
        for shard in 0..self.news.len() {
            self.tasks.spawn(Arc::clone(self).run(Arc::clone(core), shard));
        }
    }

    /// Takes requests from a shard whenever there is news, until this replica [ends](Self::end).
    async fn run(self: Arc<Self>, core: Arc<Core>, shard: usize) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let looks = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                _ = look.tick() => true,
                () = self.news[shard].notified() => false,
            };
            if looks {
                self.lock().looks[shard].all = true;
                self.stop_those_over(shard).await;
            }
            let Some(of) = self.next_look(shard) else { continue };
            if !self.take(&core, of).await
                && self.stop.run_until_cancelled(sleep(RETRY)).await.is_none()
            {
                return;
            }
        }
    }

    /// Returns what is to be looked for.
    fn next_look(&self, shard: usize) -> Option<TakeOf> {
        let Looks { links, all } = std::mem::take(&mut self.lock().looks[shard]);
        if all {
            Some(TakeOf::All(shard))
        } else {
            (!links.is_empty()).then(|| TakeOf::Links(links.into_iter().collect()))
        }
    }

    /// Takes all requests that there are. Returns whether the store has answered; else it is asked again.
    async fn take(self: &Arc<Self>, core: &Arc<Core>, of: TakeOf) -> bool {
        while !self.stop.is_cancelled() {
            match self.store.take(of.clone()).await {
                Ok(taken) if taken.is_empty() => return true,
                Ok(taken) => taken.into_iter().for_each(|(id, it)| self.begin(core, id, it)),
                Err(cause) => {
                    debug!(%cause, "the store cannot tell what other replicas ask");
                    match of {
                        TakeOf::All(shard) => self.look_in(shard),
                        TakeOf::Links(links) => {
                            links.into_iter().for_each(|link| self.look_at(link));
                        }
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Makes a request in a task of its own.
    fn begin(self: &Arc<Self>, core: &Arc<Core>, id: RelayId, request: Relayed) {
        let (core, running) = (Arc::clone(core), Running { serving: Arc::clone(self), id });
        let mut state = self.lock(); // the task removes it when it ends
        let task = self.tasks.spawn(async move { running.serve(&core, request).await });
        state.running.insert((id.asker, id.number), (id, task.abort_handle()));
    }

    /// Stops the requests for links of a shard for whose answers nobody waits any more, of which no signal has come.
    async fn stop_those_over(&self, shard: usize) {
        let is_there = |id: &RelayId| self.store.shard_of(id.link) == shard;
        let running = self.lock().running.values().map(|(id, _)| *id).filter(is_there).collect();
        match self.store.over(shard, running).await {
            Ok(over) => over.into_iter().for_each(|id| self.give_up(id.asker, id.number)),
            Err(cause) => debug!(%cause, "the store cannot tell which requests are over"),
        }
    }

    /// Makes nothing any more for these peers, whose links are given up, and waits until those who have
    /// asked can know how their requests have ended.
    pub(crate) async fn end(&self, own: &[Arc<Peer>]) {
        self.stop.cancel();
        own.iter().for_each(|peer| peer.stop_asking());
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Running {
    /// Makes the request, and says in the store how it has ended.
    async fn serve(&self, core: &Core, request: Relayed) {
        let ended = match core.peers.owned(self.id.link) {
            Some(peer) => ask(&peer, request).await,
            None => None,
        };
        let Serving { store, stop, .. } = &*self.serving;
        loop {
            let told = match &ended {
                Some(ending) => store.end(self.id, ending.clone()),
                None => store.give_back(self.id),
            };
            let Err(cause) = told.await else { return };
            debug!(%cause, "the store cannot take how a request has ended");
            if stop.run_until_cancelled(sleep(RETRY)).await.is_none() {
                return; // whoever has asked finds out that this replica is gone
            }
        }
    }
}

/// Makes a request. Returns how it has ended; `None` if it was not made, so that another replica may.
async fn ask(peer: &Arc<Peer>, request: Relayed) -> Option<Ending> {
    let Relayed { payload, depth, left } = request;
    let deadline = left.and_then(|left| Instant::now().checked_add(left));
    match peer.ask(payload, depth, deadline) {
        Ok(Made::Here(mut pending)) => Ending::of(pending.reply().await.ok()?),
        Ok(Made::Elsewhere(_)) => None,
        Err(error) => Ending::of(Err(error)),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let RelayId { asker, number, .. } = self.id;
        let running = &mut self.serving.lock().running;
        if running.get(&(asker, number)).is_some_and(|(id, _)| *id == self.id) {
            running.remove(&(asker, number));
        }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}
