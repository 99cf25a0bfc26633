//! The inbox: what the routes do with it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington::{Content, ReplyError, current};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::claim::Failed;
use super::consumer::Consumer;
use super::leases;
use super::queue::{Holder, Queue};

/// Hands the messages of a service to the consumers of its local API. A clone is another handle.
///
/// Each message is here until a consumer has acknowledged it, and is acknowledged to its sender only
/// then. What a consumer has not acknowledged when it ends comes again, before newer messages of the
/// same peer, to the next one.
#[derive(Clone, Default)]
pub struct Inbox {
    pub(super) shared: Arc<Shared>,
}

#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Tells consumers that there may be something for them.
    changed: Notify,
    /// Tells the task of the leases that one may end earlier than it thinks.
    pub(super) leased: Notify,
    /// Whether the task of the leases runs.
    pub(super) leasing: AtomicBool,
    /// Whether the end of the service is awaited.
    watched: AtomicBool,
}

/// The effect of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The message is done.
    Done,
    /// Nobody waits for it: it was acknowledged before, or given to another consumer, or its request
    /// is over.
    Unknown,
    /// It has no reply, because it is no request.
    NotARequest,
    /// The reply was not taken; the requester is told so.
    Refused(ReplyError),
}

impl Inbox {
    /// Makes an inbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives up all messages that no consumer has, without acknowledging them: they come again after
    /// the next start. This happens by itself when the service shuts down.
    pub(crate) fn close(&self) {
        self.shared.lock().close();
        self.shared.tell();
    }

    /// Makes a consumer that has what it takes until it is dropped.
    pub(crate) fn stream(&self) -> Consumer {
        let holder = Holder::Stream(self.shared.lock().number());
        Consumer::new(Arc::clone(&self.shared), holder, None)
    }

    /// Makes a consumer whose messages are acknowledged in time, or come again.
    pub(crate) fn poll(&self, name: Option<&str>, lease: std::time::Duration) -> Consumer {
        let holder = match name {
            Some(name) => Holder::Named(name.into()),
            None => Holder::Poll(self.shared.lock().number()),
        };
        Consumer::new(Arc::clone(&self.shared), holder, Some(lease))
    }

    /// Acknowledges a message as handled, or as one whose handling has failed.
    pub(crate) fn finish(
        &self,
        id: &str,
        consumer: Option<&str>,
        outcome: Result<(), Failed>,
    ) -> Answered {
        let mut queue = self.shared.lock();
        let number = queue.given(id, consumer).map(|(number, _)| number);
        let done = number.is_some_and(|number| queue.finish(number, outcome));
        drop(queue);
        self.shared.tell();
        if done { Answered::Done } else { Answered::Unknown }
    }

    /// Replies to a request, and acknowledges it.
    pub(crate) fn reply(&self, id: &str, consumer: Option<&str>, reply: Content) -> Answered {
        let given = self.shared.lock().given(id, consumer).map(|(_, message)| message.clone());
        let Some(message) = given else { return Answered::Unknown };
        let replied = match reply {
            Content::Text(text) => message.reply(text),
            Content::Bytes(bytes) => message.reply_bytes(bytes),
        };
        match replied {
            Err(ReplyError::NotARequest) => Answered::NotARequest,
            Err(ReplyError::Over) => {
                self.finish(id, consumer, Ok(()));
                Answered::Unknown
            }
            Err(refused) => {
                self.finish(id, consumer, Ok(()));
                Answered::Refused(refused)
            }
            Ok(()) => {
                self.finish(id, consumer, Ok(()));
                Answered::Done
            }
        }
    }

    /// Closes this inbox when the service whose handler calls this shuts down.
    pub(super) fn watch_shutdown(&self) {
        if self.shared.watched.load(Ordering::Relaxed)
            || self.shared.watched.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let Ok(exchange) = current() else { return };
        let (inbox, stopping) = (self.clone(), exchange.clone());
        drop(exchange.spawn(async move {
            stopping.stopping().await;
            inbox.close();
        }));
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells consumers that something has changed.
    pub(super) fn tell(&self) {
        self.changed.notify_waiters();
    }

    /// Resolves at the next change after this call.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Sees to it that leases end in time.
    pub(super) fn watch_leases(self: &Arc<Self>) {
        if self.leasing.swap(true, Ordering::Relaxed) {
            self.leased.notify_one();
        } else {
            leases::spawn(self);
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}
