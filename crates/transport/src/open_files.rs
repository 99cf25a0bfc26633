//! The number of files that this process may have open, of which each connection is one.

/// Returns it, or `None` where there is no such limit.
#[cfg(unix)]
pub(crate) fn limit() -> Option<usize> {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok())
}

/// Sockets are no files there.
#[cfg(not(unix))]
pub(crate) fn limit() -> Option<usize> {
    None
}
