//! The current exchange: the one whose handler or task runs, or else the process's.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use crate::core::Core;

tokio::task_local! {
    /// In scope around every call of a handler, and in tasks that an exchange has spawned.
    static CURRENT: Current;
}

/// The exchange of the process.
static PROCESS: OnceLock<Arc<Core>> = OnceLock::new();

/// An exchange, as seen by the code that it runs.
struct Current {
    core: Arc<Core>,
    /// Whether the code is a handler, for which a shutdown waits.
    is_handler: bool,
    /// Depth of the requests that the code makes.
    depth: u8,
}

/// Runs the calls of a handler of `core`.
pub(crate) fn in_handler<F: Future>(core: Arc<Core>, calls: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(Current { core, is_handler: true, depth: 0 }, calls)
}

/// Runs the call of a handler of `core` for a request of `depth`.
pub(crate) fn in_request<F: Future>(
    core: Arc<Core>,
    depth: u8,
    call: F,
) -> impl Future<Output = F::Output> {
    CURRENT.scope(Current { core, is_handler: true, depth: depth.saturating_add(1) }, call)
}

/// Returns the depth of a request that the caller makes: the number of requests in whose handling it
/// runs, in whichever services. A task that was not spawned by the exchange handles none.
pub(crate) fn depth() -> u8 {
    CURRENT.try_with(|current| current.depth).unwrap_or(0)
}

/// Runs a task that belongs to `core`, and is not a handler.
pub(crate) fn in_task<F: Future>(core: Arc<Core>, task: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(Current { core, is_handler: false, depth: depth() }, task)
}

/// Returns the exchange in whose handler or task the caller runs, or else the process's.
pub(crate) fn current() -> Option<Arc<Core>> {
    let own = CURRENT.try_with(|current| Arc::clone(&current.core));
    own.ok().or_else(|| PROCESS.get().cloned())
}

/// Makes `core` the exchange of the process. Returns `false` if there is one already.
pub(crate) fn install(core: Arc<Core>) -> bool {
    PROCESS.set(core).is_ok()
}

/// Returns whether the caller runs in a handler of this exchange.
pub(crate) fn is_handler_of(core: &Arc<Core>) -> bool {
    let is_own = |current: &Current| current.is_handler && Arc::ptr_eq(&current.core, core);
    CURRENT.try_with(is_own).unwrap_or(false)
}
