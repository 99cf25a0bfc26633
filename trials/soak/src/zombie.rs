//! Processes that are frozen and a proxy that passes nothing on (`docs/delivery.md` §7): the time
//! until a peer is taken for dead, and until another process has its slot. The same with cables in
//! memory is an ordinary test.

use std::time::Duration;

use anyhow::{Context, Error, ensure};
use paddington::{Event, Service};
use paddington_test_support::{FaultyProxy, Passing};
use rustix::process::Signal;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep, timeout};

use crate::child::Role;
use crate::fleet::{Depot, Process};
use crate::in_real_time;
use crate::services::nothing;

/// Nothing has arrived for 30 s, by a clock that is looked at every second.
const DETECTED: Duration = Duration::from_secs(31);
/// By another process, after the older one was asked for a sign of life.
const TAKEN_OVER: Duration = Duration::from_secs(4);
/// The longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(short: bool) -> Result<(), Error> {
    in_real_time(async {
        frozen_process_is_replaced().await?;
        if short {
            return Ok(());
        }
        frozen_process_is_noticed().await?;
        stalled_proxy_is_noticed().await
    })
}

fn judge(what: &str, bar: Duration, begun: Instant) -> Result<(), Error> {
    let time = begun.elapsed();
    println!("zombie: {what} after {time:.2?} (bar: {bar:?})");
    ensure!(time <= bar, "{what} after {time:.2?}");
    Ok(())
}

async fn until(events: &mut Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Result<(), Error> {
    let comes = async {
        while !wanted(&events.recv().await?) {}
        Ok(())
    };
    timeout(PATIENCE, comes).await.context("it was not noticed")?
}

fn is_up(event: &Event) -> bool {
    matches!(event, Event::Up { .. })
}

fn is_down(event: &Event) -> bool {
    matches!(event, Event::Down { .. })
}

/// A server in this process whose client is another one.
struct Host {
    depot: Depot,
    proxy: FaultyProxy,
    server: Service,
    events: Receiver<Event>,
    client: Process,
}

impl Host {
    async fn start() -> Result<Self, Error> {
        let proxy = FaultyProxy::start().await;
        let url = format!("ws://{}", proxy.address());
        let depot = Depot::in_memory(&url, "127.0.0.1", 0, "127.0.0.1")?;
        let server = Service::start(depot.server(), nothing).await?;
        let mut events = server.exchange().events();
        if let Some(address) = server.address() {
            proxy.forward_to(address);
        }
        let client = Process::start(Role::Silent, depot.path(), 1, None)?;
        until(&mut events, is_up).await?;
        Ok(Self { depot, proxy, server, events, client })
    }
}

/// Another process takes the slot of a frozen one, and keeps it when the first one goes on.
async fn frozen_process_is_replaced() -> Result<(), Error> {
    let mut host = Host::start().await?;
    host.client.signal(Signal::STOP)?;
    let begun = Instant::now();
    let mut another = Process::start(Role::Silent, host.depot.path(), 2, None)?;
    until(&mut host.events, is_up).await?;
    judge("another process takes over", TAKEN_OVER, begun)?;
    host.client.signal(Signal::CONT)?;
    sleep(Duration::from_secs(1)).await;
    let peers = host.server.peers();
    let stands = peers.iter().all(|peer| peer.connected_for >= Some(Duration::from_secs(1)));
    ensure!(stands, "the process that was frozen has taken the slot back");
    host.client.kill().await?;
    another.kill().await
}

async fn frozen_process_is_noticed() -> Result<(), Error> {
    let mut host = Host::start().await?;
    host.client.signal(Signal::STOP)?;
    let begun = Instant::now();
    until(&mut host.events, is_down).await?;
    judge("a frozen process is noticed", DETECTED, begun)?;
    host.client.kill().await
}

async fn stalled_proxy_is_noticed() -> Result<(), Error> {
    let mut host = Host::start().await?;
    host.proxy.pass(Passing::Stalled);
    let begun = Instant::now();
    until(&mut host.events, is_down).await?;
    judge("a proxy that holds the connection is noticed", DETECTED, begun)?;
    host.client.kill().await
}
