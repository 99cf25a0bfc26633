//! A partner of the hub.

use std::path::Path;

use anyhow::{Context, Error};
use paddington::{Invite, Message, Service, ServiceConfig};

/// Makes the configuration of a partner with its links in `folder`.
pub(crate) fn config(name: &str, folder: &Path) -> Result<ServiceConfig, Error> {
    let mut config = ServiceConfig::new(name, "ws://localhost:1", "127.0.0.1", &1)?;
    config.set_links(folder)?;
    Ok(config)
}

/// Runs the partner until Ctrl-C.
pub(crate) async fn run(
    name: &str,
    invitation: Option<&Path>,
    passphrase_file: Option<&Path>,
) -> Result<(), Error> {
    let mut config = config(name, &Path::new(name).with_extension("links"))?;
    if let Some(path) = invitation {
        let invite = match passphrase_file {
            Some(file) => {
                let text = std::fs::read_to_string(file).context("no passphrase can be read")?;
                Invite::load_sealed(path, text.trim())?
            }
            None => Invite::load(path)?,
        };
        let is_known = config.peers().any(|peer| peer == "hub");
        if is_known {
            config.replace_server(invite)?;
        } else {
            config.add_server(invite)?;
        }
    }
    let partner = Service::start(&config, crate::show).await?;
    partner.send(Message::new("hub", format!("{name} is here"))).await?;
    tokio::signal::ctrl_c().await?;
    partner.shutdown().await;
    Ok(())
}
