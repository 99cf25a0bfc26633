//! Core dumps, which would hold the keys of links.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Switches them off for this process. Programs that it starts can switch them on for themselves, as far
/// as this process could have.
#[cfg(unix)]
pub(crate) fn forbid() {
    let limit = getrlimit(Resource::Core);
    // To lower one's own limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit });
}

#[cfg(not(unix))]
pub(crate) fn forbid() {}
