//! The `echo-server` service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Error};
use paddington::{Control, Encoding, Message, Service, ServiceConfig, Signals, send, shutdown};

use crate::ServerArguments;

pub(crate) async fn run_server(arguments: ServerArguments) -> Result<(), Error> {
    // create the echo-server service
    let ServerArguments { url, ip, port, range, invitation, count, encoding } = arguments;
    let url = url.unwrap_or_else(|| format!("http://localhost:{port}"));
    let mut config = ServiceConfig::new("echo-server", &url, &ip, &port)?;

    // invite the echo-client service to connect to it, from the given range of addresses
    let invite = config.add_client_with("echo-client", &range, Encoding::from(encoding))?;

    // start the echo-server service with its handler; from now on, Ctrl-C and SIGTERM shut it down
    let signals = Signals::take();
    let countdown = Arc::new(Countdown { count, ends: AtomicBool::new(false) });
    let service = Service::start(&config, move |message| {
        let countdown = Arc::clone(&countdown);
        async move { countdown.handle(message).await }
    })
    .await?;

    // the service listens: now its invitation may replace an older one
    invite.save(&invitation)?;
    tracing::info!("the invitation for echo-client is in {}", invitation.display());

    // run the echo-server service
    signals.run(&service).await;
    Ok(())
}

/// The state of echo-server's handler.
struct Countdown {
    count: u32,
    /// Whether 0 was sent, so that the countdown ends with the echo or the client's exit.
    ends: AtomicBool,
}

impl Countdown {
    async fn handle(&self, message: Message) -> Result<(), Error> {
        tracing::info!("echo-server received: {}", message);

        // there are two types of message: control messages that tell us, for example, that a
        // service has connected, and messages that come from other services
        match message.control() {
            // the echo-client service has connected: start the echo exchange
            Some(Control::Connected { agent }) => self.say(agent.as_str(), self.count).await,
            // the original's client exits without waiting until its last echo is transmitted
            Some(_) if self.ends.load(Ordering::Relaxed) => self.blast_off().await,
            Some(_) => Ok(()),
            None if message.is_request() => {
                // somebody waits for the number that follows; after 0 there is none
                let number: u32 = message.payload().parse()?;
                if let Some(next) = number.checked_sub(1) {
                    message.reply(next.to_string())?;
                }
                Ok(())
            }
            None => {
                // the message should be a number: decrement it and send it back
                let number: u32 =
                    message.payload().parse().context("the message is not a number")?;
                match number.checked_sub(1) {
                    Some(next) => self.say(message.sender(), next).await,
                    None => self.blast_off().await,
                }
            }
        }
    }

    async fn say(&self, recipient: &str, number: u32) -> Result<(), Error> {
        self.ends.store(number == 0, Ordering::Relaxed);
        send(Message::new(recipient, number.to_string())).await?;
        Ok(())
    }

    async fn blast_off(&self) -> Result<(), Error> {
        self.ends.store(false, Ordering::Relaxed);
        tracing::info!("Blast off!");
        // everything that was accepted is delivered, then `run` returns
        shutdown().await?;
        Ok(())
    }
}
