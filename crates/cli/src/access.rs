//! The way to the service: through its socket if it runs, else to its files. Commands say the same either
//! way.

use std::path::Path;
use std::time::Duration;

use paddington::{Encoding, Invite, InviteOptions, LinkDetails};
use paddington_admin::client::{Client, ClientError};
use paddington_admin::model::{
    InvitationAnswer, InviteRequest, JoinRequest, Peer, Peers, RangeRequest, RemovedAnswer,
    RenewRequest, WaitingMail,
};

use crate::commands::peers::Entry;
use crate::failure::{Exit, Failure};
use crate::layers;
use crate::stored::{self, Files};

/// A way to the service.
pub(crate) enum Access {
    /// It runs.
    Live(Client),
    /// It does not.
    Files(Box<Files>),
}

impl Access {
    /// Reaches the service if it runs, or else its files.
    pub(crate) async fn open() -> Result<Self, Failure> {
        let socket = layers::operation()?.api.socket;
        if !socket.as_os_str().is_empty() {
            match Client::connect(&socket).await {
                Ok(client) => return Ok(Self::Live(client)),
                Err(ClientError::NotRunning { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self::Files(Box::new(Files::open(layers::service()?).await?)))
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    pub(crate) async fn invite(
        &mut self,
        peer: &str,
        range: &str,
        options: InviteOptions,
    ) -> Result<Invite, Failure> {
        match self {
            Self::Files(files) => {
                let invite = files.config.add_client_with(peer, range, options)?;
                files.save(peer).await?;
                Ok(invite)
            }
            Self::Live(client) => {
                let hex = options.encoding == Encoding::Hex;
                let request = InviteRequest {
                    name: peer.to_owned(),
                    range: range.to_owned(),
                    encoding: hex.then(|| "hex".to_owned()),
                    lifetime_seconds: options.lifetime.map(|lifetime| lifetime.as_secs()),
                };
                invitation(client.post("/v1/peers", &request).await?)
            }
        }
    }

    pub(crate) async fn join(
        &mut self,
        invite: &Invite,
        authorities: Option<&Path>,
    ) -> Result<(), Failure> {
        match self {
            Self::Files(files) => {
                let config = &mut files.config;
                let known = config.peers().any(|peer| peer == invite.name());
                match (known, authorities) {
                    (true, _) => config.replace_server(invite.clone())?,
                    (false, Some(file)) => {
                        config.add_server_with(invite.clone(), Some(file.to_owned()))?;
                    }
                    (false, None) => config.add_server(invite.clone())?,
                }
                files.save(invite.name()).await?;
            }
            Self::Live(client) => {
                let request = JoinRequest {
                    invitation: invite.to_toml()?.to_string(),
                    authorities: authorities.map(|file| file.display().to_string()),
                };
                let _: Peer = client.post("/v1/peers/join", &request).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn renew(
        &mut self,
        peer: &str,
        lifetime: Option<Duration>,
    ) -> Result<Invite, Failure> {
        match self {
            Self::Files(files) => {
                let invite = files.config.renew_for(peer, lifetime)?;
                files.save(peer).await?;
                Ok(invite)
            }
            Self::Live(client) => {
                let lifetime_seconds = lifetime.map(|lifetime| lifetime.as_secs());
                let path = format!("/v1/peers/{peer}/renew");
                invitation(client.post(&path, &RenewRequest { lifetime_seconds }).await?)
            }
        }
    }

    pub(crate) async fn remove(
        &mut self,
        peer: &str,
        waiting: WaitingMail,
    ) -> Result<RemovedAnswer, Failure> {
        match self {
            Self::Live(client) => {
                let word = match waiting {
                    WaitingMail::Refuse => "refuse",
                    WaitingMail::Purge => "purge",
                    WaitingMail::Keep => "keep",
                };
                let path = format!("/v1/peers/{peer}?waiting={word}");
                client.delete(&path).await.map_err(|error| match &error {
                    ClientError::Refused { error: refused, .. }
                        if refused.code == "messages_wait" =>
                    {
                        Failure::from(error).with_remedy(stored::WHAT_BECOMES)
                    }
                    _ => error.into(),
                })
            }
            Self::Files(files) => stored::remove(files, peer, waiting).await,
        }
    }

    pub(crate) async fn set_range(&mut self, peer: &str, range: &str) -> Result<(), Failure> {
        match self {
            Self::Files(files) => {
                files.config.set_range(peer, range)?;
                files.save(peer).await?;
            }
            Self::Live(client) => {
                let request = RangeRequest { range: range.to_owned() };
                let _: Peer = client.put(&format!("/v1/peers/{peer}/range"), &request).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn peers(&mut self) -> Result<Vec<Entry>, Failure> {
        match self {
            Self::Live(client) => {
                let peers: Peers = client.get("/v1/peers").await?;
                Ok(peers.peers.into_iter().map(Entry::from).collect())
            }
            Self::Files(files) => {
                let mut peers: Vec<_> = files.config.link_details().iter().map(entry).collect();
                peers.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(peers)
            }
        }
    }
}

/// Connects to the service, which has to run.
pub(crate) async fn client() -> Result<Client, Failure> {
    let socket = layers::operation()?.api.socket;
    if socket.as_os_str().is_empty() {
        let cause = "the service has no socket to be reached by";
        let remedy =
            "Take the line `socket = \"\"` out of [api] in service.toml, and start it again.";
        return Err(Failure::new(Exit::NoService, cause).with_remedy(remedy));
    }
    match Client::connect(&socket).await {
        Err(ClientError::NotRunning { .. }) => Err(not_running()),
        connected => Ok(connected?),
    }
}

fn not_running() -> Failure {
    Failure::new(Exit::NoService, "the service does not run")
        .with_remedy("Start it: paddington run")
}

fn invitation(answer: InvitationAnswer) -> Result<Invite, Failure> {
    let text = zeroize::Zeroizing::new(answer.invitation);
    Ok(Invite::from_toml(&text)?)
}

/// The facts about a peer that are known without the service.
pub(crate) fn entry(link: &LinkDetails) -> Entry {
    Entry {
        name: link.name.clone(),
        role: link.role.into(),
        encoding: link.encoding.to_string(),
        link: link.link.to_string(),
        range: link.range.map(|range| range.to_string()),
        url: link.url.as_ref().map(ToString::to_string),
        fallback_urls: link.fallback_urls.iter().map(ToString::to_string).collect(),
        keys: link.into(),
        status: None,
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { status, error } => {
                let exit = match status {
                    504 => Exit::Late,
                    500.. => Exit::No,
                    _ => Exit::Refused,
                };
                let failure = Self::new(exit, error.message);
                match error.remedy {
                    Some(remedy) => failure.with_remedy(remedy),
                    None => failure,
                }
            }
            error => Self::of(Exit::NoService, &error),
        }
    }
}
