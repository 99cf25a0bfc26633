//! Ports for services that are told where to listen before they start.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use crate::postgres::user_id;

/// The first port and their number. They are below those that the system gives out by itself, to whoever
/// connects or asks for any port: one of these may be somebody else's before the service listens there.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Returns a port of this machine where nobody listens. As long as this process runs, no other test gets it.
#[must_use]
pub fn free_port() -> u16 {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    /// The locks of the ports that this process has got.
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("paddington-ports-{}", user_id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    });
    // Each process begins elsewhere, so that a port rests before it is given again.
    let begin = std::process::id().wrapping_mul(37);
    for at in 0..u32::from(COUNT) {
        let offset = begin.wrapping_add(at) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap();
        let lock = File::create(folder.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            TAKEN.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no port is free");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_given_once_and_never_one_that_the_system_gives() {
        let ports: BTreeSet<_> = (0..20).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
        // Another process finds that they are locked, whether or not somebody listens.
        for port in ports {
            let name = format!("paddington-ports-{}/{port}", user_id());
            let lock = File::open(std::env::temp_dir().join(name)).unwrap();
            assert!(lock.try_lock().is_err(), "{port}");
        }
    }
}
