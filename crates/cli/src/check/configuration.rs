//! All problems of a service's configuration.

use super::document::Document;
use super::{Problem, at_rest, files, keys, links, settings, tls, urls, values};
use crate::layers::{self, Merged, Overrides};

/// Returns all problems of the service whose folder was entered, with what the command line sets. Nothing is
/// written.
pub(crate) fn problems(overrides: &Overrides) -> Vec<Problem> {
    match layers::read(overrides) {
        Ok(merged) => of_merged(&merged),
        Err(problems) => problems,
    }
}

/// Returns all problems of a configuration. Nothing is written.
pub(crate) fn of_merged(merged: &Merged) -> Vec<Problem> {
    let document = match Document::parse(merged.text()) {
        Ok(document) => document,
        Err(problems) => return located(problems, merged),
    };
    let mut problems = of_document(&document);
    problems.extend(files::exposed_files(merged, &files::proxy(&document)));
    problems.extend(files::problems(&document));
    match at_rest::problems(&document) {
        // Without a key, the files of links cannot be read.
        found if !found.is_empty() => problems.extend(found),
        _ => problems.extend(links::problems(&document)),
    }
    problems.extend(tls::problems(&document));
    problems.extend(layers::strays(at_rest::settings(&document).and_then(Result::ok).as_ref()));
    let mut problems = located(problems, merged);
    problems.sort_by_key(|problem| (problem.file.clone(), problem.line));
    problems
}

/// Returns the problems that the text alone shows.
pub(crate) fn of_text(merged: &Merged) -> Vec<Problem> {
    let problems = match Document::parse(merged.text()) {
        Ok(document) => of_document(&document),
        Err(problems) => problems,
    };
    located(problems, merged)
}

fn located(problems: Vec<Problem>, merged: &Merged) -> Vec<Problem> {
    problems.into_iter().map(|problem| problem.located(merged)).collect()
}

/// Returns the problems that the text alone shows.
pub(super) fn of_document(document: &Document<'_>) -> Vec<Problem> {
    let mut problems = keys::problems(document);
    problems.extend(values::problems(document));
    problems.extend(settings::problems(document));
    problems.extend(urls::problems(document));
    problems
}
