//! Hosts.

use std::net::IpAddr;

/// Returns whether a host is whichever machine it is looked up on.
pub(crate) fn is_own_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
