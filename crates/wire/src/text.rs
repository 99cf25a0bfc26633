//! Immutable text in a shared buffer.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use bytestring::ByteString;

use crate::PeerName;

/// Immutable UTF-8 text in a shared buffer. A clone shares the buffer, and a payload that arrived
/// stays in the buffer in which it was opened.
///
/// `Debug` shows only the length, because payloads do not belong in logs.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(ByteString);

impl Text {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the bytes of the text in their shared buffer.
    pub(crate) fn as_shared(&self) -> &Bytes {
        self.0.as_bytes()
    }

    /// Returns the bytes of the text without copying them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }
}

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not UTF-8 text")]
pub struct NotText;

impl TryFrom<Bytes> for Text {
    type Error = NotText;

    fn try_from(bytes: Bytes) -> Result<Self, NotText> {
        ByteString::try_from(bytes).map(Self).map_err(|_| NotText)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

/// Spare room of a string, in bytes, that is not worth cutting off.
const SPARE: usize = 64;

/// Without the room that the string has to spare, if that is more than an eighth of it: a text may
/// wait for long, and only its length is counted.
impl From<String> for Text {
    fn from(mut text: String) -> Self {
        let spare = text.capacity() - text.len();
        if spare >= SPARE && spare > text.len() / 8 {
            text.shrink_to_fit();
        }
        Self(text.into())
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

impl From<&PeerName> for Text {
    fn from(name: &PeerName) -> Self {
        name.as_str().into()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_no_buffer_that_is_much_longer_than_itself() {
        for len in [1, 256, 10_000] {
            let mut text = String::with_capacity(1 << 20);
            text.extend(std::iter::repeat_n('x', len));
            let kept = Text::from(text).into_bytes().try_into_mut().unwrap();
            assert!(kept.len() == len && kept.capacity() < len + SPARE, "{}", kept.capacity());
        }
    }
}
