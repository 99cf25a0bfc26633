//! The receipts of messages that a shared store has accepted: those who wait are told by whichever
//! replica owns the link, through the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paddington_wire::{LinkId, MessageId, RejectText};
use tokio::sync::oneshot::Sender;
use tokio::sync::{Notify, oneshot};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::Delivered;
use crate::store::{Mailbox, Settled, SharedStore};

/// The most messages that the store is asked about at a time.
const ASKED: usize = 1_024;
/// The interval at which the store is asked although no signal has come: one may be lost (S5).
const LOOK: Duration = Duration::from_secs(5);
/// The pause after the store has failed.
const RETRY: Duration = Duration::from_millis(250);

/// The outcome of a message, with what the peer has said about a rejection.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) delivered: Delivered,
    pub(crate) text: RejectText,
}

/// Those who wait for the outcomes of messages.
pub(crate) struct Receipts {
    store: Arc<dyn SharedStore>,
    state: Mutex<State>,
    /// Notified when a shard has to be asked.
    news: Vec<Notify>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<LinkId, Waiting>,
    /// What everybody is told from now on, once this replica has ended.
    ended: Option<Delivered>,
}

/// Those who wait for messages to one peer.
struct Waiting {
    mailbox: Mailbox,
    messages: BTreeMap<MessageId, Vec<Sender<Known>>>,
    /// The first message that the store has to be asked about; `None` if there is no news.
    from: Option<MessageId>,
}

impl Receipts {
    pub(crate) fn new(store: Arc<dyn SharedStore>) -> Self {
        let news = (0..store.shards()).map(|_| Notify::new()).collect();
        Self { store, state: Mutex::default(), news }
    }

    /// Waits for the outcome of a message.
    pub(crate) async fn wait(&self, mailbox: &Mailbox, id: MessageId) -> Known {
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.lock();
            if let Some(delivered) = state.ended {
                return Known { delivered, text: RejectText::NONE };
            }
            let waiting = state.waiting.entry(mailbox.link).or_insert_with(|| Waiting {
                mailbox: mailbox.clone(),
                messages: BTreeMap::new(),
                from: None,
            });
            waiting.messages.entry(id).or_default().push(tell);
            waiting.from = Some(waiting.from.map_or(id, |from| from.min(id)));
        }
        self.tell_news(mailbox.link);
        let ended = || Known { delivered: Delivered::LeftInStore, text: RejectText::NONE };
        told.await.unwrap_or_else(|_| ended())
    }

    /// Asks the store about messages of a link, because some of them have been settled.
    pub(crate) fn settled(&self, link: LinkId) {
        let mut state = self.lock();
        let Some(waiting) = state.waiting.get_mut(&link) else { return };
        waiting.look();
        drop(state);
        self.tell_news(link);
    }

    /// Asks the store about all messages.
    pub(crate) fn look(&self) {
        self.lock().waiting.values_mut().for_each(Waiting::look);
        self.news.iter().for_each(Notify::notify_one);
    }

    fn tell_news(&self, link: LinkId) {
        self.news[self.store.shard_of(link)].notify_one();
    }

    /// Tells everybody who waits for messages of a link that it was removed.
    pub(crate) fn removed(&self, link: LinkId) {
        let Some(waiting) = self.lock().waiting.remove(&link) else { return };
        waiting.tell_all(Delivered::Removed);
    }

    /// Tells everybody that this replica ends: what waits is in the store.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = Some(Delivered::LeftInStore);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(|waiting| waiting.tell_all(Delivered::LeftInStore));
    }

    /// Asks a shard of the store whenever there is news, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, shard: usize, stop: CancellationToken) {
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.news[shard].notified() => {}
                _ = look.tick() => self.waiting_in(shard, &mut self.lock()).for_each(Waiting::look),
            }
            while let Some((mailbox, ids)) = self.next_question(shard) {
                match self.store.fates(&mailbox, ids.clone()).await {
                    Ok(settled) => self.tell(&mailbox, ids.into_iter().zip(settled)),
                    Err(cause) => {
                        debug!(%cause, "the store cannot tell what has become of messages");
                        self.settled(mailbox.link);
                        if stop.run_until_cancelled(sleep(RETRY)).await.is_none() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Returns those who wait for messages to peers whose links live in a shard.
    fn waiting_in<'a>(
        &self,
        shard: usize,
        state: &'a mut State,
    ) -> impl Iterator<Item = &'a mut Waiting> {
        let all = state.waiting.iter_mut();
        all.filter(move |(link, _)| self.store.shard_of(**link) == shard).map(|(_, it)| it)
    }

    /// Returns the next messages that a shard has to be asked about.
    fn next_question(&self, shard: usize) -> Option<(Mailbox, Vec<MessageId>)> {
        let mut state = self.lock();
        let waiting = self.waiting_in(shard, &mut state).find(|waiting| waiting.from.is_some())?;
        let from = waiting.from.take()?;
        let mut ahead = waiting.messages.range(from..).map(|(id, _)| *id);
        let ids: Vec<_> = ahead.by_ref().take(ASKED).collect();
        waiting.from = ahead.next();
        Some((waiting.mailbox.clone(), ids))
    }

    fn tell(&self, mailbox: &Mailbox, settled: impl Iterator<Item = (MessageId, Settled)>) {
        let mut state = self.lock();
        let Some(waiting) = state.waiting.get_mut(&mailbox.link) else { return };
        for (id, settled) in settled {
            let known = match settled {
                Settled::Waiting => {
                    if waiting.messages.get(&id).is_some_and(|it| it.iter().all(Sender::is_closed))
                    {
                        waiting.messages.remove(&id); // nobody waits any more
                    }
                    continue;
                }
                Settled::Handled => Known { delivered: Delivered::Handled, text: RejectText::NONE },
                Settled::Unhandled(outcome, text) => {
                    let delivered = Delivered::unhandled(outcome).unwrap_or(Delivered::Handled);
                    Known { delivered, text }
                }
            };
            let told = waiting.messages.remove(&id).unwrap_or_default();
            told.into_iter().for_each(|tell| drop(tell.send(known.clone())));
        }
        if waiting.messages.is_empty() {
            state.waiting.remove(&mailbox.link);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn look(&mut self) {
        self.from = self.messages.keys().next().copied();
    }

    fn tell_all(self, delivered: Delivered) {
        for tell in self.messages.into_values().flatten() {
            let _ = tell.send(Known { delivered, text: RejectText::NONE });
        }
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipts").finish_non_exhaustive()
    }
}
