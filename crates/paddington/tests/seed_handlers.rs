//! The functions and handlers of the original's documentation compile as they are written there,
//! except for the error helper that they import.

#![expect(clippy::needless_borrows_for_generic_args, reason = "the code under test is quoted")]

use std::path::Path;

use anyhow::{Context, Error};
use paddington::{Invite, Message, ServiceConfig, async_message_handler, run, send, set_handler};

async fn run_client(invitation: &Path) -> Result<(), Error> {
    // load the invitation from the file
    let invite: Invite = Invite::load(invitation)?;

    // create the echo-client service - note that the url, ip and
    // port aren't used, as this service won't be listening for any
    // connecting clients
    let mut service: ServiceConfig =
        ServiceConfig::new("echo-client", "http://localhost:6502", "127.0.0.1", &6502)?;

    // now give the invitation to connect to the server to the client
    service.add_server(invite)?;

    // set the handler for the echo-client service
    set_handler(echo_client_handler).await?;

    // run the echo-client service
    run(service).await?;

    Ok(())
}

async_message_handler! {
    ///
    /// This is the function that will be called on the echo-client
    /// service whenever it receives a message
    ///
    async fn echo_client_handler(message: Message) -> Result<(), Error> {
        tracing::info!("echo-client received: {}", message);

        // we will ignore control messages
        if message.is_control() {
            return Ok(())
        }

        // just echo the message back to the sender
        send(Message::new(message.sender(), message.payload())).await?;

        // exit if the message is "0"
        if message.payload() == "0" {
            std::process::exit(0);
        }

        Ok(())
    }
}

async_message_handler! {
    async fn echo_server_handler(message: Message) -> Result<(), Error> {
        tracing::info!("echo-server received: {}", message);

        // there are two types of message - control messages that
        // tell us that, e.g. services have connected, and normal
        // messages that come from those services. Here, as the
        // echo-server, we will start the echo exchange whenever
        // we receive a control message telling us the echo-client
        // service has connected
        match message.is_control() {
            true => {
                // start the echo exchange
                send(Message::new("echo-client", "1000")).await?;
            }
            false => {
                // the message should be a number - we will decrement
                // it and echo it back
                let number = message.payload().parse::<i32>().with_context(|| {
                    format!("Could not parse message payload as i32: {}", message.payload())
                })?;

                // echo the decremented number
                send(Message::new(message.sender(), &(number - 1).to_string())).await?;

                if number <= 1 {
                    // blast off!
                    tracing::info!("Blast off!");

                    // exit the program gracefully
                    // (this will eventually flush all caches / queues,
                    //  and exit once all messages sent, blocking sending
                    //  of any new messages - for now, we will just sleep
                    // for a short time before calling exit...)
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    std::process::exit(0);
                }
            }
        }

        Ok(())
    }
}

#[tokio::test]
async fn a_process_has_one_handler_and_cannot_run_without_it() {
    let mut service =
        ServiceConfig::new("echo-server", "http://localhost:6501", "127.0.0.1", &0).unwrap();
    service.add_client("echo-client", "127.0.0.1").unwrap();
    let unprepared = run(service.clone()).await.unwrap_err();
    assert_eq!(unprepared.to_string(), "no handler is set: call set_handler before run");

    set_handler(echo_server_handler).await.unwrap();
    assert!(set_handler(echo_client_handler).await.is_err(), "one is set already");
    let outside = send(Message::new("echo-client", "1000")).await.unwrap_err();
    assert!(outside.to_string().starts_with("no service runs here"), "{outside}");

    let running = tokio::spawn(run(service));
    let mut asked = paddington::shutdown().await;
    while asked.is_err() {
        tokio::task::yield_now().await;
        asked = paddington::shutdown().await;
    }
    assert!(running.await.unwrap().unwrap().is_clean());
    assert!(send(Message::new("echo-client", "1000")).await.is_err());

    let missing = run_client(Path::new("no-such-invitation.toml")).await.unwrap_err();
    assert!(missing.to_string().contains("no-such-invitation.toml"), "{missing}");
}
