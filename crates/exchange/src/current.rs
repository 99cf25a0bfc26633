//! The current exchange: the one whose handler the task runs, or else the process's.

use std::sync::{Arc, OnceLock};

use crate::core::Core;

tokio::task_local! {
    /// In scope around every call of a handler.
    pub(crate) static CURRENT: Arc<Core>;
}

/// The exchange of the process.
static PROCESS: OnceLock<Arc<Core>> = OnceLock::new();

/// Returns the exchange in whose handler the caller runs, or else the process's.
pub(crate) fn current() -> Option<Arc<Core>> {
    CURRENT.try_with(Arc::clone).ok().or_else(|| PROCESS.get().cloned())
}

/// Makes `core` the exchange of the process. Returns `false` if there is one already.
pub(crate) fn install(core: Arc<Core>) -> bool {
    PROCESS.set(core).is_ok()
}

/// Returns whether the caller runs in a handler of this exchange.
pub(crate) fn is_handler_of(core: &Arc<Core>) -> bool {
    CURRENT.try_with(|current| Arc::ptr_eq(current, core)).unwrap_or(false)
}
