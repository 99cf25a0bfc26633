//! These types, as the service and the command make them of what they know. Both say the same of a link, a
//! dead letter or a content, whether the service runs or not.

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};
use paddington::store::{DeadLetter, LetterId, MailboxStatus};
use paddington::{FixedKeys, LinkDetails, PeerRole, RejectCode};

use super::{Content, FixedKeysWord, Invitation, Keys, LetterSummary, Orphan, Role, time};

impl From<PeerRole> for Role {
    fn from(role: PeerRole) -> Self {
        match role {
            PeerRole::Client => Self::Client,
            PeerRole::Server => Self::Server,
        }
    }
}

impl From<&LinkDetails> for Keys {
    fn from(link: &LinkDetails) -> Self {
        Self {
            generation: link.generation,
            since: link.since.map(time),
            next: link.next,
            fixed: link.fixed.and_then(|fixed| match fixed {
                FixedKeys::Hex => Some(FixedKeysWord::Hex),
                FixedKeys::NoFolder => Some(FixedKeysWord::NoFolder),
                FixedKeys::Peer => Some(FixedKeysWord::Peer),
                _ => None,
            }),
            invitation: link.invitation.map(|invitation| Invitation {
                generation: invitation.generation,
                expires: invitation.expires.map(time),
            }),
        }
    }
}

impl From<&MailboxStatus> for Orphan {
    fn from(status: &MailboxStatus) -> Self {
        Self {
            peer: status.mailbox.peer.to_string(),
            link: status.mailbox.link.to_string(),
            messages: status.messages,
            bytes: status.bytes,
            dead_letters: status.letters,
            since: status.since.map(time),
        }
    }
}

impl From<&(LetterId, DeadLetter)> for LetterSummary {
    fn from((LetterId(id), letter): &(LetterId, DeadLetter)) -> Self {
        let code = match letter.code {
            RejectCode::FAILED => "failed",
            RejectCode::TIMED_OUT => "timed_out",
            RejectCode::NOT_TEXT => "not_text",
            RejectCode::POISON => "poison",
            RejectCode::TEXT_ONLY => "text_only",
            _ => "other",
        };
        Self {
            id: *id,
            peer: letter.peer().to_string(),
            message_id: letter.id.to_string(),
            at: time(letter.at),
            code: code.to_owned(),
            bytes: u64::try_from(letter.payload.len()).unwrap_or(u64::MAX),
        }
    }
}

impl From<DeadLetter> for Content {
    /// A letter that is stored as text and is none, after damage, becomes bytes.
    fn from(letter: DeadLetter) -> Self {
        let is_bytes = letter.payload.is_bytes();
        Self::of(&letter.payload.into_bytes(), is_bytes)
    }
}

impl Content {
    /// Makes a content of bytes that are said to be bytes, or else text, if they are.
    #[must_use]
    pub fn of(bytes: &[u8], is_bytes: bool) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !is_bytes => Self { text: Some(text.to_owned()), base64: None },
            _ => Self { text: None, base64: Some(STANDARD.encode(bytes)) },
        }
    }

    /// Returns the bytes of the content, of text too.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is no base64 with padding.
    pub fn bytes(&self) -> Result<Vec<u8>, DecodeError> {
        match (&self.text, &self.base64) {
            (Some(text), _) => Ok(text.as_bytes().to_owned()),
            (None, Some(digits)) => STANDARD.decode(digits),
            (None, None) => Ok(Vec::new()),
        }
    }
}
