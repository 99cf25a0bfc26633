//! `paddington at-rest`: seals what is kept on the disk, while the service does not run.

use std::path::{Path, PathBuf};

use paddington::{AtRest, AtRestError, FileError, KeySource, OpenStoreError, Rewritten};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::args::{AtRestAction, Rekey};
use crate::failure::{Exit, Failure};
use crate::layers;
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

pub(crate) fn run(action: AtRestAction, output: Output) -> Result<(), Failure> {
    let Kept { links, outbox, at_rest, cluster } = layers::part()?;
    let (links, outbox) = (links.as_deref(), outbox.as_deref());
    let at_rest = at_rest.ok_or_else(|| {
        Failure::new(
            Exit::Files,
            "service.toml has no table [at_rest], which says where the secret is",
        )
        .with_remedy("docs/deploy/at-rest.md shows it.")
    })?;
    if cluster.is_some() && !matches!(action, AtRestAction::Seal) {
        let cause =
            "what replicas share in a database stays sealed under the key with which it began";
        return Err(Failure::new(Exit::Refused, cause).with_remedy("docs/cluster.md tells more."));
    }
    match action {
        AtRestAction::Seal => {
            let done = at_rest.seal(links, outbox).map_err(|error| failure(&error))?;
            told(done, output, "sealed", "")
        }
        AtRestAction::Unseal => {
            let done = at_rest.unseal(links, outbox).map_err(|error| failure(&error))?;
            told(done, output, "not sealed any more:", AFTER_UNSEAL)
        }
        AtRestAction::Rekey(args) => rekey(&at_rest, links, outbox, source(args), output),
    }
}

const AFTER_UNSEAL: &str = "\nTake the table [at_rest] out of service.toml before the next start. The keyring \
                            stays: copies of what was sealed need it.";

fn rekey(
    at_rest: &AtRest,
    links: Option<&Path>,
    outbox: Option<&Path>,
    to: Option<KeySource>,
    output: Output,
) -> Result<(), Failure> {
    let named = to.as_ref().filter(|to| *to != at_rest.source()).map(line);
    let next = named.as_ref().map_or(String::new(), |line| {
        format!(
            "\nWrite into [at_rest] of service.toml, in the place of the present secret: {line}"
        )
    });
    let done = at_rest.rekey(to, links, outbox).map_err(|error| {
        let failure = failure(&error);
        match &named {
            Some(line) => failure.with_remedy(format!(
                "If the keyring has the new secret already, write {line} into [at_rest], and run: \
                 paddington at-rest seal"
            )),
            None => failure,
        }
    })?;
    told(done, output, "sealed under a new key:", &next)
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

fn source(args: Rekey) -> Option<KeySource> {
    let Rekey { key_file, key_credential, key_variable, key_command } = args;
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
