//! `paddington at-rest`: seals what is kept on the disk, or in the database of replicas, while the service does not run.

use std::path::PathBuf;

use paddington::{
    AtRest, AtRestError, ClusterError, FileError, KeySource, OpenStoreError, Rewritten,
    ServiceConfig,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::args::{AtRestAction, OtherSecret, Rekey};
use crate::failure::{Exit, Failure};
use crate::layers::{self, Overrides};
use crate::output::Output;
use crate::view;

/// The part of a configuration that says what is kept where. The files of links need not be readable.
#[derive(Debug, Deserialize)]
struct Kept {
    links: Option<PathBuf>,
    outbox: Option<PathBuf>,
    at_rest: Option<AtRest>,
    cluster: Option<IgnoredAny>,
}

/// What was written anew.
#[derive(Serialize)]
struct Done {
    links: u64,
    messages: u64,
    older_keys: u64,
}

/// What is sealed, and where.
enum Place {
    Files { at_rest: AtRest, links: Option<PathBuf>, outbox: Option<PathBuf> },
    Databases(Box<ServiceConfig>),
}

pub(crate) async fn run(action: AtRestAction, output: Output) -> Result<(), Failure> {
    let Kept { links, outbox, at_rest, cluster } = layers::part()?;
    let at_rest = at_rest.ok_or_else(|| {
        Failure::new(
            Exit::Files,
            "service.toml has no table [at_rest], which says where the secret is",
        )
        .with_remedy("docs/deploy/at-rest.md shows it.")
    })?;
    let present = at_rest.source().clone();
    let (place, copy) = match cluster {
        Some(_) => {
            let keyring = at_rest.keyring().display();
            let copy = format!("\nCopy {keyring} to the other replicas before they are started.");
            let (config, _) = layers::load(&Overrides::default())?;
            (Place::Databases(Box::new(config)), copy)
        }
        None => (Place::Files { at_rest, links, outbox }, String::new()),
    };
    match action {
        AtRestAction::Seal => told(place.seal().await?, output, "sealed", &copy),
        AtRestAction::Unseal => {
            told(place.unseal().await?, output, "not sealed any more:", AFTER_UNSEAL)
        }
        AtRestAction::Rekey(Rekey { keyring_only, secret }) => {
            let to = source(secret);
            let named = to.as_ref().filter(|to| **to != present).map(line);
            let next = named.as_ref().map_or(String::new(), |line| {
                format!(
                    "\nWrite into [at_rest] of service.toml, in the place of the present secret: {line}"
                )
            });
            let rekeyed =
                if keyring_only { place.add_key(to).await } else { place.rekey(to).await };
            let done = rekeyed.map_err(|failure| match &named {
                Some(line) => failure.with_remedy(format!(
                    "If the keyring has the new secret already, write {line} into [at_rest], and run: \
                     paddington at-rest seal"
                )),
                None => failure,
            })?;
            let what =
                if keyring_only { "the keyring has a new key:" } else { "sealed under a new key:" };
            let next = if keyring_only { next + AFTER_KEYRING } else { next + &copy };
            told(done, output, what, &next)
        }
    }
}

const AFTER_UNSEAL: &str = "\nTake the table [at_rest] out of service.toml before the next start. The keyring \
                            stays: copies of what was sealed need it.";

const AFTER_KEYRING: &str = "\nCopy the keyring to the other replicas, and to where your backups are. Then run: paddington at-rest seal";

impl Place {
    async fn seal(&self) -> Result<Rewritten, Failure> {
        match self {
            Self::Files { at_rest, links, outbox } => {
                let done = at_rest.seal(links.as_deref(), outbox.as_deref());
                done.map_err(|error| failure(&error))
            }
            Self::Databases(config) => config.seal_cluster().await.map_err(|error| shared(&error)),
        }
    }

    async fn unseal(&self) -> Result<Rewritten, Failure> {
        match self {
            Self::Files { at_rest, links, outbox } => {
                let done = at_rest.unseal(links.as_deref(), outbox.as_deref());
                done.map_err(|error| failure(&error))
            }
            Self::Databases(config) => {
                config.unseal_cluster().await.map_err(|error| shared(&error))
            }
        }
    }

    async fn rekey(&self, to: Option<KeySource>) -> Result<Rewritten, Failure> {
        match self {
            Self::Files { at_rest, links, outbox } => {
                let done = at_rest.rekey(to, links.as_deref(), outbox.as_deref());
                done.map_err(|error| failure(&error))
            }
            Self::Databases(config) => {
                config.rekey_cluster(to).await.map_err(|error| shared(&error))
            }
        }
    }

    /// Adds the next key to the keyring of replicas, and seals nothing.
    async fn add_key(&self, to: Option<KeySource>) -> Result<Rewritten, Failure> {
        let Self::Databases(config) = self else {
            let why = "--keyring-only is for replicas, whose database is elsewhere";
            return Err(Failure::new(Exit::Refused, why));
        };
        let added = config.add_cluster_key(to).await;
        added.map(|()| Rewritten::default()).map_err(|error| shared(&error))
    }
}

fn told(done: Rewritten, output: Output, what: &str, next: &str) -> Result<(), Failure> {
    let Rewritten { links, payloads, older_keys } = done;
    let older = match older_keys {
        0 => "",
        _ => {
            "\nAn older key stays in the keyring, since the links or the outbox that service.toml names are not \
             there, or are empty. Once they are, run: paddington at-rest seal"
        }
    };
    output.print(&Done { links, messages: payloads, older_keys }, |_| {
        let links = match links {
            1 => "1 link".to_owned(),
            links => format!("{links} links"),
        };
        format!("{what} {links}, {}{older}{next}", view::messages(payloads))
    })
}

fn source(secret: OtherSecret) -> Option<KeySource> {
    let OtherSecret { key_file, key_credential, key_variable, key_command } = secret;
    let command = (!key_command.is_empty()).then_some(KeySource::Command(key_command));
    key_file
        .map(KeySource::File)
        .or(key_credential.map(KeySource::Credential))
        .or(key_variable.map(KeySource::Variable))
        .or(command)
}

/// The line of the configuration that names a secret.
fn line(source: &KeySource) -> String {
    match source {
        KeySource::File(path) => format!("key_file = {path:?}"),
        KeySource::Credential(name) => format!("key_credential = {name:?}"),
        KeySource::Variable(name) => format!("key_variable = {name:?}"),
        KeySource::Command(words) => format!("key_command = {words:?}"),
    }
}

fn failure(error: &AtRestError) -> Failure {
    let is_in_use = matches!(
        error,
        AtRestError::File(FileError::InUse { .. })
            | AtRestError::OpenOutbox(OpenStoreError::InUse(_))
    );
    let failure = Failure::of(if is_in_use { Exit::NoService } else { Exit::Files }, error);
    match is_in_use {
        true => failure.with_remedy("Stop the service first."),
        false => failure,
    }
}

fn shared(error: &ClusterError) -> Failure {
    match error {
        error if error.is_in_use() => {
            Failure::of(Exit::NoService, error).with_remedy("Stop all replicas first.")
        }
        ClusterError::Open(_) | ClusterError::Convert(_) => Failure::of(Exit::No, error),
        _ => Failure::of(Exit::Files, error),
    }
}
