//! One replica of the hub. It tells on its output what it handles, and sends what it is told on its input.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Error};
use paddington::{Message, Service, ServiceConfig};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// Runs until its input ends.
pub(crate) async fn run(config: &Path, port: u16) -> Result<(), Error> {
    let mut config = ServiceConfig::load(config).context("cannot read the configuration")?;
    config.set_port(port);
    let service = Service::start(&config, async |message: Message| {
        if !message.is_control() {
            tell(&format!("handled {} {}", message.payload(), message.redelivered()))?;
        }
        Ok::<(), std::io::Error>(())
    })
    .await?;
    tell("ready")?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(number) = lines.next_line().await? {
        // One after the other, so that the numbers are accepted in order.
        match service.send(Message::new("sensor", number.as_str())).await {
            Ok(_) => tell(&format!("accepted {number}"))?,
            Err(error) => {
                tracing::debug!("{number} was not accepted: {error}");
                tell(&format!("refused {number}"))?;
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
