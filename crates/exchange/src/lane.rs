//! Calls the handler: in order for each peer, in parallel for different peers.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use paddington_wire::link::Outcome;
use paddington_wire::{Message, MessageId, RejectCode};
use tokio::sync::Semaphore;
use tracing::{error, warn};

use crate::Handler;
use crate::peer::{Job, Peer};

/// Runs the handler for one peer until the lane is stopped.
pub(crate) async fn run<H: Handler>(peer: Arc<Peer>, handler: Arc<H>, permits: Arc<Semaphore>) {
    while let Some(job) = poll_fn(|cx| peer.poll_job(cx)).await {
        // The semaphore is never closed; were it, there would be nobody left to wait for.
        let _permit = permits.acquire().await;
        let id = job.id();
        let outcome = call(&peer, &*handler, job).await;
        peer.finish(id, outcome);
    }
}

/// Calls the handler once. Whatever it does costs this message only.
async fn call<H: Handler>(peer: &Peer, handler: &H, job: Job) -> Outcome {
    let number = job.id();
    let Job { message, .. } = job;
    let called = AssertUnwindSafe(handle(handler, message)).catch_unwind().await;
    match called {
        Ok(Ok(())) => return Outcome::Done,
        Ok(Err(cause)) => {
            warn!(peer = %peer.name, id = shown(number), %cause, "a message could not be handled");
        }
        Err(panic) => {
            let cause = panic_text(&*panic);
            error!(peer = %peer.name, id = shown(number), cause, "the handler panicked");
        }
    }
    Outcome::Rejected(RejectCode::FAILED)
}

/// The call itself happens inside the future, so that a handler that panics before its first
/// `await` is caught too.
async fn handle<H: Handler>(handler: &H, message: Message) -> Result<(), crate::HandlerError> {
    handler.handle(message).await
}

fn shown(number: Option<MessageId>) -> Option<String> {
    number.map(|number| number.to_string())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}
