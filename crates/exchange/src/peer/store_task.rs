//! The store task of a peer: it carries messages, trims and cursors between the peer's link and the
//! store. Implements "What is stored" of `docs/delivery.md`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use paddington_wire::{MessageId, Payload};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use super::Peer;
use super::appends::Append;
use super::storing::Removals;
use crate::store::{Answer, Followed, StoreError};

/// Time for which trims and moved cursors are collected.
const GATHER: Duration = Duration::from_millis(20);
/// The most bytes that are read from the store at a time.
const READ_BYTES: usize = 1024 * 1024;
/// Pause after a failure to read from the store.
const READ_RETRY: Duration = Duration::from_secs(1);

/// A pending read of messages, with the id of the first one.
type Reading = BoxFuture<'static, (MessageId, Result<Vec<Payload>, StoreError>)>;

/// A pending read of messages that others have accepted, with the id of the first one.
type Following = BoxFuture<'static, (MessageId, Result<Vec<Followed>, StoreError>)>;

/// A lazy write that is durable.
#[derive(Clone, Copy)]
enum Lazy {
    Trim(MessageId),
    Mark(MessageId),
    /// A cursor, or fates: the link need not be told.
    Cursor,
}

/// A peer, its store, and the pending answers of the store.
struct StoreTask {
    peer: Arc<Peer>,
    appends: FuturesOrdered<BoxFuture<'static, (Append, Result<(), StoreError>)>>,
    lazy: FuturesUnordered<Answer<Lazy>>,
    reading: Option<Reading>,
    following: Option<Following>,
    gathering: Option<Pin<Box<Sleep>>>,
}

/// Starts the store task of `peer`, if its messages are stored. It runs until `stop`, or until the peer
/// is removed, and then until everything is answered.
pub(crate) fn spawn(peer: &Arc<Peer>, tasks: &TaskTracker, stop: CancellationToken) {
    if peer.store().is_none() || peer.has_ended() {
        return;
    }
    let task = StoreTask {
        peer: Arc::clone(peer),
        appends: FuturesOrdered::new(),
        lazy: FuturesUnordered::new(),
        reading: None,
        following: None,
        gathering: None,
    };
    tasks.spawn(task.run(stop));
}

impl StoreTask {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() && !self.peer.has_ended() {
            self.step(&stop).await;
            self.look();
        }
        self.finish().await;
    }

    async fn step(&mut self, stop: &CancellationToken) {
        tokio::select! {
            biased;
            Some(first) = self.appends.next() => self.answered(first),
            Some(done) = self.lazy.next() => self.written(done),
            Some((first, read)) = OptionFuture::from(self.reading.as_mut()) => {
                self.read(first, read).await;
            }
            Some((first, read)) = OptionFuture::from(self.following.as_mut()) => {
                self.followed(first, read).await;
            }
            Some(()) = OptionFuture::from(self.gathering.as_mut()) => {
                self.gathering = None;
                self.commit();
            }
            () = self.peer.work() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Takes the work that the peer has for the store.
    fn look(&mut self) {
        for append in self.peer.take_appends() {
            self.appends.push_back(append.wait().boxed());
        }
        if self.gathering.is_none() && self.peer.has_store_work() {
            self.gathering = Some(Box::pin(sleep(GATHER)));
        }
        if let Some((mark, answer)) = self.peer.take_mark() {
            self.push_lazy(answer, Lazy::Mark(mark));
        }
        if self.reading.is_none()
            && let (Some(store), Some(first)) = (self.peer.store(), self.peer.wanted())
        {
            let answer = store.read(&self.peer.mailbox, first, READ_BYTES);
            self.reading = Some(answer.map(move |read| (first, read)).boxed());
        }
        if self.following.is_none()
            && let Some(term) = self.peer.term()
            && let Some(first) = self.peer.next_to_follow()
        {
            let answer = term.store.follow(&self.peer.mailbox, first, READ_BYTES);
            self.following = Some(answer.map(move |read| (first, read)).boxed());
        }
    }

    /// Takes all answers that are ready, so that the peer is locked once for a whole commit.
    fn answered(&mut self, first: (Append, Result<(), StoreError>)) {
        let mut answered = vec![first];
        while let Some(Some(next)) = self.appends.next().now_or_never() {
            answered.push(next);
        }
        self.peer.stored(answered);
    }

    fn written(&self, done: Result<Lazy, StoreError>) {
        match done {
            Ok(Lazy::Trim(id)) => self.peer.trimmed(id),
            Ok(Lazy::Mark(id)) => self.peer.marked(id),
            Ok(Lazy::Cursor) => {}
            Err(cause) if self.peer.note_stale(&cause) => {}
            Err(cause) => {
                error!(peer = %self.peer.name, %cause, "a trim, mark or cursor could not be stored");
            }
        }
    }

    async fn read(&mut self, first: MessageId, read: Result<Vec<Payload>, StoreError>) {
        self.reading = None;
        match read {
            Ok(payloads) if !payloads.is_empty() => self.peer.supply(first, payloads),
            answer => {
                let cause = answer.err().map(|cause| cause.to_string());
                error!(peer = %self.peer.name, id = %first, cause, "messages could not be read");
                sleep(READ_RETRY).await;
            }
        }
    }

    async fn followed(&mut self, first: MessageId, read: Result<Vec<Followed>, StoreError>) {
        self.following = None;
        match read {
            Ok(messages) if messages.is_empty() => {
                if self.peer.found_nothing(first) {
                    sleep(READ_RETRY).await;
                }
            }
            Ok(messages) => self.peer.follow(first, messages),
            Err(cause) => {
                error!(peer = %self.peer.name, id = %first, %cause, "messages could not be read");
                sleep(READ_RETRY).await;
            }
        }
    }

    /// Hands removals and moved cursors to the store.
    fn commit(&mut self) {
        let Removals { settled, trims } = self.peer.take_removals();
        settled.into_iter().for_each(|settled| self.push_lazy(settled, Lazy::Cursor));
        for (upto, trim) in trims {
            self.push_lazy(trim, Lazy::Trim(upto));
        }
        for change in self.peer.commit_cursors() {
            self.push_lazy(change, Lazy::Cursor);
        }
    }

    fn push_lazy(&self, answer: Answer<()>, written: Lazy) {
        self.lazy.push(answer.map(move |done| done.map(|()| written)).boxed());
    }

    async fn finish(mut self) {
        self.look();
        self.commit();
        while let Some(first) = self.appends.next().await {
            self.answered(first);
        }
        while let Some(done) = self.lazy.next().await {
            self.written(done);
        }
    }
}
