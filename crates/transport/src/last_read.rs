//! Files that are read again when they have changed: what was seen of them, and what was wrong.

use crate::tls_files::Fingerprint;

/// What was seen of some files when they were read last.
#[derive(Debug)]
pub(crate) struct LastRead {
    /// How the files were, unless they are to be read again in any case.
    seen: Option<Fingerprint>,
    /// Why what was read cannot be used.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    cause: String,
    is_told: bool,
}

impl LastRead {
    /// Files that were read, and are good.
    pub(crate) fn new(seen: Fingerprint) -> Self {
        Self { seen: Some(seen), failure: None }
    }

    /// Returns whether files that are like this were read already.
    pub(crate) fn is_of(&self, now: &Fingerprint) -> bool {
        self.seen.as_ref() == Some(now)
    }

    /// Notes that the files are good, and returns whether a failure that was told is over.
    pub(crate) fn succeeded(&mut self, now: Fingerprint) -> bool {
        self.seen = Some(now);
        self.failure.take().is_some_and(|failure| failure.is_told)
    }

    /// Notes that the files cannot be used, and returns whether that is to be told: a certificate and its
    /// key cannot be replaced at once, so it is when it is met a second time, and once.
    pub(crate) fn failed(&mut self, now: Fingerprint, cause: &str) -> bool {
        let Some(failure) = self.failure.as_mut().filter(|failure| failure.cause == cause) else {
            (self.failure, self.seen) =
                (Some(Failure { cause: cause.to_owned(), is_told: false }), None);
            return false;
        };
        self.seen = Some(now);
        !std::mem::replace(&mut failure.is_told, true)
    }
}
