//! The call of the handler for one request, which ends with exactly one answer.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use futures_util::FutureExt;
use futures_util::future::Abortable;
use paddington_wire::link::{Answer, CallId};
use paddington_wire::{CallItem, FailureCode, Message, Text, beginning};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::error;

use super::worker::{panic_text, run_handler, within};
use crate::core::Core;
use crate::current::in_request;
use crate::escaped::Escaped;
use crate::peer::{Begun, Peer, Request, RequestHandler};
use crate::{Handler, HandlerError};

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
    let begin = move |peer: &Arc<Peer>, (request, abort): Begun| {
        let call = Call {
            id: request.id,
            depth: request.depth,
            len: request.content.len(),
            peer: Arc::clone(peer),
        };
        let Some(core) = core.upgrade() else { return };
        let (handler, permits) = (Arc::clone(&handler), Arc::clone(&permits));
        let depth = request.depth;
        let running = async move {
            let call = call; // it ends with the task, however that ends
            let handled = answer(&call, &*handler, request, &permits);
            let _ = Abortable::new(handled, abort).await; // the link has answered, if it is aborted
        };
        core.workers.spawn(in_request(Arc::clone(&core), depth, running));
    };
    RequestHandler { begin: Box::new(begin), takes_bytes }
}

/// A call of the handler. When it is dropped, the request has an answer and its place is free.
struct Call {
    peer: Arc<Peer>,
    id: CallId,
    depth: u8,
    len: usize,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.peer.end_request(self.id, self.depth, self.len);
    }
}

/// Calls the handler, and answers if it does not.
async fn answer<H: Handler>(call: &Call, handler: &H, request: Request, permits: &[Semaphore]) {
    let peer = &call.peer;
    let deadline = request.deadline;
    let permit = match permits.get(usize::from(call.depth)) {
        Some(permits) => permits.acquire().await.ok(), // it is never closed
        None => None,
    };
    let failure = if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        Some(Answer::failure(FailureCode::EXPIRED))
    } else {
        let message = peer.request_message(request);
        let handled = handle(call, handler, message);
        match deadline {
            None => handled.await,
            Some(deadline) => timeout_at(deadline, handled)
                .await
                .unwrap_or_else(|_| Some(Answer::failure(FailureCode::EXPIRED))),
        }
    };
    drop(permit);
    if let Some(failure) = failure {
        let _ = peer.answer(call.id, failure); // the handler may have replied before
    }
}

/// Calls the handler. Returns the answer if it has failed.
async fn handle<H: Handler>(call: &Call, handler: &H, message: Message) -> Option<Answer> {
    let peer = &call.peer;
    let limit = peer.shared.config.handler_limit();
    let called = AssertUnwindSafe(run_handler(handler, message)).catch_unwind();
    match within(limit, called).await {
        Some(Ok(Ok(()))) => None, // with a reply, or without one
        Some(Ok(Err(cause))) => Some(failed(call, cause)),
        Some(Err(panic)) => {
            let cause = format!("the handler panicked: {}", panic_text(&*panic));
            peer.report_failed_request(call.id, &Escaped(cause));
            Some(Answer::failure(FailureCode::FAILED))
        }
        None => {
            error!(peer = %peer.name, request = call.id.call, ?limit, "the handler took too long");
            Some(Answer::failure(FailureCode::TIMED_OUT))
        }
    }
}

/// Returns the answer for an error of the handler, with its words if they may be revealed.
fn failed(call: &Call, cause: HandlerError) -> Answer {
    let peer = &call.peer;
    let reveals = peer.shared.config.reveal_errors;
    let text = if reveals { beginning(&cause, CallItem::MAX_TEXT).into() } else { Text::default() };
    peer.report_failed_request(call.id, &Escaped(cause));
    Answer::Failure { code: FailureCode::FAILED, text }
}
