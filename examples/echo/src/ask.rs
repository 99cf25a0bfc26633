//! One question to the `echo-server` service, as the `echo-client` service.

use std::time::Duration;

use anyhow::Error;
use paddington::{Invite, Message, Service, ServiceConfig};

use crate::AskArguments;

pub(crate) async fn run_ask(arguments: AskArguments) -> Result<(), Error> {
    let AskArguments { invitation, number, timeout } = arguments;
    let mut config =
        ServiceConfig::new("echo-client", "http://localhost:6502", "127.0.0.1", &6502)?;
    config.add_server(Invite::load(&invitation)?)?;
    let service = Service::start(&config, async |_: Message| Ok::<(), Error>(())).await?;

    // the server is the only peer: ask it, and wait until it is connected and has answered
    let server = service.peers().remove(0).name;
    let question = Message::new(server, number);
    let answer = service.request(question, Duration::from_secs_f64(timeout)).await;
    service.shutdown().await;
    tracing::info!("the answer: {}", answer?.payload());
    Ok(())
}
