//! A service behind nginx that has nothing to say (`docs/delivery.md` §7): pings keep the
//! connection open although the proxy cuts what is silent. Takes `nginx`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Error, ensure};
use paddington::{Message, PeerStatus, Service, ServiceConfig};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::in_real_time;
use crate::ledger::Ledger;

/// For how long nobody says anything.
const IDLE: Duration = Duration::from_secs(10 * 60);
const SHORT_IDLE: Duration = Duration::from_secs(15);
/// How long nginx lets a connection be silent: its default is 60 s. A ping comes every 10 s.
const SHORT_PATIENCE: &str = "proxy_read_timeout 12s; proxy_send_timeout 12s;";
const MESSAGES: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn run(short: bool) -> Result<(), Error> {
    in_real_time(trial(short))
}

async fn trial(short: bool) -> Result<(), Error> {
    let (idle, patience) = if short { (SHORT_IDLE, SHORT_PATIENCE) } else { (IDLE, "") };
    let folder = tempfile::tempdir()?;
    let front = free_address()?;
    let url = format!("ws://{front}");
    let mut server = ServiceConfig::new("server", &url, "127.0.0.1", &0)?;
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0)?;
    client.add_server(server.add_client("client", "127.0.0.1")?)?;
    let ledger = Ledger::default();
    let server = Service::start(&server, ledger.handler()).await?;
    let behind = server.address().context("the server listens")?;
    let Some(mut nginx) = nginx(folder.path(), front, behind, patience)? else {
        println!("proxy-idle: skipped, because nginx is missing here");
        return Ok(());
    };
    let client = Service::start(&client, Ledger::default().handler()).await?;
    let begun = Instant::now();
    while !client.peers().iter().all(PeerStatus::is_connected) {
        ensure!(begun.elapsed() < LIMIT, "no connection through nginx");
        sleep(Duration::from_millis(50)).await;
    }
    let before = sessions(&client);
    sleep(idle).await;
    ensure!(nginx.try_wait()?.is_none(), "nginx has ended");
    for number in 0..MESSAGES {
        client.send(Message::new("server", number.to_string())).await?;
    }
    let begun = Instant::now();
    while client.peers().iter().any(|peer| peer.outbox_messages > 0) {
        ensure!(begun.elapsed() < LIMIT, "messages were left over");
        sleep(Duration::from_millis(10)).await;
    }
    let disconnects = sessions(&client) - before;
    println!(
        "proxy-idle: {disconnects} disconnects (bar: 0) in {idle:?} of silence, then {} of \
         {MESSAGES} messages handled in {:.1?}",
        ledger.count()?,
        begun.elapsed()
    );
    ensure!(disconnects == 0, "the connection did not last");
    ensure!(ledger.count()? == MESSAGES, "messages are missing");
    let peers = [server.peers(), client.peers()].concat();
    ensure!(peers.iter().all(PeerStatus::is_conserved), "a message is not accounted for");
    client.shutdown().await;
    server.shutdown().await;
    Ok(nginx.kill().await?)
}

fn sessions(service: &Service) -> u64 {
    service.peers().iter().map(|peer| peer.counters.sessions).sum()
}

/// An address that nobody used a moment ago.
fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn nginx(
    folder: &Path,
    front: SocketAddr,
    behind: SocketAddr,
    patience: &str,
) -> Result<Option<Child>, Error> {
    let path = folder.join("nginx.conf");
    let folder = folder.display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
         events {{}}
         http {{
           access_log off;
           client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
           fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           server {{
             listen {front};
             location / {{
               proxy_pass http://{behind};
               proxy_http_version 1.1;
               proxy_set_header Upgrade $http_upgrade;
               proxy_set_header Connection upgrade;
               {patience}
             }}
           }}
         }}"
    );
    std::fs::write(&path, config)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&path).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match command.spawn() {
        Ok(nginx) => Ok(Some(nginx)),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("nginx"),
    }
}
