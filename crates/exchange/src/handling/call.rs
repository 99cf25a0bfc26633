//! One message and its handler.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use paddington_wire::{Message, RejectCode};
use tokio::task::unconstrained;
use tokio::time::sleep;
use tracing::{error, warn};

use super::worker::paused;
use crate::peer::{Call, Ended, Peer, WorkerId};
use crate::{Handler, HandlerError, OnError};

/// Calls the handler, as often as the policy says. Whatever it does costs this message only.
pub(super) async fn call<H: Handler>(
    peer: &Peer,
    worker: WorkerId,
    handler: &H,
    call: &mut Call,
) -> Ended {
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
            error!(peer = %peer.name, id = call.shown(), "stopped: no more of its messages are handled");
            return Ended::Halted;
        }
        let Some(backoff) = config.on_error.again_after(attempt) else {
            return Ended::Failed(code);
        };
        paused(peer, worker, sleep(backoff)).await;
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
    let called = AssertUnwindSafe(handle(handler, message)).catch_unwind();
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

/// What a future gives, unless it takes longer than `limit`. One that is ready at once costs no look
/// at the clock.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut over = None;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            // A handler that uses the task's budget up leaves none for the timer.
            let over = over.get_or_insert_with(|| Box::pin(unconstrained(sleep(limit))));
            over.as_mut().poll(cx).map(|()| None)
        }
    })
    .await
}

/// The call itself happens inside the future, so that a handler that panics before its first
/// `await` is caught too.
async fn handle<H: Handler>(handler: &H, message: Message) -> Result<(), HandlerError> {
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
    async fn who_uses_the_budget_up_is_cancelled_too() {
        let hot = async {
            loop {
                consume_budget().await;
            }
        };
        assert_eq!(within::<_>(Duration::from_millis(5), hot).await, None::<()>);
        assert_eq!(within(Duration::ZERO, std::future::ready(1)).await, Some(1));
    }
}
