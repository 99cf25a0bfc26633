//! The beginning of a text of any length, for fields that hold no more.

use std::fmt::{self, Display, Write};

/// Returns the first `max` bytes of what `text` displays, cut between two characters. No more of it
/// is formatted than fits.
#[must_use]
pub fn beginning(text: &(impl Display + ?Sized), max: usize) -> String {
    let mut beginning = Beginning { text: String::new(), max };
    // An error means that the rest does not fit, or that `text` has failed: then this is it.
    let _ = write!(beginning, "{text}");
    beginning.text
}

/// Keeps what fits of the text that is written to it.
struct Beginning {
    text: String,
    max: usize,
}

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.max.saturating_sub(self.text.len());
        let end = text.floor_char_boundary(room);
        self.text.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text without an end.
    struct Endless;

    impl Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("more and ")?;
            }
        }
    }

    #[test]
    fn no_more_is_formatted_than_fits() {
        assert_eq!(beginning(&Endless, 255).len(), 255);
    }
}
