//! The runners of a peer's requests, and the call of the handler for one request, which ends with
//! exactly one answer. The reasons are in `docs/decisions/0019-runners-of-requests.md`.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Abortable;
use paddington_wire::link::{Answer, CallId};
use paddington_wire::{CallItem, FailureCode, Message, Text, beginning};
use tokio::sync::Semaphore;
use tokio::task::{coop, yield_now};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::error;

use super::worker::{panic_text, run_handler, within};
use crate::core::Core;
use crate::current::in_request;
use crate::escaped::Escaped;
use crate::peer::{Needed, Peer, Request, RequestCall, RequestHandler};
use crate::{Handler, HandlerError, Unhandled};

/// Time after which a call has taken long: then the next one gets a runner of its own.
const LONG: Duration = Duration::from_micros(100);
/// Time between two looks at the runners: for so long, a handler that holds its thread can delay
/// requests that came with its own.
const LOOK: Duration = Duration::from_millis(5);

/// Returns how requests are handled. Of each depth, at most `handlers` calls run at the same time: a
/// request never waits for one that waits for it.
pub(crate) fn starter<H: Handler>(
    handler: Arc<H>,
    handlers: usize,
    core: Weak<Core>,
) -> RequestHandler {
    let depths = 0..CallItem::MAX_DEPTH;
    let permits: Arc<[Semaphore]> = depths.map(|_| Semaphore::new(handlers)).collect();
    let takes_bytes = handler.takes_bytes();
    let run = move |peer: &Arc<Peer>, needed: Needed| {
        let Some(core) = core.upgrade() else { return };
        let peer = Arc::clone(peer);
        match needed {
            Needed::Runner => {
                let (handler, permits) = (Arc::clone(&handler), Arc::clone(&permits));
                let workers = core.workers.clone();
                workers.spawn(take_requests(core, peer, handler, permits));
            }
            Needed::Look => drop(tokio::spawn(look(core, peer))),
        }
    };
    RequestHandler { run: Box::new(run), takes_bytes }
}

/// Looks whether runners take the requests that may begin, as long as there are some.
async fn look(core: Arc<Core>, peer: Arc<Peer>) {
    let mut taken = None;
    loop {
        let looks = core.watchers.run_until_cancelled(sleep(LOOK)).await.is_some();
        taken = peer.look_at_requests(taken);
        if taken.is_none() || !looks {
            return; // a shutdown has refused what was not begun
        }
    }
}

/// Takes requests and calls the handler for each, until there are no more, or until a call waits for
/// something: then another task takes the next ones, and this one is that call's.
async fn take_requests<H: Handler>(
    core: Arc<Core>,
    peer: Arc<Peer>,
    handler: Arc<H>,
    permits: Arc<[Semaphore]>,
) {
    let mut runner = Runner { peer: &peer, takes: true };
    let mut now = Instant::now();
    let (mut last, mut long) = (None, false);
    while let Some((request, looks)) = runner.next(last.take(), long) {
        let call = Call::new(&peer, &request);
        if looks {
            yield_now().await; // or the look would begin only after this call
        }
        let is_done = {
            let answered = answer(&call, &*handler, request, &permits, now);
            let answered = pin!(in_request(Arc::clone(&core), call.request.depth, answered));
            runner.is_done(call.request.id, answered).await
        };
        if !is_done {
            return;
        }
        coop::consume_budget().await; // many requests must not starve other tasks
        let before = std::mem::replace(&mut now, Instant::now());
        long = now - before > LONG;
        if long {
            drop(call);
            yield_now().await; // the connection has its reply
        } else {
            last = Some(call);
        }
    }
}

/// A task that takes the requests of a peer.
struct Runner<'a> {
    peer: &'a Arc<Peer>,
    /// Whether it takes more.
    takes: bool,
}

impl Runner<'_> {
    /// Ends the `last` call, and takes the next request.
    fn next(&mut self, last: Option<Call<'_>>, long: bool) -> Option<(Request, bool)> {
        let next = self.peer.next_request(last.map(Call::end), long);
        self.takes = next.is_some();
        next
    }

    /// Drives a call to its end. Returns whether it has not waited for anything, so that this runner
    /// takes the next one too.
    async fn is_done(&mut self, id: CallId, mut answered: Pin<&mut impl Future>) -> bool {
        let at_once = poll_fn(|cx| Poll::Ready(answered.as_mut().poll(cx).is_ready())).await;
        if at_once {
            return true;
        }
        self.takes = false;
        if let Some(abort) = self.peer.let_request_wait(id) {
            let _ = Abortable::new(answered, abort).await; // the link has answered, if it is aborted
        }
        false
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        if self.takes {
            self.peer.leave_requests(); // its task was dropped, or its handler's future has panicked
        }
    }
}

/// A call of the handler. When it is dropped, the request has an answer and its place is free.
struct Call<'a> {
    peer: &'a Arc<Peer>,
    request: RequestCall,
    /// Whether the peer knows of its end.
    is_told: bool,
}

impl<'a> Call<'a> {
    fn new(peer: &'a Arc<Peer>, request: &Request) -> Self {
        Self { peer, request: RequestCall::of(request), is_told: false }
    }

    /// Leaves it to the caller to tell the peer that the call has ended.
    fn end(mut self) -> RequestCall {
        self.is_told = true;
        self.request
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.peer.end_request(self.request);
        }
    }
}

/// Calls the handler, and answers if it does not.
async fn answer<H: Handler>(
    call: &Call<'_>,
    handler: &H,
    request: Request,
    permits: &[Semaphore],
    now: Instant,
) {
    let peer = call.peer;
    let deadline = request.deadline;
    let mut began = now;
    let permit = match permits.get(usize::from(call.request.depth)) {
        Some(permits) => match permits.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let permit = permits.acquire().await.ok(); // it is never closed
                began = Instant::now();
                permit
            }
        },
        None => None,
    };
    let failure = if deadline.is_some_and(|deadline| deadline <= began) {
        Some(Answer::failure(FailureCode::EXPIRED))
    } else {
        let message = peer.request_message(request);
        let expired = || Some(Answer::failure(FailureCode::EXPIRED));
        let handled = pin!(handle(call, handler, message)); // arguments take their room twice
        before(deadline, handled).await.unwrap_or_else(expired)
    };
    drop(permit);
    if let Some(failure) = failure {
        let _ = peer.answer(call.request.id, failure); // the handler may have replied before
    }
}

/// Returns the output of `future`, or `None` if it is not ready by the `deadline`, if there is one. A
/// future that is ready at once needs no timer.
async fn before<F: Future>(
    deadline: Option<Instant>,
    mut future: Pin<&mut F>,
) -> Option<F::Output> {
    let mut over = None;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            let Some(deadline) = deadline else { return Poll::Pending };
            // A handler that uses up the task's budget leaves none for the timer.
            let over =
                over.get_or_insert_with(|| Box::pin(coop::unconstrained(sleep_until(deadline))));
            over.as_mut().poll(cx).map(|()| None)
        }
    })
    .await
}

/// Calls the handler. Returns the answer if it has failed.
async fn handle<H: Handler>(call: &Call<'_>, handler: &H, message: Message) -> Option<Answer> {
    let peer = call.peer;
    let limit = peer.shared.config.handler_limit();
    let called = pin!(AssertUnwindSafe(run_handler(handler, message)).catch_unwind());
    match within(limit, called).await {
        Some(Ok(Ok(()))) => None, // with a reply, or without one
        Some(Ok(Err(cause))) => Some(failed(call, cause)),
        Some(Err(panic)) => {
            let cause = format!("the handler panicked: {}", panic_text(&*panic));
            peer.report_failed_request(call.request.id, &Escaped(cause));
            Some(Answer::failure(FailureCode::FAILED))
        }
        None => {
            error!(peer = %peer.name, request = call.request.id.call, ?limit, "the handler took too long");
            Some(Answer::failure(FailureCode::TIMED_OUT))
        }
    }
}

/// Returns the answer for an error of the handler, with its words if they may be revealed.
fn failed(call: &Call<'_>, cause: HandlerError) -> Answer {
    let peer = call.peer;
    if cause.is::<Unhandled>() && peer.shared.stopping.is_cancelled() {
        return Answer::failure(FailureCode::SHUTTING_DOWN);
    }
    let reveals = peer.shared.config.reveal_errors;
    let text = if reveals { beginning(&cause, CallItem::MAX_TEXT).into() } else { Text::default() };
    peer.report_failed_request(call.request.id, &Escaped(cause));
    Answer::Failure { code: FailureCode::FAILED, text }
}
