//! The message that services exchange.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::asker::{Asker, AskerRef, ReplyError};
use crate::{Content, Control, Instance, MessageId, PeerName, Text};

/// A message from one service to another, text or bytes, or a control message from this service's
/// own exchange.
///
/// ```
/// use paddington_wire::Message;
///
/// let message = Message::new("echo-client", "1000");
/// assert_eq!(message.recipient(), "echo-client");
/// assert_eq!(message.payload(), "1000");
/// assert!(!message.is_control());
///
/// let image = Message::with_bytes("display", vec![0xff, 0xd8, 0xff]);
/// assert!(image.is_bytes());
/// assert_eq!(image.bytes()[..], [0xff, 0xd8, 0xff]);
/// ```
///
/// `Display` shows the text, for services that log what they receive, and of bytes the length;
/// `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    recipient: Recipient,
    content: Content,
    origin: Origin,
}

/// The service that a message is for: a name, or a text that `send` has yet to check.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(RecipientText);

#[derive(Clone, PartialEq, Eq)]
enum RecipientText {
    Name(PeerName),
    Unchecked(Text),
}

impl Recipient {
    fn as_str(&self) -> &str {
        match &self.0 {
            RecipientText::Name(name) => name.as_str(),
            RecipientText::Unchecked(text) => text,
        }
    }
}

impl From<PeerName> for Recipient {
    fn from(name: PeerName) -> Self {
        Self(RecipientText::Name(name))
    }
}

impl From<&PeerName> for Recipient {
    fn from(name: &PeerName) -> Self {
        name.clone().into()
    }
}

impl From<&str> for Recipient {
    fn from(text: &str) -> Self {
        Self(RecipientText::Unchecked(text.into()))
    }
}

impl From<&String> for Recipient {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Recipient {
    fn from(text: String) -> Self {
        Self(RecipientText::Unchecked(text.into()))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The origin of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// Made by the application and not received, so that it has no sender yet.
    Here,
    /// Received from a peer.
    Peer { sender: PeerName, delivery: Packed },
    /// Received from a peer, which waits for the answer.
    Request { sender: PeerName, asker: AskerRef },
    /// Made by the exchange.
    Exchange(Control),
}

/// How a received message was delivered to this call of the handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The message's number in its stream. `None` on `hex` links, which do not number messages.
    pub id: Option<MessageId>,
    /// Whether the sender transmitted the message in an earlier session too.
    pub redelivered: bool,
    /// The number of this call of the handler for the message, from 1.
    pub attempt: u32,
    /// The number of the claim under which a replica handles the message.
    pub fence: Option<NonZeroU64>,
}

/// A [`Delivery`] in as little room as can be had: a message is moved often, and up to 128 bytes that costs little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed {
    stream: Instance,
    /// Numbers begin with 1.
    number: Option<NonZeroU64>,
    fence: Option<NonZeroU64>,
    attempt: u32,
    redelivered: bool,
}

impl From<Delivery> for Packed {
    fn from(Delivery { id, redelivered, attempt, fence }: Delivery) -> Self {
        let stream = id.map_or(Instance::from([0; Instance::LEN]), |id| id.stream);
        let number = id.and_then(|id| NonZeroU64::new(id.number));
        Self { stream, number, fence, attempt, redelivered }
    }
}

impl From<Packed> for Delivery {
    fn from(Packed { stream, number, fence, attempt, redelivered }: Packed) -> Self {
        let id = number.map(|number| MessageId { stream, number: number.get() });
        Self { id, redelivered, attempt, fence }
    }
}

impl Message {
    /// Makes a text message to `recipient`.
    #[must_use]
    pub fn new(recipient: impl Into<Recipient>, payload: impl Into<Text>) -> Self {
        let content = Content::Text(payload.into());
        Self { recipient: recipient.into(), content, origin: Origin::Here }
    }

    /// Makes a bytes message to `recipient`. The bytes are not copied.
    #[must_use]
    pub fn with_bytes(recipient: impl Into<Recipient>, bytes: impl Into<Bytes>) -> Self {
        let content = Content::Bytes(bytes.into());
        Self { recipient: recipient.into(), content, origin: Origin::Here }
    }

    /// Makes a message that was received from `sender`.
    #[must_use]
    pub fn received(
        sender: PeerName,
        recipient: &PeerName,
        content: Content,
        delivery: Delivery,
    ) -> Self {
        Self {
            recipient: recipient.into(),
            content,
            origin: Origin::Peer { sender, delivery: delivery.into() },
        }
    }

    /// Makes a request that was received from `sender`; its reply goes to `asker`.
    #[must_use]
    pub fn request(
        sender: PeerName,
        recipient: &PeerName,
        content: Content,
        asker: Arc<dyn Asker>,
    ) -> Self {
        let origin = Origin::Request { sender, asker: AskerRef(asker) };
        Self { recipient: recipient.into(), content, origin }
    }

    /// Makes a control message for the handler of the service called `recipient`.
    #[must_use]
    pub fn from_control(recipient: &PeerName, control: Control) -> Self {
        Self {
            recipient: recipient.into(),
            content: control.to_json().into(),
            origin: Origin::Exchange(control),
        }
    }

    /// Returns the name of the service that sent the message; for a control message, of the peer
    /// that it is about. It is empty for a message that was not received.
    #[must_use]
    pub fn sender(&self) -> &str {
        match &self.origin {
            Origin::Here => "",
            Origin::Peer { sender, .. } | Origin::Request { sender, .. } => sender.as_str(),
            Origin::Exchange(control) => control.agent().as_str(),
        }
    }

    /// Returns the name of the service that the message is for.
    #[must_use]
    pub fn recipient(&self) -> &str {
        self.recipient.as_str()
    }

    /// Returns the text; of a control message, its JSON. Of a bytes message it is always empty,
    /// whatever the bytes are: see [`is_bytes`](Self::is_bytes).
    #[must_use]
    pub fn payload(&self) -> &str {
        self.content.as_str()
    }

    /// Returns the bytes, which share the message's buffer: a clone of them copies nothing. Of a
    /// text message or control message, these are the bytes of its text.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.content.as_bytes()
    }

    /// Returns whether the sender has sent bytes. Otherwise the message is text.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.content.is_bytes()
    }

    /// Returns whether this is a control message.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.control().is_some()
    }

    /// Returns the control message, if this is one.
    #[must_use]
    pub fn control(&self) -> Option<&Control> {
        match &self.origin {
            Origin::Exchange(control) => Some(control),
            _ => None,
        }
    }

    /// Returns whether the sender waits for a reply.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.asker().is_some()
    }

    /// Replies to a request with a text. The handler may go on afterwards; if it ends without a
    /// reply, the requester is told at once that there is none.
    ///
    /// ```
    /// use paddington_wire::Message;
    ///
    /// async fn answer(message: Message) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     if message.is_request() {
    ///         message.reply(format!("you asked for {}", message.payload()))?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReplyError`] if the requester gets no reply by this, or another one.
    pub fn reply(&self, reply: impl Into<Text>) -> Result<(), ReplyError> {
        self.asker().ok_or(ReplyError::NotARequest)?.reply(Content::Text(reply.into()))
    }

    /// Replies to a request with bytes, as [`reply`](Self::reply) does. They are not copied.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub fn reply_bytes(&self, reply: impl Into<Bytes>) -> Result<(), ReplyError> {
        self.asker().ok_or(ReplyError::NotARequest)?.reply(Content::Bytes(reply.into()))
    }

    /// Returns the time until nobody waits for the reply any more: of a request that has a limit.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.asker()?.time_left()
    }

    fn asker(&self) -> Option<&dyn Asker> {
        match &self.origin {
            Origin::Request { asker, .. } => Some(&*asker.0),
            _ => None,
        }
    }

    /// Returns the message's stream and number: the same however often it is delivered, and never
    /// reused for another message. `None` for control messages, requests, and on `hex` links.
    #[must_use]
    pub fn id(&self) -> Option<MessageId> {
        self.delivery().id
    }

    /// Returns whether the sender transmitted the message in an earlier session too, so that the
    /// handler may have been called with it before this service restarted.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.delivery().redelivered
    }

    /// Returns the number of this call of the handler for the message, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.delivery().attempt.max(1)
    }

    /// Returns the number of the claim under which this replica handles the message, which grows whenever another
    /// replica takes the link over (rule S2 of `docs/cluster.md`): whoever keeps the effects of handlers outside can
    /// refuse those that come with a smaller one than it has seen for the peer. `None` if the service is no replica, and
    /// for control messages, requests, and dead letters that are handled again.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.delivery().fence.map(NonZeroU64::get)
    }

    /// Returns the text or the bytes without copying them.
    #[must_use]
    pub fn into_content(self) -> Content {
        self.content
    }

    /// Returns the same message for the next call of the handler.
    #[must_use]
    pub fn next_attempt(mut self) -> Self {
        if let Origin::Peer { delivery, .. } = &mut self.origin {
            delivery.attempt = delivery.attempt.max(1) + 1;
        }
        self
    }

    fn delivery(&self) -> Delivery {
        match &self.origin {
            Origin::Peer { delivery, .. } => (*delivery).into(),
            Origin::Here | Origin::Request { .. } | Origin::Exchange(_) => Delivery::default(),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_control() {
            return write!(f, "Control message: {}", self.payload());
        }
        let (sender, recipient) = (self.sender(), self.recipient());
        match &self.content {
            Content::Text(text) => write!(f, "Message from {sender} to {recipient}: {text}"),
            Content::Bytes(bytes) => {
                write!(f, "Message from {sender} to {recipient}: {} bytes", bytes.len())
            }
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("recipient", &self.recipient)
            .field("content", &self.content)
            .field("origin", &self.origin)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PeerName {
        text.parse().unwrap()
    }

    #[test]
    fn messages_print_as_the_original_prints_them() {
        let (server, client) = (name("echo-server"), name("echo-client"));
        let message =
            Message::received(server.clone(), &client, "1000".into(), Delivery::default());
        assert_eq!(message.to_string(), "Message from echo-server to echo-client: 1000");
        let control = Message::from_control(&server, Control::Connected { agent: client });
        assert_eq!(
            control.to_string(),
            r#"Control message: {"Connected":{"agent":"echo-client"}}"#
        );
        assert_eq!((control.sender(), control.recipient()), ("echo-client", "echo-server"));
    }

    #[test]
    fn a_payload_that_looks_like_a_control_message_is_not_one() {
        let json = r#"{"Connected":{"agent":"x"}}"#;
        let message = Message::received(name("a"), &name("b"), json.into(), Delivery::default());
        assert!(!message.is_control());
    }

    #[test]
    fn debug_does_not_show_the_payload() {
        let text = format!("{:?}", Message::new("a", "very secret"));
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn bytes_are_never_shown_as_text() {
        let block = Bytes::from_static(b"very secret");
        let message = Message::with_bytes("b", block.clone());
        assert!(message.is_bytes() && !Message::new("b", "very secret").is_bytes());
        assert_eq!(message.payload(), "");
        assert_eq!(message.bytes().as_ptr(), block.as_ptr(), "no copy");
        assert_eq!(message.to_string(), "Message from  to b: 11 bytes");
        assert!(!format!("{message:?}").contains("secret"));
        assert_ne!(message, Message::new("b", "very secret"));
        assert_eq!(Message::new("b", "very secret").bytes(), &block);
    }

    #[test]
    fn the_fence_stays_for_all_attempts() {
        let delivery = Delivery { fence: NonZeroU64::new(7), ..Delivery::default() };
        let message = Message::received(name("a"), &name("b"), "x".into(), delivery);
        assert_eq!(message.clone().next_attempt().fence(), Some(7));
        assert_eq!(Message::new("b", "x").fence(), None);
    }

    #[test]
    fn attempts_count_from_one() {
        let message = Message::received(name("a"), &name("b"), "x".into(), Delivery::default());
        assert_eq!(message.attempt(), 1);
        assert_eq!(message.next_attempt().attempt(), 2);
    }
}
