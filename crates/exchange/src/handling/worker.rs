//! Calls the handler: in order for each peer, in parallel for different peers.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Context;

use paddington_wire::RejectCode;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::coop;
use tracing::error;

use super::call;
use crate::Handler;
use crate::peer::{Call, Ended, Peer, WorkerId};
use crate::store::DeadLetter;

/// After so many attempts to handle a message that ended with the process, it is given up.
const MAX_ATTEMPTS: u32 = 5;

/// Runs the handler for one peer until the lane is stopped or the worker dismissed.
pub(crate) async fn run<H: Handler>(
    peer: Arc<Peer>,
    worker: WorkerId,
    handler: Arc<H>,
    permits: Arc<Semaphore>,
) {
    let (mut held, mut done) = (None, None);
    let next = |cx: &mut Context<'_>, held: &mut Option<_>, done: &mut Option<_>| {
        let polled = peer.poll_call(worker, done, cx);
        if polled.is_pending() || permits.available_permits() == 0 {
            *held = None; // others may be waiting for it
        }
        polled
    };
    while let Some(mut call) = poll_fn(|cx| next(cx, &mut held, &mut done)).await {
        coop::consume_budget().await; // a full inbox does not keep other tasks from their turn
        if held.is_none() {
            held = permit(&peer, worker, &permits).await;
        }
        let ended = handle(&peer, worker, &*handler, &mut call).await;
        done = Some((call, ended));
    }
}

/// The right to run one of the handlers that may run at the same time; first come, first served.
async fn permit<'a>(
    peer: &Peer,
    worker: WorkerId,
    permits: &'a Semaphore,
) -> Option<SemaphorePermit<'a>> {
    if let Ok(permit) = permits.try_acquire() {
        return Some(permit);
    }
    // The semaphore is never closed; were it, there would be nobody left to wait for.
    paused(peer, worker, permits.acquire()).await.ok()
}

/// Waits for something that is no part of a call: meanwhile it does not count as running.
pub(super) async fn paused<F: Future>(peer: &Peer, worker: WorkerId, wait: F) -> F::Output {
    peer.lock().handling.workers.stop_clock(worker);
    let output = wait.await;
    peer.lock().handling.workers.start_clock(worker);
    output
}

/// Handles one message, and sees to it that one which cannot be handled is kept.
async fn handle<H: Handler>(peer: &Peer, worker: WorkerId, handler: &H, call: &mut Call) -> Ended {
    let ended = match counted(peer, worker, call).await {
        true => call::call(peer, worker, handler, call).await,
        false => Ended::Failed(RejectCode::POISON),
    };
    if let Ended::Failed(code) = ended
        && peer.lock().handling.workers.fail(worker)
    {
        keep_dead_letter(peer, call, code).await;
    }
    ended
}

/// Counts, durably and beforehand, a call that may not be the first one: a message whose handling
/// ends the process comes again and again. Returns whether it may be called once more. The first
/// call is not counted, because most messages are handled by it and a count costs a sync.
async fn counted(peer: &Peer, worker: WorkerId, call: &mut Call) -> bool {
    if let (Some(store), Some(id), true) = (peer.store(), call.id, call.again) {
        let again = paused(peer, worker, store.attempt(&peer.name, id, peer.fence())).await;
        match again.map(|again| again.saturating_add(1)) {
            Ok(attempt) if attempt > MAX_ATTEMPTS => {
                error!(peer = %peer.name, %id, attempt, "given up: its handling never ended");
                return false;
            }
            Ok(attempt) => call.attempt = attempt,
            Err(cause) => error!(peer = %peer.name, %id, %cause, "an attempt was not counted"),
        }
    }
    true
}

/// Keeps a message that is given up as a dead letter, if there is a store.
pub(super) async fn keep_dead_letter(peer: &Peer, call: &Call, code: RejectCode) {
    if let (Some(store), Some(id), Some(payload)) = (peer.store(), call.id, call.payload()) {
        let at = std::time::SystemTime::now();
        let letter = DeadLetter { peer: peer.name.clone(), id, code, at, payload };
        match store.add_letter(letter).await {
            Ok(()) => peer.note_dead_letter(id, code),
            Err(cause) => error!(peer = %peer.name, %id, %cause, "a dead letter was not kept"),
        }
    }
}
