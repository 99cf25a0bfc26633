//! Something that is wrong, where it is, and what to do.

use std::fmt;

use serde::Serialize;

use crate::folder::CONFIG;
use crate::layers::{Merged, Origin};

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
    /// Whether the line is one of the text that all layers together make.
    #[serde(skip)]
    pub(super) is_of_text: bool,
}

impl Problem {
    /// A problem of the configuration's text, at a line of it.
    pub(super) fn at(
        line: Option<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { is_of_text: true, ..Self::of(CONFIG, line, what, remedy) }
    }

    /// A problem of what is written at a place.
    pub(crate) fn from(
        origin: &Origin,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::of(origin.file(), origin.line(), what, remedy)
    }

    pub(crate) fn of(
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
            is_of_text: false,
        }
    }
}

impl Problem {
    /// Names the layer that has written the line.
    pub(super) fn located(self, merged: &Merged) -> Self {
        match self.line.filter(|_| self.is_of_text) {
            Some(line) => {
                let origin = merged.origin_of_line(line);
                Self { file: origin.file(), line: origin.line(), is_of_text: false, ..self }
            }
            None => self,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "{}{line}: {}\n    {}", self.file, self.what, self.remedy)
    }
}
