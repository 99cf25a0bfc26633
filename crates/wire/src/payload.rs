//! The payload of a message: as it travels, and as an application sees it.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use crate::{NotText, Text};

/// The payload of a message as it travels and is stored: bytes, and whether they are said to be text
/// (`docs/protocol.md` §4.1). Whether they are text is checked where the message is handled.
///
/// ```
/// use paddington_wire::Payload;
///
/// assert_eq!(Payload::from("21.5 °C"), "21.5 °C");
/// assert_ne!(Payload::bytes(&b"21.5"[..]), "21.5");
/// ```
///
/// `Debug` shows only the length, because payloads do not belong in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload {
    bytes: Bytes,
    is_bytes: bool,
}

impl Payload {
    /// Makes the payload of a text message. It is not checked whether this is UTF-8.
    #[must_use]
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self { bytes: text.into(), is_bytes: false }
    }

    /// Makes the payload of a bytes message.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), is_bytes: true }
    }

    /// Makes a payload that `is_bytes` says to be bytes or text.
    pub(crate) fn flagged(is_bytes: bool, bytes: Bytes) -> Self {
        Self { bytes, is_bytes }
    }

    /// Returns whether the message is bytes; otherwise it is text.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.is_bytes
    }

    /// Returns the bytes, of text too, without copying them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Copies the payload out of the block that it shares.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..*self }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Content> for Payload {
    fn from(content: Content) -> Self {
        match content {
            Content::Text(text) => Self::text(text.into_bytes()),
            Content::Bytes(bytes) => Self::bytes(bytes),
        }
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

/// A text message with exactly this text.
impl PartialEq<&str> for Payload {
    fn eq(&self, text: &&str) -> bool {
        !self.is_bytes && self.bytes == *text
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.is_bytes { "Bytes" } else { "Text" };
        write!(f, "{name}({} bytes)", self.len())
    }
}

/// The payload of a message as an application sees it: text, which was checked, or bytes.
///
/// `Debug` shows only the length, because payloads do not belong in logs.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// UTF-8 text.
    Text(Text),
    /// Any bytes.
    Bytes(Bytes),
}

impl Content {
    /// Returns the text; of bytes, an empty one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Bytes(_) => "",
        }
    }

    /// Returns the bytes, of text too.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Text(text) => text.as_shared(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Returns whether this is bytes and not text.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns whether there is no byte in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the content out of the block that it shares.
    pub fn detach(&mut self) {
        match self {
            Self::Text(text) => *text = Text::from(text.as_str()),
            Self::Bytes(bytes) => *bytes = Bytes::copy_from_slice(bytes),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(Text::default())
    }
}

impl<T: Into<Text>> From<T> for Content {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

impl TryFrom<Payload> for Content {
    type Error = NotText;

    #[inline]
    fn try_from(payload: Payload) -> Result<Self, NotText> {
        if payload.is_bytes {
            return Ok(Self::Bytes(payload.bytes));
        }
        Text::try_from(payload.bytes).map(Self::Text)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => fmt::Debug::fmt(text, f),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_stays_in_its_buffer_and_keeps_what_it_is() {
        for is_bytes in [false, true] {
            let block = Bytes::from_static("é".as_bytes());
            let content = Content::try_from(Payload::flagged(is_bytes, block.clone())).unwrap();
            assert_eq!(content.is_bytes(), is_bytes);
            assert_eq!(content.as_bytes().as_ptr(), block.as_ptr());
            assert_eq!(content.as_str(), if is_bytes { "" } else { "é" });
            let payload = Payload::from(content);
            assert_eq!(payload.is_bytes(), is_bytes);
            assert_eq!(payload.into_bytes().as_ptr(), block.as_ptr());
        }
    }

    #[test]
    fn only_text_has_to_be_text() {
        let wrong = Bytes::from_static(&[0xff]);
        assert_eq!(Content::try_from(Payload::text(wrong.clone())), Err(NotText));
        assert_eq!(Content::try_from(Payload::bytes(wrong.clone())), Ok(Content::Bytes(wrong)));
    }

    #[test]
    fn debug_does_not_show_the_payload() {
        let payload = Payload::bytes(&b"secret"[..]);
        let content = Content::try_from(payload.clone()).unwrap();
        let text = Content::from("secret");
        let shown = format!("{payload:?} {content:?} {text:?}");
        assert_eq!(shown, "Bytes(6 bytes) Bytes(6 bytes) Text(6 bytes)");
    }
}
