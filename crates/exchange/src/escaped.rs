//! Text of others in a log: without control characters, and not too long.

use std::fmt::{self, Display, Write};

use paddington_wire::RejectText;

/// The longest text that is shown, in characters.
const MAX: usize = 500;

/// Shows `0` with control characters escaped, cut after 500 characters: a newline or the escape of a
/// terminal in an error or a panic cannot forge lines of a log.
#[derive(Debug)]
pub(crate) struct Escaped<T>(pub(crate) T);

/// Returns the words of a peer as they may be shown, if there are any.
pub(crate) fn escaped(text: &RejectText) -> Option<String> {
    (!text.is_empty()).then(|| Escaped(text.as_str()).to_string())
}

/// Escapes what is written to it.
struct Escaper<'a, 'b> {
    target: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaper = Escaper { target: f, left: MAX };
        let written = write!(escaper, "{}", self.0);
        if escaper.left == 0 { escaper.target.write_str("…") } else { written }
    }
}

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            // An error ends the formatting of the rest, which may be very long.
            self.left = self.left.checked_sub(1).filter(|left| *left > 0).ok_or_else(|| {
                self.left = 0;
                fmt::Error
            })?;
            let hidden = character.is_control() || is_direction(character);
            if hidden {
                write!(self.target, "{}", character.escape_unicode())?;
            } else {
                self.target.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Whether a character changes the direction of the text after it, or breaks the line.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_forge_a_log() {
        let evil = "a\nERROR all is lost\u{1b}[2J\u{202e}é";
        let shown = Escaped(evil).to_string();
        assert_eq!(shown, "a\\u{a}ERROR all is lost\\u{1b}[2J\\u{202e}é");
        let long = Escaped("x".repeat(1_000_000)).to_string();
        assert_eq!(long, format!("{}…", "x".repeat(MAX - 1)));
    }
}
