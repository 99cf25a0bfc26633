//! Which exchange the free functions mean: that of the handler that calls, else the one that was
//! installed for the process.

use std::sync::OnceLock;

use crate::{AlreadyRunning, Exchange, NoExchange};

tokio::task_local! {
    /// In scope around every handler call.
    pub(crate) static CURRENT: Exchange;
}

static PROCESS: OnceLock<Exchange> = OnceLock::new();

/// The exchange that a handler runs in, or the process's.
///
/// # Errors
///
/// [`NoExchange`] if there is neither. A task that a handler spawns has to bring its [`Exchange`].
pub fn current() -> Result<Exchange, NoExchange> {
    CURRENT.try_with(Exchange::clone).ok().or_else(|| PROCESS.get().cloned()).ok_or(NoExchange)
}

/// Makes `exchange` the process's.
///
/// # Errors
///
/// [`AlreadyRunning`] if there is one.
pub fn install(exchange: Exchange) -> Result<(), AlreadyRunning> {
    PROCESS.set(exchange).map_err(|_| AlreadyRunning)
}

/// Whether the caller is a handler of `exchange`.
pub(crate) fn is_handler_of(exchange: &Exchange) -> bool {
    CURRENT.try_with(|current| current.is(exchange)).unwrap_or(false)
}
