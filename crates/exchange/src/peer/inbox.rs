//! What waits for the handler of one peer.

use std::collections::VecDeque;

use paddington_wire::{Control, MessageId, Text};

/// What a handler is called with, in order.
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
    pub(crate) text: Text,
}

/// Messages and control messages, in the order in which the handler gets them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    items: VecDeque<Item>,
    messages: usize,
    bytes: usize,
}

impl Inbox {
    pub(crate) fn push(&mut self, received: Received) {
        self.messages += 1;
        self.bytes += received.text.len();
        self.items.push_back(Item::Message(received));
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Copies the messages from the one at `index` on out of the blocks that they came in.
    pub(crate) fn detach_from(&mut self, index: usize) {
        for item in self.items.range_mut(index..) {
            if let Item::Message(received) = item {
                received.text = Text::from(received.text.as_str());
            }
        }
    }

    /// Adds a control message. A peer that comes and goes while its handler is busy does not fill
    /// the inbox: a coming and going that nobody has seen and that brought nothing is left out.
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
            self.items.truncate(self.items.len() - 2);
        }
        self.items.push_back(Item::Control(control));
    }

    /// Puts back what was popped and not handled.
    pub(crate) fn push_front(&mut self, item: Item) {
        if let Item::Message(received) = &item {
            self.messages += 1;
            self.bytes += received.text.len();
        }
        self.items.push_front(item);
    }

    pub(crate) fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Item::Message(received) = &item {
            self.messages -= 1;
            self.bytes -= received.text.len();
        }
        Some(item)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseen_comings_and_goings_do_not_pile_up() {
        let agent: paddington_wire::PeerName = "a".parse().unwrap();
        let mut inbox = Inbox::default();
        for _ in 0..100 {
            inbox.push_control(Control::Connected { agent: agent.clone() });
            inbox.push_control(Control::Disconnected { agent: agent.clone() });
        }
        assert_eq!(inbox.items.len(), 2);
        inbox.push_control(Control::Connected { agent: agent.clone() });
        inbox.push(Received { id: None, again: false, text: "x".into() });
        inbox.push_control(Control::Disconnected { agent: agent.clone() });
        inbox.push_control(Control::Connected { agent });
        assert_eq!(inbox.items.len(), 4, "one that brought a message is kept");
        assert_eq!((inbox.messages(), inbox.bytes()), (1, 1));
    }

    #[test]
    fn what_is_detached_is_a_copy_of_its_own() {
        let block = bytes::Bytes::from_static(b"xyz");
        let mut inbox = Inbox::default();
        for index in 0..3 {
            let text = Text::try_from(block.slice(index..=index)).unwrap();
            inbox.push(Received { id: None, again: false, text });
        }
        inbox.detach_from(1);
        let own = |item: Item| match item {
            Item::Message(received) => {
                let text = received.text.into_bytes();
                (text[0], block.as_ptr_range().contains(&text.as_ptr()))
            }
            Item::Control(_) => unreachable!(),
        };
        let shared: Vec<_> = std::iter::from_fn(|| inbox.pop()).map(own).collect();
        assert_eq!(shared, [(b'x', true), (b'y', false), (b'z', false)]);
    }
}
