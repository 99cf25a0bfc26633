//! The requests of this replica to peers that other replicas have: they go through the store, and so do
//! their answers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use paddington_wire::link::{CallCounts, LinkConfig, OutgoingRequest};
use paddington_wire::{CallItem, LinkId};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::questions::{Left, Questions};
use crate::cluster::cluster::lock;
use crate::store::{Ending, Mailbox, Relayed, SharedStore};
use crate::{Reply, RequestError, SendError};

/// The interval at which the store is asked about requests that wait although no signal has come: one may
/// be lost (S5).
const LOOK: Duration = Duration::from_secs(1);
/// The pause after the store has failed.
const RETRY: Duration = Duration::from_millis(250);

/// The requests of this replica that go through the store.
pub(crate) struct Asking {
    store: Arc<dyn SharedStore>,
    questions: Mutex<Questions>,
    /// Notified when a shard has to be asked.
    news: Vec<Notify>,
    ended: CancellationToken,
}

/// A request that is in the store. Dropping it removes it there, and cancels it.
struct Question<'a> {
    asking: &'a Asking,
    link: LinkId,
    number: u64,
    len: usize,
    ended: oneshot::Receiver<Ending>,
    left: Left,
}

impl Asking {
    pub(crate) fn new(store: Arc<dyn SharedStore>) -> Self {
        let news = (0..store.shards()).map(|_| Notify::new()).collect();
        Self { store, questions: Mutex::default(), news, ended: CancellationToken::new() }
    }

    /// Has the owner of a link make a request, and waits for the reply. If nobody owns the link, the
    /// request waits for an owner.
    ///
    /// # Errors
    ///
    /// [`RequestError`], as the owner would be told.
    pub(crate) async fn ask(
        &self,
        mailbox: &Mailbox,
        request: OutgoingRequest,
        deadline: Option<Instant>,
        bounds: &LinkConfig,
    ) -> Result<Reply, RequestError> {
        let OutgoingRequest { payload, depth, .. } = request;
        if depth >= CallItem::MAX_DEPTH {
            return Err(RequestError::TooDeep);
        }
        let len = payload.len();
        let mut question = self.begin(mailbox, len, bounds)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let put = self.store.ask(mailbox, question.number, Relayed { payload, depth, left });
        let answered = async {
            match put.await {
                Ok(()) => {
                    self.lock().note_stored(question.number);
                    Ok((&mut question.ended).await.ok())
                }
                Err(cause) if cause.may_be_stored() => Ok(Some(Ending::Lost)),
                Err(cause) => Err(cause),
            }
        };
        let answered = match deadline {
            Some(deadline) => {
                timeout_at(deadline, answered).await.unwrap_or(Ok(Some(Ending::TimedOut)))
            }
            None => answered.await,
        };
        let (left, replied) = match answered {
            Ok(Some(ending)) => {
                let replied = ending.reply(&mailbox.peer, len);
                let left = match &replied {
                    Ok(_) => Left::Answered,
                    Err(RequestError::TimedOut) => Left::Expired,
                    Err(_) => Left::Failed,
                };
                (left, replied)
            }
            Ok(None) => (Left::Cancelled, Err(RequestError::Cancelled)),
            Err(cause) => (Left::NotStored, Err(SendError::Storage(cause).into())),
        };
        question.left = left;
        replied
    }

    fn begin(
        &self,
        mailbox: &Mailbox,
        len: usize,
        bounds: &LinkConfig,
    ) -> Result<Question<'_>, RequestError> {
        let (number, ended) = self.lock().begin(mailbox, len, bounds)?;
        self.tell_news(mailbox.link); // from now on it is looked after
        let (link, left) = (mailbox.link, Left::Cancelled);
        Ok(Question { asking: self, link, number, len, ended, left })
    }

    /// Asks the store for answers, because there are some for a link.
    pub(crate) fn answered(&self, link: LinkId) {
        self.lock().note_news(link);
        self.tell_news(link);
    }

    fn tell_news(&self, link: LinkId) {
        self.news[self.store.shard_of(link)].notify_one();
    }

    /// Tells everybody who waits for the peer of a link that it was removed.
    pub(crate) fn removed(&self, link: LinkId) {
        self.lock().remove(link);
    }

    /// Returns how many requests for a link wait for answers from other replicas, and how the others have
    /// ended.
    pub(crate) fn counts(&self, link: LinkId) -> (usize, CallCounts) {
        self.lock().counts(link)
    }

    /// Returns what is cancelled once this replica makes no requests any more.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Tells everybody that this replica ends, and those whom it has asked.
    pub(crate) async fn end(&self) {
        self.lock().end();
        self.ended.cancel();
        self.remove_done(|_| true).await;
    }

    /// Asks a shard of the store whenever there is news, until this replica [ends](Self::end).
    pub(crate) async fn run(self: Arc<Self>, shard: usize) {
        let of_shard = |link| self.store.shard_of(link) == shard;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut awaited = false;
        loop {
            if !std::mem::replace(&mut awaited, self.lock().are_awaited(of_shard)) {
                look.reset(); // the first request after a while is as new as its signal
            }
            let looks = tokio::select! {
                biased;
                () = self.ended.cancelled() => return,
                _ = look.tick(), if awaited => true,
                () = self.news[shard].notified() => false,
            };
            let read = self.read_answers(looks, of_shard);
            let (asked, removed) = tokio::join!(read, self.remove_done(of_shard));
            if !removed {
                self.news[shard].notify_one(); // it is tried again
            }
            let again = !asked || !removed;
            if again && self.ended.run_until_cancelled(sleep(RETRY)).await.is_none() {
                return;
            }
        }
    }

    /// Reads answers for those of these links of which there is news; if this is a look, whatever is known of all
    /// requests for them. Returns whether the store has answered.
    async fn read_answers(&self, looks: bool, of: impl Fn(LinkId) -> bool) -> bool {
        let (links, awaited) = {
            let mut questions = self.lock();
            let awaited = if looks { questions.awaited(&of) } else { Vec::new() };
            (questions.take_news(&of), awaited)
        };
        let endings = if looks {
            if awaited.is_empty() {
                return true;
            }
            self.store.look_after(awaited)
        } else if links.is_empty() {
            return true;
        } else {
            self.store.endings(links.clone())
        };
        match endings.await {
            Ok(endings) => {
                let mut questions = self.lock();
                endings.into_iter().for_each(|(number, ending)| questions.tell(number, ending));
                true
            }
            Err(cause) => {
                debug!(%cause, "the store cannot tell how requests have ended");
                let mut questions = self.lock();
                links.into_iter().for_each(|link| questions.note_news(link));
                false
            }
        }
    }

    /// Removes requests for these links from the store for whose answers nobody waits any more. Returns whether none of
    /// them is left.
    async fn remove_done(&self, of: impl Fn(LinkId) -> bool) -> bool {
        let done = self.lock().take_done(of);
        let removed = done.iter().map(|(link, number)| self.store.withdraw(*link, *number));
        let removed = join_all(removed).await;
        let failed = done.into_iter().zip(removed).filter(|(_, removed)| removed.is_err());
        let failed: Vec<_> = failed.map(|(request, _)| request).collect();
        let is_done = failed.is_empty();
        self.lock().put_back(failed);
        is_done
    }

    fn lock(&self) -> MutexGuard<'_, Questions> {
        lock(&self.questions)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.asking.lock().leave(self.link, self.number, self.len, self.left);
        self.asking.tell_news(self.link);
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}
