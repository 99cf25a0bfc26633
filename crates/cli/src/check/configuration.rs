//! All problems of a service's configuration.

use std::fs;

use super::document::Document;
use super::{Problem, at_rest, files, keys, links, settings, tls, values};
use crate::folder::CONFIG;

/// Returns all problems of the service whose folder was entered. Nothing is written.
pub(crate) fn problems() -> Vec<Problem> {
    let text = match fs::read_to_string(CONFIG) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("it cannot be read: {error}");
            return vec![Problem::at(None, what, "Make it a readable file of UTF-8 text.")];
        }
    };
    let document = match Document::parse(&text) {
        Ok(document) => document,
        Err(problems) => return problems,
    };
    let mut problems = of_document(&document);
    problems.extend(files::problems(&document));
    match at_rest::problems(&document) {
        // Without a key, the files of links cannot be read.
        found if !found.is_empty() => problems.extend(found),
        _ => problems.extend(links::problems(&document)),
    }
    problems.extend(tls::problems(&document));
    problems.sort_by_key(|problem| (problem.file.clone(), problem.line));
    problems
}

/// Returns the problems that the text alone shows.
pub(super) fn of_document(document: &Document<'_>) -> Vec<Problem> {
    let mut problems = keys::problems(document);
    problems.extend(values::problems(document));
    problems.extend(settings::problems(document));
    problems
}
