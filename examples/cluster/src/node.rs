//! One service: a replica of the hub, or a sensor. It tells on its output what it handles, and sends what it is told
//! on its input.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Error};
use paddington::{Message, Service, ServiceConfig};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// Runs until its input ends. Each line of that is a recipient and a text.
pub(crate) async fn run(config: &Path, port: Option<u16>) -> Result<(), Error> {
    let mut config = ServiceConfig::load(config).context("cannot read the configuration")?;
    if let Some(port) = port {
        config.set_port(port);
    }
    let service = Service::start(&config, async |message: Message| {
        if !message.is_control() {
            let (sender, text) = (message.sender(), message.payload());
            tell(&format!("handled {sender} {text} {}", message.redelivered()))?;
        }
        Ok::<(), std::io::Error>(())
    })
    .await?;
    tell("ready")?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (recipient, text) = line.split_once(' ').context("a line is a recipient and a text")?;
        // One after the other, so that the texts are accepted in order.
        match service.send(Message::new(recipient, text)).await {
            Ok(_) => tell(&format!("accepted {text}"))?,
            Err(error) => {
                tracing::debug!("{text} was not accepted: {error}");
                tell(&format!("refused {text}"))?;
            }
        }
    }
    service.shutdown().await;
    Ok(())
}

/// Writes a line at once, so that a kill does not lose it.
fn tell(line: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
