//! Real reverse proxies in front of a service.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{eventually, free_port};

/// A reverse proxy, which runs until it is dropped.
#[derive(Debug)]
pub struct ReverseProxy {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl ReverseProxy {
    /// Starts nginx in front of `server`, with `directives` beside those that a WebSocket needs.
    /// Returns `None` where nginx is not installed.
    pub async fn nginx(server: SocketAddr, directives: &str) -> Option<Self> {
        let config = |folder: &Path, listen| {
            let folder = folder.display();
            format!(
                "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
                 events {{}}
                 http {{
                   access_log off;
                   client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
                   fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d;
                   scgi_temp_path {folder}/e;
                   server {{
                     listen {listen};
                     location / {{
                       proxy_pass http://{server};
                       proxy_http_version 1.1;
                       proxy_set_header Upgrade $http_upgrade;
                       proxy_set_header Connection upgrade;
                       {directives}
                     }}
                   }}
                 }}"
            )
        };
        Self::start("nginx", "-c", config).await
    }

    /// Starts `program` with a configuration for a folder of its own and the address where it is to
    /// listen, and waits until it does. Returns `None` where it is not installed.
    pub async fn start(
        program: &str,
        option: &str,
        config: impl FnOnce(&Path, SocketAddr) -> String,
    ) -> Option<Self> {
        let program = installed(program)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.conf");
        std::fs::write(&path, config(folder.path(), address)).unwrap();
        let mut command = Command::new(program);
        command.arg(option).arg(path).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let proxy = Self { address, child, _folder: folder };
        eventually(|| async { TcpStream::connect(address).await.is_ok() }).await;
        Some(proxy)
    }

    /// The address where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program is: a server's may be in a folder that only the superuser searches.
fn installed(program: &str) -> Option<PathBuf> {
    let searched = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&searched);
    let folders = folders.chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}
