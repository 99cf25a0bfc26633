//! A worker: the task that calls the handler for one peer, one message after another, with as many
//! attempts as the policy allows.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use paddington_wire::{Message, RejectCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{coop, unconstrained};
use tokio::time::sleep;
use tracing::{error, warn};

use super::dead_letter;
use crate::core::{Core, SpawnWorker};
use crate::current::in_handler;
use crate::peer::{Call, Ended, Peer, WorkerId};
use crate::{Handler, HandlerError, OnError};

/// Returns the function that adds a worker to a peer; nothing else knows the handler's type. At
/// most `handlers` calls run at the same time.
pub(crate) fn spawner<H: Handler>(handler: H, handlers: usize) -> Box<SpawnWorker> {
    let (handler, permits) = (Arc::new(handler), Arc::new(Semaphore::new(handlers)));
    Box::new(move |core: &Arc<Core>, peer: &Arc<Peer>| {
        let worker = peer.add_worker();
        let running = run(Arc::clone(peer), worker, Arc::clone(&handler), Arc::clone(&permits));
        let task = core.workers.spawn(in_handler(Arc::clone(core), running));
        peer.set_worker_task(worker, task.abort_handle());
    })
}

/// Runs until the peer's handling is stopped or the worker is removed.
async fn run<H: Handler>(
    peer: Arc<Peer>,
    worker: WorkerId,
    handler: Arc<H>,
    permits: Arc<Semaphore>,
) {
    let (mut permit, mut done) = (None, None);
    let next = |cx: &mut Context<'_>, permit: &mut Option<_>, done: &mut Option<_>| {
        let polled = peer.poll_call(worker, done, cx);
        if polled.is_pending() || permits.available_permits() == 0 {
            *permit = None; // another worker may be waiting for it
        }
        polled
    };
    while let Some(mut call) = poll_fn(|cx| next(cx, &mut permit, &mut done)).await {
        coop::consume_budget().await; // a full inbox must not starve other tasks
        if permit.is_none() {
            permit = acquire(&peer, worker, &permits).await;
        }
        let ended = handle(&peer, worker, &*handler, &mut call).await;
        done = Some((call, ended));
    }
}

/// Waits for the permit to run a call; first come, first served.
async fn acquire<'a>(
    peer: &Peer,
    worker: WorkerId,
    permits: &'a Semaphore,
) -> Option<SemaphorePermit<'a>> {
    if let Ok(permit) = permits.try_acquire() {
        return Some(permit);
    }
    // The semaphore is never closed, so this never returns `None`.
    peer.paused(worker, permits.acquire()).await.ok()
}

/// Handles one message, and keeps it as a dead letter if that fails.
async fn handle<H: Handler>(peer: &Peer, worker: WorkerId, handler: &H, call: &mut Call) -> Ended {
    let ended = match dead_letter::may_attempt(peer, worker, call).await {
        true => attempt(peer, worker, handler, call).await,
        false => Ended::Failed(RejectCode::POISON),
    };
    if let Ended::Failed(code) = ended
        && peer.fail_call(worker)
    {
        dead_letter::keep(peer, call, code).await;
    }
    ended
}

/// Calls the handler, as often as the policy allows. Whatever it does affects this message only.
async fn attempt<H: Handler>(peer: &Peer, worker: WorkerId, handler: &H, call: &mut Call) -> Ended {
    let config = &peer.shared.config;
    let Some(mut message) = peer.message(call) else { return Ended::Done };
    loop {
        let attempt = message.attempt();
        let copy = (config.on_error != OnError::Next).then(|| message.clone());
        let Err(code) = call_once(peer, handler, message, call).await else { return Ended::Done };
        let Some(copy) = copy.filter(|message| !message.is_control()) else {
            return Ended::Failed(code);
        };
        if config.on_error == OnError::Stop {
            error!(
                peer = %peer.name, id = call.shown(),
                "stopped handling this peer's messages until resume_handling is called"
            );
            return Ended::Halted;
        }
        let Some(backoff) = config.on_error.again_after(attempt) else {
            return Ended::Failed(code);
        };
        peer.paused(worker, sleep(backoff)).await;
        if !peer.may_try_again(worker) {
            return Ended::Left;
        }
        message = copy.next_attempt();
    }
}

async fn call_once<H: Handler>(
    peer: &Peer,
    handler: &H,
    message: Message,
    call: &Call,
) -> Result<(), RejectCode> {
    let limit = peer.shared.config.handler_timeout;
    let called = AssertUnwindSafe(run_handler(handler, message)).catch_unwind();
    match within(limit, called).await {
        Some(Ok(Ok(()))) => return Ok(()),
        Some(Ok(Err(cause))) => {
            warn!(peer = %peer.name, id = call.shown(), %cause, "a message could not be handled");
        }
        None => {
            error!(peer = %peer.name, id = call.shown(), ?limit, "the handler took too long");
            return Err(RejectCode::TIMED_OUT);
        }
        Some(Err(panic)) => {
            let cause = panic_text(&*panic);
            error!(peer = %peer.name, id = call.shown(), cause, "the handler panicked");
        }
    }
    Err(RejectCode::FAILED)
}

/// Returns the output of `future`, or `None` if it takes longer than `limit`. A future that is
/// ready at once costs no look at the clock.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut over = None;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            // A handler that uses up the task's budget leaves none for the timer.
            let over = over.get_or_insert_with(|| Box::pin(unconstrained(sleep(limit))));
            over.as_mut().poll(cx).map(|()| None)
        }
    })
    .await
}

/// Calls the handler. The call itself happens inside the future, so that a handler that panics
/// before its first `await` is caught too.
async fn run_handler<H: Handler>(handler: &H, message: Message) -> Result<(), HandlerError> {
    handler.handle(message).await
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use tokio::task::coop::consume_budget;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_uses_up_its_budget_is_cancelled_too() {
        let hot = async {
            loop {
                consume_budget().await;
            }
        };
        assert_eq!(within::<_>(Duration::from_millis(5), hot).await, None::<()>);
        assert_eq!(within(Duration::ZERO, std::future::ready(1)).await, Some(1));
    }
}
