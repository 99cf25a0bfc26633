//! Errors in words.

use std::error::Error;

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
