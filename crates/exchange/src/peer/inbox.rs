//! Messages and control messages that wait for the handler of one peer, and those that it was
//! called with.

use paddington_wire::{Content, Control, MessageId, Payload, Queue, RejectCode, RejectText};

/// A message or control message for the handler.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Control(Control),
    Message(Received),
}

/// A message that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// `None` on `hex` links.
    pub(crate) id: Option<MessageId>,
    pub(crate) again: bool,
    pub(crate) content: Content,
}

/// Messages and control messages, in the order in which the handler gets them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    items: Queue<Item>,
    messages: usize,
    bytes: usize,
}

impl Inbox {
    #[inline]
    pub(crate) fn push(&mut self, received: Received) {
        self.messages += 1;
        self.bytes += received.content.len();
        self.items.push_back(Item::Message(received));
    }

    /// Returns the number of items that wait.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Copies the messages from `index` on out of the blocks that they share.
    pub(crate) fn detach_from(&mut self, index: usize) {
        for item in self.items.range_mut(index..) {
            if let Item::Message(received) = item {
                received.content.detach();
            }
        }
    }

    /// Adds a control message. A peer that connects and disconnects repeatedly while its handler is
    /// busy does not fill the inbox: a connection that the handler has not been told of, and that
    /// brought no message, is left out.
    pub(crate) fn push_control(&mut self, control: Control) {
        let unseen = matches!(
            (self.items.iter().rev().nth(1), self.items.back(), &control),
            (
                Some(Item::Control(Control::Connected { .. })),
                Some(Item::Control(Control::Disconnected { .. })),
                Control::Connected { .. },
            )
        );
        if unseen {
            let len = self.items.len() - 2;
            self.items.truncate(len);
        }
        self.items.push_back(Item::Control(control));
    }

    /// Puts back an item that was taken and not handled.
    pub(crate) fn push_front(&mut self, item: Item) {
        if let Item::Message(received) = &item {
            self.messages += 1;
            self.bytes += received.content.len();
        }
        self.items.push_front(item);
    }

    pub(crate) fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    /// Returns the id of the first item, if it is a message of a `sealed` peer.
    pub(crate) fn next_message(&self) -> Option<MessageId> {
        match self.items.front()? {
            Item::Message(received) => received.id,
            Item::Control(_) => None,
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Item::Message(received) = &item {
            self.messages -= 1;
            self.bytes -= received.content.len();
        }
        Some(item)
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// A call of the handler: one message or control message, with all its attempts.
#[derive(Debug)]
pub(crate) struct Call {
    /// `None` once it was handed to the handler and no copy is needed.
    item: Option<Item>,
    control: bool,
    pub(crate) id: Option<MessageId>,
    /// Whether the message was transmitted in an earlier session too.
    pub(crate) again: bool,
    /// Which attempt this is, from 1.
    pub(crate) attempt: u32,
    /// Whether the store has counted the attempt.
    pub(crate) counted: bool,
}

/// Why a message is rejected, as its sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: RejectCode,
    pub(crate) text: RejectText,
}

impl From<RejectCode> for Failure {
    fn from(code: RejectCode) -> Self {
        Self { code, text: RejectText::NONE }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    /// The message is rejected.
    Failed(Failure),
    /// No more messages are handled until handling is resumed; then this one comes first.
    Halted,
    /// There is no further attempt here: the service shuts down and the message comes again later,
    /// or it was rejected elsewhere.
    Left,
}

impl Call {
    pub(super) fn new(item: Item) -> Self {
        let (id, again, control) = match &item {
            Item::Message(received) => (received.id, received.again, false),
            Item::Control(_) => (None, false, true),
        };
        Self { item: Some(item), control, id, again, attempt: 1, counted: false }
    }

    /// Returns the id of the message, for a log.
    pub(crate) fn shown(&self) -> Option<String> {
        self.id.map(|id| id.to_string())
    }

    pub(crate) fn payload(&self) -> Option<Payload> {
        match &self.item {
            Some(Item::Message(received)) => Some(received.content.clone().into()),
            _ => None,
        }
    }

    /// Returns whether the message is bytes, as long as the handler was not called with it.
    pub(crate) fn is_bytes(&self) -> bool {
        matches!(&self.item, Some(Item::Message(received)) if received.content.is_bytes())
    }

    pub(crate) fn is_control(&self) -> bool {
        self.control
    }

    /// Returns a copy of the call, with its message only if `keeps` is set: it may become a dead
    /// letter.
    pub(super) fn noted(&self, keeps: bool) -> Self {
        let item = if keeps { self.item.clone() } else { None };
        Self { item, ..*self }
    }

    /// Returns the message for the handler. It stays in the call too if `keeps` is set.
    pub(super) fn item(&mut self, keeps: bool) -> Option<Item> {
        if keeps { self.item.clone() } else { self.item.take() }
    }

    pub(super) fn into_item(self) -> Option<Item> {
        self.item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_without_messages_do_not_fill_the_inbox() {
        let agent: paddington_wire::PeerName = "a".parse().unwrap();
        let mut inbox = Inbox::default();
        for _ in 0..100 {
            inbox.push_control(Control::Connected { agent: agent.clone() });
            inbox.push_control(Control::Disconnected { agent: agent.clone() });
        }
        assert_eq!(inbox.items.len(), 2);
        inbox.push_control(Control::Connected { agent: agent.clone() });
        inbox.push(Received { id: None, again: false, content: "x".into() });
        inbox.push_control(Control::Disconnected { agent: agent.clone() });
        inbox.push_control(Control::Connected { agent });
        assert_eq!(inbox.items.len(), 4, "one that brought a message is kept");
        assert_eq!((inbox.messages(), inbox.bytes()), (1, 1));
    }

    #[test]
    fn a_detached_message_no_longer_shares_its_block() {
        let block = bytes::Bytes::from_static(b"xyz");
        let mut inbox = Inbox::default();
        for index in 0..3 {
            let payload = match index {
                1 => Payload::bytes(block.slice(index..=index)),
                _ => Payload::text(block.slice(index..=index)),
            };
            let content = payload.try_into().unwrap();
            inbox.push(Received { id: None, again: false, content });
        }
        inbox.detach_from(1);
        let own = |item: Item| match item {
            Item::Message(Received { content, .. }) => {
                let bytes = content.as_bytes();
                (bytes[0], content.is_bytes(), block.as_ptr_range().contains(&bytes.as_ptr()))
            }
            Item::Control(_) => unreachable!(),
        };
        let shared: Vec<_> = std::iter::from_fn(|| inbox.pop()).map(own).collect();
        assert_eq!(shared, [(b'x', false, true), (b'y', true, false), (b'z', false, false)]);
    }
}
