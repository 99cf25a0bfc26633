//! The number of files that this process may have open, of which each connection is one.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the service has under systemd (`deploy/systemd`).
#[cfg(unix)]
const ENOUGH: u64 = 65_536;

/// Raises it as far as that is allowed, up to 65 536: the usual 1024 are for programs that cannot use more.
#[cfg(unix)]
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
    if limit.current.is_some_and(|current| current < raised) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
    }
}

#[cfg(not(unix))]
pub(crate) fn raise() {}
