//! Everything that is wrong with a configuration: with its file, its line, and what to do.

mod document;
mod files;
mod keys;
mod links;
mod settings;
mod values;

use std::fmt;
use std::fs;

use serde::Serialize;

use crate::folder::CONFIG;
use document::Document;

/// Something that is wrong, or looks like a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Problem {
    /// A problem of the configuration.
    fn at(line: Option<usize>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::of(CONFIG, line, what, remedy)
    }

    fn of(
        file: impl Into<String>,
        line: Option<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { file: file.into(), line, what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "{}{line}: {}\n    {}", self.file, self.what, self.remedy)
    }
}

/// Returns all problems of the service whose folder was entered. Nothing is written.
pub(crate) fn problems() -> Vec<Problem> {
    let text = match fs::read_to_string(CONFIG) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("it cannot be read: {error}");
            return vec![Problem::at(None, what, "Make it a readable file of UTF-8 text.")];
        }
    };
    let mut problems = of_text(&text);
    if let Ok(document) = Document::parse(&text) {
        problems.extend(files::problems(&document));
        problems.extend(links::problems(&document));
    }
    problems.sort_by_key(|problem| (problem.file.clone(), problem.line));
    problems
}

/// Returns those of the problems that are files which others can read.
pub(crate) fn exposed_files() -> Vec<Problem> {
    let text = fs::read_to_string(CONFIG).unwrap_or_default();
    let Ok(document) = Document::parse(&text) else { return Vec::new() };
    let mut paths = files::secret(&document);
    paths.extend(links::secret(&document));
    paths.iter().filter_map(|path| files::exposed(path)).collect()
}

/// Returns the problems that the text alone shows.
fn of_text(text: &str) -> Vec<Problem> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(problems) => return problems,
    };
    let mut problems = keys::problems(&document);
    problems.extend(values::problems(&document));
    problems.extend(settings::problems(&document));
    problems
}

#[cfg(test)]
mod tests;
