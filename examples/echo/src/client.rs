//! The `echo-client` service.

use std::path::Path;

use anyhow::Error;
use paddington::{
    Invite, Message, ServiceConfig, accept_bytes, async_message_handler, run, send, set_handler,
    shutdown,
};

pub(crate) async fn run_client(invitation: &Path) -> Result<(), Error> {
    // load the invitation from the file
    let invite: Invite = Invite::load(invitation)?;

    // create the echo-client service - note that the url, ip and port aren't used, as this service
    // won't be listening for any connecting clients
    let mut service: ServiceConfig =
        ServiceConfig::new("echo-client", "http://localhost:6502", "127.0.0.1", &6502)?;

    // now give the invitation to connect to the server to the client
    service.add_server(invite)?;

    // set the handler for the echo-client service, which takes bytes messages too
    set_handler(accept_bytes(echo_client_handler)).await?;

    // run the echo-client service
    run(service).await?;

    Ok(())
}

async_message_handler! {
    /// Called whenever the echo-client service receives a message.
    async fn echo_client_handler(message: Message) -> Result<(), Error> {
        tracing::info!("echo-client received: {}", message);

        // we will ignore control messages
        if message.is_control() {
            return Ok(());
        }

        // just echo the message back to the sender: bytes as bytes, and text as text
        let echo = match message.is_bytes() {
            true => Message::with_bytes(message.sender(), message.bytes().clone()),
            false => Message::new(message.sender(), message.payload()),
        };
        send(echo).await?;

        // exit if the message is "0": the echo is delivered, then `run` returns
        if message.payload() == "0" {
            shutdown().await?;
        }

        Ok(())
    }
}
