//! Something that is wrong, where it is, and what to do.

use std::fmt;

use serde::Serialize;

use crate::folder::CONFIG;

/// Something that is wrong, or looks like a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
    pub(crate) remedy: String,
    /// Whether others than its owner can read the file.
    #[serde(skip)]
    pub(crate) is_exposed: bool,
}

impl Problem {
    /// A problem of the configuration.
    pub(super) fn at(
        line: Option<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::of(CONFIG, line, what, remedy)
    }

    pub(super) fn of(
        file: impl Into<String>,
        line: Option<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            line,
            what: what.into(),
            remedy: remedy.into(),
            is_exposed: false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "{}{line}: {}\n    {}", self.file, self.what, self.remedy)
    }
}
