//! The exchange that a task belongs to: the one whose handler it runs, or the one that was installed
//! for the process.

use std::sync::{Arc, OnceLock};

use crate::core::Core;

tokio::task_local! {
    /// In scope around every call of a handler.
    pub(crate) static CURRENT: Arc<Core>;
}

/// The exchange of the process.
static PROCESS: OnceLock<Arc<Core>> = OnceLock::new();

/// The exchange whose handler the caller runs in, or the process's.
pub(crate) fn current() -> Option<Arc<Core>> {
    CURRENT.try_with(Arc::clone).ok().or_else(|| PROCESS.get().cloned())
}

/// Makes an exchange the process's. Returns whether there was none.
pub(crate) fn install(core: Arc<Core>) -> bool {
    PROCESS.set(core).is_ok()
}

/// Returns whether the caller runs in a handler of this exchange.
pub(crate) fn is_handler_of(core: &Arc<Core>) -> bool {
    CURRENT.try_with(|current| Arc::ptr_eq(current, core)).unwrap_or(false)
}
