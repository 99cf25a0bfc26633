//! How a command ends: its exit code, and what it says when it fails.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use paddington::{ConfigError, FileError, InviteError, LinkError, ServiceError, with_causes};

/// The exit codes. They are stable: scripts rely on them. `docs/operate.md` has them as a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nobody reads what is printed any more, such as `head`: there is nothing to complain about.
    Unread = 0,
    /// The answer is no: the check found problems, the message was not handled.
    No = 1,
    /// A file is missing, cannot be read or written, or is not valid.
    Files = 3,
    /// The service does not run, or cannot be reached.
    NoService = 4,
    /// There was no answer in time.
    Late = 5,
    /// The change, the message or the request was refused.
    Refused = 6,
}

/// The end of a command that has failed: the exit code, the cause, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    cause: String,
    remedy: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, cause: impl Into<String>) -> Self {
        Self { exit, cause: cause.into(), remedy: None }
    }

    /// A failure with an error as its cause, and the causes of that.
    pub(crate) fn of(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, with_causes(error))
    }

    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The end of a command whose reader has gone.
    pub(crate) fn unread() -> Self {
        Self::new(Exit::Unread, "nobody reads the output")
    }

    /// Returns whether there is something to complain about.
    pub(crate) fn is_told(&self) -> bool {
        self.exit != Exit::Unread
    }

    pub(crate) fn is_late(&self) -> bool {
        self.exit == Exit::Late
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  {remedy}"),
            None => Ok(()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let exit = match error {
            ConfigError::File(FileError::InUse { .. }) => Exit::NoService,
            ConfigError::Duplicate(_)
            | ConfigError::Own(_)
            | ConfigError::SharedKey { .. }
            | ConfigError::NotInvited { .. }
            | ConfigError::Unknown(_)
            | ConfigError::NotAClient(_)
            | ConfigError::NotAServer(_)
            | ConfigError::OtherLink(_)
            | ConfigError::SeenInvitation(_)
            | ConfigError::Name(_)
            | ConfigError::Range(_) => Exit::Refused,
            _ => Exit::Files,
        };
        Self::of(exit, &error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::of(Exit::Files, &error)
    }
}

impl From<InviteError> for Failure {
    fn from(error: InviteError) -> Self {
        Self::of(Exit::Files, &error)
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Config(error) => error.into(),
            error => Self::of(Exit::Refused, &error),
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Config(error) => error.into(),
            error => Self::of(Exit::Files, &error),
        }
    }
}
