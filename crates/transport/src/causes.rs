//! Errors in words, and what is among their causes.

use std::error::Error;
use std::io;

/// Returns an error and its causes as one line. A cause that the line ends with already is not repeated.
///
/// ```
/// use paddington_transport::with_causes;
///
/// let error = "x".parse::<u16>().unwrap_err();
/// assert_eq!(with_causes(&error), "invalid digit found in string");
/// ```
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let clause = cause.to_string();
        if !text.ends_with(&clause) {
            text = format!("{text}: {clause}");
        }
        source = cause.source();
    }
    text
}

/// Returns the error of a type that is among the causes of another one, in an [`io::Error`].
pub(crate) fn inner<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        let found = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = found.and_then(<dyn Error + Send + Sync>::downcast_ref) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
