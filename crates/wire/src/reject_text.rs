//! The words with which a receiver may explain a rejection. Implements the text of an entry of ACK
//! in `docs/protocol.md` §4.1.

use std::fmt::{self, Display};
use std::sync::Arc;

use crate::beginning::beginning;

/// A short text about one rejection, mostly none: at most 255 bytes of UTF-8.
///
/// A text that has arrived is the peer's: it may hold anything, control characters included.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectText(Option<Arc<str>>);

impl RejectText {
    /// No text.
    pub const NONE: Self = Self(None);
    /// The maximum length, in bytes.
    pub const MAX_LEN: usize = u8::MAX as usize;

    /// Returns the beginning of what `text` displays, cut between two characters. No more of it is
    /// formatted than fits.
    #[must_use]
    pub fn cut(text: &(impl Display + ?Sized)) -> Self {
        Self::new(&beginning(text, Self::MAX_LEN))
    }

    /// Takes a text that has arrived, of which the length field allows no more than the maximum.
    pub(crate) fn new(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }

    /// Returns the text, which may be empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for RejectText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(RejectText::cut("out of stock").as_str(), "out of stock");
        assert_eq!(RejectText::cut("").0, None);
        assert_eq!(RejectText::cut(&"x".repeat(1_000)).as_str(), "x".repeat(255));
        let umlauts = RejectText::cut(&"ä".repeat(1_000));
        assert_eq!(umlauts.as_str(), "ä".repeat(127), "254 bytes");
        assert_eq!(
            RejectText::cut(&format_args!("{}{}", "x".repeat(250), "€€")).as_str().len(),
            253
        );
    }
}
