//! The place where a setting is written.

use std::fmt;

/// The place where a setting is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of a file, from 1.
    File(String, usize),
    /// A variable of the environment.
    Variable(String),
    /// The key of a `--set` on the command line.
    Flag(String),
}

impl Origin {
    /// Returns the file, or what stands for one.
    pub(crate) fn file(&self) -> String {
        match self {
            Self::File(file, _) => file.clone(),
            Self::Variable(name) => format!("variable {name}"),
            Self::Flag(key) => format!("flag --set {key}"),
        }
    }

    /// Returns the line in the file.
    pub(crate) fn line(&self) -> Option<usize> {
        match self {
            Self::File(_, line) => Some(*line),
            Self::Variable(_) | Self::Flag(_) => None,
        }
    }

    /// Returns the origin of what is written a number of lines below.
    pub(super) fn below(&self, lines: usize) -> Self {
        match self {
            Self::File(file, line) => Self::File(file.clone(), line + lines),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file())?;
        self.line().map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
