//! A silent service behind nginx (`docs/delivery.md` §7): pings keep the connection open although
//! the proxy cuts silent ones. Needs `nginx`.

use std::time::Duration;

use anyhow::{Context, Error, ensure};
use paddington::{Message, PeerStatus, Service, ServiceConfig};
use paddington_test_support::{Inbox, ReverseProxy};
use tokio::time::{Instant, sleep};

use crate::in_real_time;
use crate::services::{nothing, settle};

/// Time of silence.
const IDLE: Duration = Duration::from_secs(10 * 60);
const SHORT_IDLE: Duration = Duration::from_secs(15);
/// The longest silence that nginx allows: by default 60 s. A ping comes every 10 s.
const SHORT_PATIENCE: &str = "proxy_read_timeout 12s; proxy_send_timeout 12s;";
const MESSAGES: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn run(short: bool) -> Result<(), Error> {
    in_real_time(trial(short))
}

async fn trial(short: bool) -> Result<(), Error> {
    let (idle, patience) = if short { (SHORT_IDLE, SHORT_PATIENCE) } else { (IDLE, "") };
    let mut server = ServiceConfig::new("server", "ws://localhost:1", "127.0.0.1", &0)?;
    let invite = server.add_client("client", "127.0.0.1")?;
    let (inbox, handler) = Inbox::new();
    let server = Service::start(&server, handler).await?;
    let address = server.address().context("the server listens")?;
    let Some(mut nginx) = ReverseProxy::nginx(address, patience).await else {
        println!("proxy-idle: skipped, because nginx is not installed");
        return Ok(());
    };
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &0)?;
    client.add_server(invite.at(&format!("ws://{}", nginx.address()))?)?;
    let client = Service::start(&client, nothing).await?;
    let begun = Instant::now();
    while !client.peers().iter().all(PeerStatus::is_connected) {
        ensure!(begun.elapsed() < LIMIT, "no connection through nginx");
        sleep(Duration::from_millis(50)).await;
    }
    let before = sessions(&client);
    sleep(idle).await;
    ensure!(nginx.is_running(), "nginx has ended");
    for number in 0..MESSAGES {
        client.send(Message::new("server", number.to_string())).await?;
    }
    let begun = Instant::now();
    settle(&[&client, &server]).await?;
    let disconnects = sessions(&client) - before;
    println!(
        "proxy-idle: {disconnects} disconnects (bar: 0) in {idle:?} of silence, then {MESSAGES} \
         messages handled in {:.1?}",
        begun.elapsed()
    );
    ensure!(disconnects == 0, "the connection did not last");
    for number in 0..MESSAGES {
        ensure!(inbox.text().await == number.to_string(), "message {number} is missing");
    }
    ensure!(inbox.drain().await.is_empty(), "a message came twice");
    client.shutdown().await;
    server.shutdown().await;
    Ok(())
}

fn sessions(service: &Service) -> u64 {
    service.peers().iter().map(|peer| peer.counters.sessions).sum()
}
