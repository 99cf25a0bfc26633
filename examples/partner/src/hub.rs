//! The hub: a service whose partners come and go while it runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, bail};
use paddington::{Service, ServiceConfig, Waiting};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tracing::error;

const HELP: &str = "\
invite NAME RANGE   write NAME.invitation.toml for a new partner, such as: invite lab 192.0.2.0/24
renew NAME          write a new invitation for a partner that has lost its keys
remove NAME         end the link with a partner
list                show all partners
quit                end the hub; Ctrl-C does so, too";

/// Makes the configuration of a hub with its links in `folder`.
pub(crate) fn config(folder: &Path, port: u16) -> Result<ServiceConfig, Error> {
    let url = format!("ws://localhost:{port}");
    let mut config = ServiceConfig::new("hub", &url, "127.0.0.1", &port)?;
    config.set_links(folder)?;
    Ok(config)
}

/// Runs the hub until it is told to quit.
pub(crate) async fn run(port: u16) -> Result<(), Error> {
    let config = config(Path::new("hub.links"), port)?;
    let hub = Service::start(&config, crate::show).await?;
    println!("{HELP}");
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(line) = line.filter(|line| line.trim() != "quit") else { break };
        if let Err(cause) = obey(&hub, &line).await {
            error!("{cause:#}");
        }
    }
    hub.shutdown().await;
    Ok(())
}

async fn obey(hub: &Service, line: &str) -> Result<(), Error> {
    let words: Vec<_> = line.split_whitespace().collect();
    match *words.as_slice() {
        [] => {}
        ["help"] => println!("{HELP}"),
        ["list"] => list(hub),
        ["invite", name, range] => {
            let invite = hub.add_client(name, range).await?;
            hand_out(&invite, name)?;
        }
        ["renew", name] => hand_out(&hub.renew(name).await?, name)?,
        ["remove", name] => {
            let removed = hub.remove(name, Waiting::Purge).await?;
            println!("removed {name}; {} messages were waiting for it", removed.messages);
        }
        _ => bail!("this is no command; type help"),
    }
    Ok(())
}

fn list(hub: &Service) {
    for (link, peer) in hub.links().iter().zip(hub.peers()) {
        let state = if peer.is_connected() { "connected" } else { "away" };
        let keys = match (link.generation, link.invitation) {
            (Some(generation), _) => format!("keys of generation {generation}"),
            (None, Some(_)) => "invited, and was never here".to_owned(),
            (None, None) => "its invitation has expired".to_owned(),
        };
        println!("{}: {state}, {keys}", link.name);
    }
}

/// Writes an invitation under a passphrase, which is for the partner's ears only.
fn hand_out(invite: &paddington::Invite, name: &str) -> Result<(), Error> {
    let path = PathBuf::from(format!("{name}.invitation.toml"));
    let passphrase = passphrase()?;
    invite.save_sealed(&path, &passphrase).context("the invitation cannot be written")?;
    println!("send {} to {name}, and tell them on the phone: {passphrase}", path.display());
    Ok(())
}

/// Draws a passphrase that can be told on the phone: four groups of four digits and letters.
pub(crate) fn passphrase() -> Result<String, Error> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let random = paddington::Instance::random()?;
    let letters = random.as_bytes().iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    let letters: Vec<_> = letters.collect();
    Ok(letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-"))
}
