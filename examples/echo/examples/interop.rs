//! A service for the checks of `trials/interop/python` that the example itself is too simple for. It
//! asks its peer in the handling of the peer's requests, rejects messages with words, and removes its
//! peer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, bail};
use paddington::{
    Encoding, Invite, Message, RequestError, Service, ServiceConfig, Waiting, request, send,
};
use tokio::sync::Notify;

const SERVER: &str = "echo-server";
const CLIENT: &str = "echo-client";
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["server", port, invitation] => serve(port.parse()?, Path::new(invitation)).await,
        ["client", invitation] => join(Path::new(invitation)).await,
        _ => bail!("usage: interop server PORT INVITATION, or interop client INVITATION"),
    }
}

/// Runs the server, which writes the invitation.
async fn serve(port: u16, invitation: &Path) -> Result<(), Error> {
    let url = format!("ws://127.0.0.1:{port}/");
    let mut config = ServiceConfig::new(SERVER, &url, "127.0.0.1", &port)?;
    let invite = config.add_client_with(CLIENT, "127.0.0.1", Encoding::Sealed)?;
    run(config, CLIENT, Some((invite, invitation))).await
}

/// Runs the client.
async fn join(invitation: &Path) -> Result<(), Error> {
    let mut config = ServiceConfig::new(CLIENT, "http://localhost:6502", "127.0.0.1", &6502)?;
    config.add_server(Invite::load(invitation)?)?;
    run(config, SERVER, None).await
}

/// Runs a service until it is killed, and removes its peer when that asks for it.
async fn run(
    mut config: ServiceConfig,
    peer: &str,
    invitation: Option<(Invite, &Path)>,
) -> Result<(), Error> {
    config.settings_mut().reveal_errors = true;
    let asked = Arc::new(Notify::new());
    let removal = Arc::clone(&asked);
    let service = Service::start(&config, move |message| {
        let removal = Arc::clone(&removal);
        async move { handle(message, &removal).await }
    })
    .await?;
    if let Some((invite, path)) = invitation {
        invite.save(path)?;
    }
    loop {
        asked.notified().await;
        service.remove(peer, Waiting::Purge).await?;
    }
}

/// Handles a message or request of the peer.
async fn handle(message: Message, removal: &Notify) -> Result<(), Error> {
    if message.is_control() {
        return Ok(());
    }
    let peer = message.sender();
    if message.is_request() {
        let reply = match message.payload().parse::<u32>()?.checked_sub(1) {
            Some(next) => format!("{} {}", message.payload(), ask(peer, next).await?),
            None => message.payload().to_owned(),
        };
        message.reply(reply)?;
        return Ok(());
    }
    match message.payload().split_once(' ') {
        Some(("ask", number)) => {
            let answer = ask(peer, number.parse()?).await?;
            send(Message::new(peer, answer)).await?;
            Ok(())
        }
        Some(("remove", "me")) => {
            removal.notify_one();
            Ok(())
        }
        _ => bail!("nobody knows what {} means", message.payload()),
    }
}

/// Asks the peer, which asks this service for the number before, and so on down to 0.
async fn ask(peer: &str, number: u32) -> Result<String, RequestError> {
    let reply = request(Message::new(peer, number.to_string()), PATIENCE).await?;
    Ok(reply.payload().to_owned())
}
