//! What is sealed at rest: its secret and its keyring.

use std::path::PathBuf;

use paddington::{
    AtRest, AtRestError, KeySource, OpenStoreError, OutboxError, check_outbox_seal, with_causes,
};

use super::Problem;
use super::document::Document;
use super::files::exposed;

/// Returns the settings, if the configuration has a table for them.
pub(super) fn settings(document: &Document<'_>) -> Option<Result<AtRest, toml::de::Error>> {
    document.read(&["at_rest"])
}

pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let settings = match settings(document) {
        Some(Ok(settings)) => settings,
        Some(Err(_)) => return Vec::new(), // It is told elsewhere.
        None => return of_outbox(document, None).into_iter().collect(),
    };
    let mut problems = Vec::new();
    if let KeySource::File(path) = settings.source() {
        problems.extend(exposed(path));
    }
    if let Err(error) = settings.check() {
        problems.push(Problem::at(
            document.line(&["at_rest"]),
            with_causes(&error),
            remedy(&error),
        ));
    } else {
        problems.extend(of_outbox(document, Some(&settings)));
    }
    problems
}

/// An outbox that is sealed otherwise than the settings say.
fn of_outbox(document: &Document<'_>, settings: Option<&AtRest>) -> Option<Problem> {
    let path = PathBuf::from(document.string(&["outbox"])?);
    let error = check_outbox_seal(&path, settings).err()?;
    let remedy = match &error {
        OutboxError::Open(OpenStoreError::NotSealed(_)) => {
            "Stop the service, and run: paddington at-rest seal"
        }
        OutboxError::Open(OpenStoreError::Sealed { .. }) => {
            "Put the table [at_rest] back, as docs/deploy/at-rest.md shows it."
        }
        OutboxError::AtRest(AtRestError::NoKeyring { .. }) => "Put the keyring back from a copy.",
        OutboxError::AtRest(_) => "Put back the keyring that belongs to this outbox.",
        _ => return None, // Whether it can be used otherwise is told by the service.
    };
    Some(Problem::at(document.line(&["outbox"]), with_causes(&error), remedy))
}

fn remedy(error: &AtRestError) -> &'static str {
    match error {
        AtRestError::WrongSecret { .. } => {
            "Name the secret that the keyring was sealed under last, or put back the keyring that belongs \
             to this one."
        }
        AtRestError::Source { .. } => {
            "Put 64 hexadecimal digits (openssl rand -hex 32), or a passphrase, where this says."
        }
        _ => "Put the keyring back from a copy; docs/deploy/at-rest.md says more.",
    }
}
