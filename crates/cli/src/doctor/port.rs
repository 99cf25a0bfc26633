//! The port that the service listens on, while nobody runs it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::report::Finding;

/// Tries to listen, and stops at once. Returns why that cannot be done.
pub(super) fn unusable(address: SocketAddr) -> Option<Finding> {
    let error = TcpListener::bind(address).err()?;
    let (ip, port) = (address.ip(), address.port());
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let by = owner(port).unwrap_or_else(|| "another process".to_owned());
            Finding::new(
                "port_in_use",
                format!("the port {port} of this service is in use by {by}"),
                "End that process, or write another port into service.toml; then change the url \
                 too, and renew the invitations.",
            )
        }
        io::ErrorKind::AddrNotAvailable => Finding::new(
            "address_not_here",
            format!("this machine has no address {ip}, at which the service is to listen"),
            "Write one of its own addresses (`ip address`) into service.toml: ip = \"0.0.0.0\" for \
             all of them.",
        ),
        io::ErrorKind::PermissionDenied => Finding::new(
            "port_not_permitted",
            format!("this user may not listen on the port {port}"),
            "Choose a port from 1024 on, or give the service the capability CAP_NET_BIND_SERVICE.",
        ),
        _ => Finding::new(
            "cannot_listen",
            format!("the service cannot listen on {address}: {error}"),
            "Correct ip and port in service.toml.",
        ),
    })
}

/// Returns the process that listens on a port, as far as this user may know.
#[cfg(target_os = "linux")]
fn owner(port: u16) -> Option<String> {
    let socket = format!("socket:[{}]", inode(port)?);
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let id = numbers.find(|id| {
        let open = std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        open.filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == socket.as_str())
    })?;
    let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    Some(format!("{} (process {id})", name.trim()))
}

#[cfg(not(target_os = "linux"))]
fn owner(_: u16) -> Option<String> {
    None
}

/// Returns the inode of the socket that listens on a port.
#[cfg(target_os = "linux")]
fn inode(port: u16) -> Option<String> {
    const LISTENING: &str = "0A";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let text: String =
        tables.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let end = format!(":{port:04X}");
    text.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_it = fields.get(1)?.ends_with(&end) && *fields.get(3)? == LISTENING;
        is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_uses_the_port_is_named() {
        let Ok(listener) = TcpListener::bind("127.0.0.1:0") else { return };
        let Ok(address) = listener.local_addr() else { return };
        let found = unusable(address).map(|it| (it.code, it.text));
        let Some((code, text)) = found else { unreachable!("the port is in use") };
        assert_eq!(code, "port_in_use");
        if cfg!(target_os = "linux") {
            assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
        }
        drop(listener);
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        assert_eq!(unusable(elsewhere).map(|it| it.code).as_deref(), Some("address_not_here"));
    }
}
