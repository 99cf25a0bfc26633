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
use paddington_wire::{Message, RejectCode, RejectText};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{coop, unconstrained};
use tokio::time::sleep;
use tracing::error;

use super::dead_letter::{self, Attempt};
use crate::core::{Core, SpawnWorker};
use crate::current::in_handler;
use crate::escaped::Escaped;
use crate::peer::{Call, Ended, Failure, Peer, WorkerId};
use crate::{Handler, HandlerError, OnError, Unhandled};

/// Returns the function that adds a worker to a peer; nothing else knows the handler's type. At
/// most `handlers` calls run at the same time.
pub(crate) fn spawner<H: Handler>(handler: Arc<H>, handlers: usize) -> Box<SpawnWorker> {
    let permits = Arc::new(Semaphore::new(handlers));
    Box::new(move |core: &Arc<Core>, peer: &Arc<Peer>| {
        let worker = peer.add_worker(handler.begins_in_order());
        let (handler, permits) = (Arc::clone(&handler), Arc::clone(&permits));
        let running = run(Arc::clone(core), Arc::clone(peer), worker, handler, permits);
        let task = core.workers.spawn(in_handler(Arc::clone(core), running));
        peer.set_worker_task(worker, task.abort_handle());
    })
}

/// Runs until the peer's handling is stopped or the worker is removed.
async fn run<H: Handler>(
    core: Arc<Core>,
    peer: Arc<Peer>,
    worker: WorkerId,
    handler: Arc<H>,
    permits: Arc<Semaphore>,
) {
    let mut turn = Turn { core: &core, peer: &peer, worker, permits: &permits, permit: None };
    let mut done = None;
    while let Some(mut call) = poll_fn(|cx| turn.poll_call(&mut done, cx)).await {
        coop::consume_budget().await; // a full inbox must not starve other tasks
        if turn.permit.is_none() {
            turn.acquire().await;
        }
        let ended = handle(&mut turn, &*handler, &mut call).await;
        done = Some((call, ended));
    }
}

/// A worker and its right to run one of the calls that may run at the same time; first come, first
/// served.
struct Turn<'a> {
    core: &'a Arc<Core>,
    peer: &'a Arc<Peer>,
    worker: WorkerId,
    permits: &'a Semaphore,
    permit: Option<SemaphorePermit<'a>>,
}

impl Turn<'_> {
    /// Ends the call that is `done` and takes the next one, with the same permit unless another
    /// worker may be waiting for it.
    fn poll_call(
        &mut self,
        done: &mut Option<(Call, Ended)>,
        cx: &Context<'_>,
    ) -> Poll<Option<Call>> {
        let polled = self.peer.poll_call(self.worker, done, cx);
        if polled.is_pending() || self.permits.available_permits() == 0 {
            self.permit = None;
        }
        polled
    }

    async fn acquire(&mut self) {
        self.permit = self.permits.try_acquire().ok();
        if self.permit.is_none() {
            // The semaphore is never closed.
            self.permit = self.peer.paused(self.worker, self.permits.acquire()).await.ok();
        }
    }

    /// Waits between two attempts. Other calls may run meanwhile.
    async fn pause(&mut self, delay: Duration) {
        self.permit = None;
        self.peer.paused(self.worker, sleep(delay)).await;
        self.acquire().await;
    }

    /// Lets the call for the next message begin.
    fn begin_next(&self) {
        if self.peer.begin_next(self.worker) {
            self.core.add_worker(self.peer);
        }
    }
}

/// Handles one message, and keeps it as a dead letter if that fails.
async fn handle<H: Handler>(turn: &mut Turn<'_>, handler: &H, call: &mut Call) -> Ended {
    let (peer, worker) = (turn.peer, turn.worker);
    let ended = if call.is_bytes() && !handler.takes_bytes() {
        peer.report_bytes(call);
        Ended::Failed(RejectCode::TEXT_ONLY.into())
    } else {
        match dead_letter::count(peer, worker, call).await {
            Attempt::Allowed => attempt(turn, handler, call).await,
            Attempt::Poison => Ended::Failed(RejectCode::POISON.into()),
            Attempt::TooLate => Ended::Left,
        }
    };
    if let Ended::Failed(failure) = &ended
        && peer.fail_call(worker)
    {
        dead_letter::keep(peer, call, failure.code).await;
    }
    ended
}

/// Calls the handler, as often as the policy allows. Whatever it does affects this message only.
async fn attempt<H: Handler>(turn: &mut Turn<'_>, handler: &H, call: &mut Call) -> Ended {
    let peer = turn.peer;
    let config = &peer.shared.config;
    let Some(mut message) = peer.message(call) else { return Ended::Done };
    loop {
        let attempt = message.attempt();
        let copy = (config.on_error != OnError::Next).then(|| message.clone());
        let failure = match call_once(turn, handler, message, call).await {
            Ok(()) => return Ended::Done,
            Err(None) => return Ended::Left,
            Err(Some(failure)) => failure,
        };
        let Some(copy) = copy.filter(|message| !message.is_control()) else {
            return Ended::Failed(failure);
        };
        if config.on_error == OnError::Stop {
            error!(
                peer = %peer.name, id = call.shown(),
                "stopped handling this peer's messages until resume_handling is called"
            );
            return Ended::Halted;
        }
        let Some(backoff) = config.on_error.again_after(attempt) else {
            return Ended::Failed(failure);
        };
        turn.pause(backoff).await;
        if !peer.may_try_again(turn.worker) {
            return Ended::Left;
        }
        message = copy.next_attempt();
    }
}

/// Calls the handler. Returns why it has failed; `None` if the message is left for the next start.
async fn call_once<H: Handler>(
    turn: &Turn<'_>,
    handler: &H,
    message: Message,
    call: &Call,
) -> Result<(), Option<Failure>> {
    let peer = turn.peer;
    let (limit, attempt) = (peer.shared.config.handler_limit(), message.attempt());
    let mut called = pin!(AssertUnwindSafe(run_handler(handler, message)).catch_unwind());
    let mut at_once = None;
    if handler.begins_in_order() {
        at_once = called.as_mut().now_or_never();
        turn.begin_next();
    }
    let called = match at_once {
        Some(output) => Some(output),
        None => within(limit, called).await,
    };
    match called {
        Some(Ok(Ok(()))) => return Ok(()),
        Some(Ok(Err(cause))) => {
            if cause.is::<Unhandled>() && peer.may_leave(turn.worker).await {
                return Err(None);
            }
            let reveals = peer.shared.config.reveal_errors && !call.is_control();
            let text = if reveals { RejectText::cut(&cause) } else { RejectText::NONE };
            peer.report_failure(call, attempt, &Escaped(cause));
            return Err(Some(Failure { code: RejectCode::FAILED, text }));
        }
        None => {
            error!(peer = %peer.name, id = call.shown(), ?limit, "the handler took too long");
            return Err(Some(RejectCode::TIMED_OUT.into()));
        }
        Some(Err(panic)) => {
            let cause = format!("the handler panicked: {}", panic_text(&*panic));
            peer.report_failure(call, attempt, &Escaped(cause));
        }
    }
    Err(Some(RejectCode::FAILED.into()))
}

/// Returns the output of `future`, or `None` if it runs for longer than `limit`, if there is one. A
/// future that is ready at once costs no look at the clock.
pub(super) async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut over = None;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            let Some(limit) = limit else { return Poll::Pending };
            // A handler that uses up the task's budget leaves none for the timer.
            let over = over.get_or_insert_with(|| Box::pin(unconstrained(running(limit))));
            over.as_mut().poll(cx).map(|()| None)
        }
    })
    .await
}

/// The number of parts of a time that is measured. If the process is stopped, or its machine
/// sleeps, that is noticed by a part that takes much longer.
const PARTS: u32 = 16;

/// Resolves when this process has been running for `time`: while it is stopped, no time passes.
async fn running(time: Duration) {
    let part = (time / PARTS).max(Duration::from_millis(1));
    let mut left = time;
    while !left.is_zero() {
        let step = part.min(left);
        sleep(step).await;
        left -= step;
    }
}

/// Calls the handler. The call itself happens inside the future, so that a handler that panics
/// before its first `await` is caught too.
pub(super) async fn run_handler<H: Handler>(
    handler: &H,
    message: Message,
) -> Result<(), HandlerError> {
    handler.handle(message).await
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use tokio::task::coop::consume_budget;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_uses_up_its_budget_is_cancelled_too() {
        let hot = async {
            loop {
                consume_budget().await;
            }
        };
        assert_eq!(within::<_>(Some(Duration::from_millis(5)), hot).await, None::<()>);
        assert_eq!(within(Some(Duration::ZERO), std::future::ready(1)).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_stopped_does_not_use_up_the_time_of_its_calls() {
        let limit = Duration::from_secs(160);
        let mut time = pin!(running(limit));
        assert!(futures_util::poll!(time.as_mut()).is_pending());
        tokio::time::advance(Duration::from_secs(10_000)).await; // SIGSTOP, SIGCONT
        assert!(futures_util::poll!(time.as_mut()).is_pending());
        let goes_on = Instant::now();
        time.await;
        assert!(goes_on.elapsed() >= limit - limit / 8, "{:?}", goes_on.elapsed());
    }
}
