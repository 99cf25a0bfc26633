//! What is sealed at rest: its secret and its keyring.

use paddington::{AtRest, AtRestError, KeySource, with_causes};

use super::Problem;
use super::document::Document;
use super::files::exposed;

/// Returns the settings, if the configuration has a table for them.
pub(super) fn settings(document: &Document<'_>) -> Option<Result<AtRest, toml::de::Error>> {
    let whole: toml::Table = toml::from_str(document.text()).ok()?;
    Some(whole.get("at_rest")?.clone().try_into())
}

pub(super) fn problems(document: &Document<'_>) -> Vec<Problem> {
    let Some(Ok(settings)) = settings(document) else { return Vec::new() };
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
    }
    problems
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
