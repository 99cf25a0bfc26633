//! The whole life of a link, in one process: every step is checked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, bail, ensure};
use paddington::{Event, Invite, Message, Service, Waiting};
use tokio::time::{sleep, timeout};
use tracing::info;

/// The longest that a step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Introduces, burns, catches a thief, renews and removes.
pub(crate) async fn run() -> Result<(), Error> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let at = |name: &str| folder.path().join(name);
    let hub = Service::start(&crate::hub::config(&at("hub"), free_port()?)?, crate::show).await?;
    let lab = start("lab", &at("lab")).await?;

    let (path, passphrase) = (at("lab.invitation.toml"), crate::hub::passphrase()?);
    hub.add_client("lab", "127.0.0.0/8").await?.save_sealed(&path, &passphrase)?;
    info!(
        "the hub has invited the lab, while it runs; the file goes by mail, the passphrase by phone"
    );
    lab.add_server(Invite::load_sealed(&path, &passphrase)?).await?;
    lab.send(Message::new("hub", "the lab is here")).await?;
    generation(&hub, &lab, 1).await?;
    info!(
        "first contact: the invitation is burned, the keys of generation 1 were handed to nobody"
    );

    let mut events = hub.exchange().events();
    let thief = start("lab", &at("thief")).await?;
    thief.add_server(Invite::load_sealed(&path, &passphrase)?).await?;
    let alarm = async {
        loop {
            if let Event::BurnedKeys { peer, address, .. } = events.recv().await? {
                return Ok::<_, Error>((peer, address));
            }
        }
    };
    let (peer, address) = timeout(PATIENCE, alarm).await.context("there was no alarm")??;
    info!("somebody with the old invitation of {peer} came from {address}, and was refused");
    thief.shutdown().await;

    lab.renew_keys("hub").await?;
    let newest = |service: &Service, peer| {
        Some(service.exchange().keys(peer)?.generations().last()?.number())
    };
    until(|| newest(&hub, "lab") == Some(2) && newest(&lab, "hub") == Some(2)).await?;
    hub.disconnect("lab").await?; // they are used from the next session on, at the latest in a day
    generation(&hub, &lab, 2).await?;
    info!("the keys were renewed at the lab's request");

    lab.shutdown().await;
    drop(lab);
    let path = at("second.invitation.toml");
    hub.renew("lab").await?.save(&path)?;
    let lab = start("lab", &at("lab with a new disk")).await?;
    lab.add_server(Invite::load(&path)?).await?;
    lab.send(Message::new("hub", "the lab is back, without its old disk")).await?;
    generation(&hub, &lab, 4).await?;
    info!("the lab had lost its keys, and is the same partner again");

    let removed = hub.remove("lab", Waiting::Purge).await?;
    ensure!(removed.messages == 0 && hub.peers().is_empty(), "the lab is still there");
    until(|| !lab.peers()[0].is_connected()).await?;
    info!("the hub has removed the lab, whose log says so");
    hub.shutdown().await;
    lab.shutdown().await;
    info!("the end");
    Ok(())
}

async fn start(name: &str, folder: &Path) -> Result<Service, Error> {
    Ok(Service::start(&crate::partner::config(name, folder)?, crate::show).await?)
}

/// Waits until both sides use keys of this generation.
async fn generation(hub: &Service, lab: &Service, number: u64) -> Result<(), Error> {
    until(|| {
        [hub, lab].iter().all(|service| {
            service.links().first().is_some_and(|link| link.generation == Some(number))
        })
    })
    .await
}

async fn until(mut condition: impl FnMut() -> bool) -> Result<(), Error> {
    let waited = timeout(PATIENCE, async {
        while !condition() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    if waited.await.is_err() {
        bail!("a step took longer than {PATIENCE:?}");
    }
    Ok(())
}

/// Finds a port that was free a moment ago.
fn free_port() -> Result<u16, Error> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr()?.port())
}
