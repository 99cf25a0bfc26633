//! Several messages in one block, each preceded by its flags and length: the payload of BATCH in
//! `docs/protocol.md` §4.1.

#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{Data, Payload, Violation};

/// One to [`MAX`](Self::MAX) messages in one block of bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Messages {
    block: Bytes,
    count: u16,
}

/// The size of the flags and the length before a message, in bytes.
const HEAD_LEN: usize = 4;
/// The bits of the length among those of a head; the flags are above them.
const LEN_BITS: u32 = 0x00ff_ffff;
/// The flag of a message that is bytes and not text.
const BYTES: u32 = 1 << 24;

impl Messages {
    /// The maximum number of messages in one block.
    pub const MAX: usize = 1024;
    /// The longest block that its messages share after it has arrived, in bytes. From a longer
    /// block each message is copied, unless it is nearly all of the block. So a message keeps at
    /// most this much, or a fifteenth of its length, in memory beside itself.
    pub const SHARED: u32 = 16 * 1024;

    /// Returns how many bytes of a block a message of `len` bytes takes.
    #[must_use]
    pub const fn entry_len(len: usize) -> usize {
        HEAD_LEN.saturating_add(len)
    }

    /// Puts up to [`MAX`](Self::MAX) messages into a block. Returns `None` if there are none or too
    /// many, or if a length does not fit its field.
    #[must_use]
    pub fn new<'a>(messages: impl Iterator<Item = &'a Payload> + Clone) -> Option<Self> {
        let len = messages.clone().map(|message| Self::entry_len(message.len())).sum();
        let (mut block, mut count) = (BytesMut::with_capacity(len), 0);
        for message in messages {
            let len = u32::try_from(message.len()).ok().filter(|len| *len <= LEN_BITS)?;
            block.put_u32(if message.is_bytes() { len | BYTES } else { len });
            block.put_slice(message);
            count = usize::saturating_add(count, 1);
        }
        (1..=Self::MAX)
            .contains(&count)
            .then(|| Self { block: block.freeze(), count: count as u16 })
    }

    /// Checks a block that arrived.
    ///
    /// # Errors
    ///
    /// [`Violation::BadPayload`] if the last message is cut short, or if there are no messages or
    /// too many, and [`Violation::NotZero`] if a flag is set that has no meaning.
    pub fn parse(block: Bytes) -> Result<Self, Violation> {
        let (mut rest, mut count) = (&block[..], 0);
        while !rest.is_empty() && count <= Self::MAX {
            let head = rest.try_get_u32().map_err(|_| Violation::BadPayload)?;
            if head & !(LEN_BITS | BYTES) != 0 {
                return Err(Violation::NotZero);
            }
            rest = rest.get((head & LEN_BITS) as usize..).ok_or(Violation::BadPayload)?;
            count = usize::saturating_add(count, 1);
        }
        if (1..=Self::MAX).contains(&count) {
            Ok(Self { block, count: count as u16 })
        } else {
            Err(Violation::BadPayload)
        }
    }

    /// Returns the number of messages.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Returns the credit that the messages use, in bytes: as much as if each were sent on its own.
    #[must_use]
    pub fn cost(&self) -> u64 {
        let lengths = HEAD_LEN.saturating_mul(self.count());
        let payloads = self.block.len().saturating_sub(lengths);
        (self.count() as u64).saturating_mul(Data::cost(0)).saturating_add(payloads as u64)
    }

    /// Returns the block in its wire format.
    #[must_use]
    pub fn block(&self) -> &Bytes {
        &self.block
    }
}

impl IntoIterator for Messages {
    type Item = Payload;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        let shared = self.block.len() <= Self::SHARED as usize;
        let copied =
            if shared { 0 } else { self.block.len().saturating_sub(self.block.len() / 16) };
        IntoIter { block: self.block, copied }
    }
}

/// An iterator over the messages of a block. Messages that share the block keep it in memory until
/// the last of them is dropped.
#[derive(Debug)]
pub struct IntoIter {
    block: Bytes,
    /// The length up to which messages are copied out of the block, in bytes.
    copied: usize,
}

impl Iterator for IntoIter {
    type Item = Payload;

    fn next(&mut self) -> Option<Payload> {
        let head = self.block.try_get_u32().ok()?;
        let len = (head & LEN_BITS) as usize;
        let message = self.block.split_to(len);
        let message = if len <= self.copied { Bytes::copy_from_slice(&message) } else { message };
        Some(Payload::flagged(head & BYTES != 0, message))
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages in {} bytes", self.count, self.block.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_out_as_they_were_put_in(
            texts in proptest::collection::vec(any::<(bool, Vec<u8>)>(), 1..40),
        ) {
            let payload = |(is_bytes, bytes): (bool, Vec<u8>)| Payload::flagged(is_bytes, bytes.into());
            let texts: Vec<Payload> = texts.into_iter().map(payload).collect();
            let messages = Messages::new(texts.iter()).unwrap();
            prop_assert_eq!(messages.count(), texts.len());
            prop_assert_eq!(messages.cost(), texts.iter().map(|it| Data::cost(it.len())).sum::<u64>());
            let parsed = Messages::parse(messages.block().clone()).unwrap();
            prop_assert_eq!(&parsed, &messages);
            prop_assert_eq!(parsed.into_iter().collect::<Vec<_>>(), texts);
        }

        #[test]
        fn arbitrary_blocks_do_not_panic(block in proptest::collection::vec(0..6_u8, 0..60)) {
            if let Ok(messages) = Messages::parse(block.into()) {
                prop_assert_eq!(messages.clone().into_iter().count(), messages.count());
            }
        }
    }

    /// Returns how many bytes a message keeps in memory.
    fn kept(message: Payload) -> usize {
        message.into_bytes().try_into_mut().expect("the block is not shared").capacity()
    }

    #[test]
    fn a_small_message_does_not_keep_a_long_block_in_memory() {
        let lens = [1_000_000, 1, 40_000].map(|len| Payload::bytes(vec![7; len]));
        let block = Messages::new(lens.iter()).unwrap().block().clone();
        let block = Bytes::copy_from_slice(&block);
        let messages: Vec<_> = Messages::parse(block).unwrap().into_iter().collect();
        assert_eq!(messages, lens);
        let [long, one, more] = <[Payload; 3]>::try_from(messages).unwrap();
        drop(long);
        assert!(kept(one) < 100);
        assert!(kept(more) < 41_000);

        let lens = [16_000, 1].map(|len| Payload::text(vec![7; len]));
        let messages = Messages::new(lens.iter()).unwrap();
        let block = messages.block().as_ptr_range();
        assert!(messages.into_iter().all(|message| block.contains(&message.as_ptr())), "no copy");
    }

    #[test]
    fn a_block_holds_whole_messages_and_not_too_many() {
        let parse = |block: &[u8]| Messages::parse(Bytes::copy_from_slice(block));
        assert_eq!(parse(&[]), Err(Violation::BadPayload));
        assert_eq!(parse(&[0, 0, 0]), Err(Violation::BadPayload));
        assert_eq!(parse(&[0, 0, 0, 2, 1]), Err(Violation::BadPayload));
        assert_eq!(parse(&[0, 0xff, 0xff, 0xff, 0]), Err(Violation::BadPayload));
        assert_eq!(parse(&[0xff; 8]), Err(Violation::NotZero));
        assert_eq!(parse(&[1, 0, 0, 0]).unwrap().count(), 1);
        for flag in (1..8).map(|bit| 1 << bit) {
            assert_eq!(parse(&[flag, 0, 0, 0]), Err(Violation::NotZero), "{flag}");
            assert_eq!(parse(&[0, 0, 0, 0, flag | 1, 0, 0, 0]), Err(Violation::NotZero), "{flag}");
        }
        assert_eq!(parse(&[0, 0, 0, 0]).unwrap().count(), 1);
        assert_eq!(parse(&vec![0; 4 * Messages::MAX]).unwrap().count(), Messages::MAX);
        assert_eq!(parse(&vec![0; 4 * (Messages::MAX + 1)]), Err(Violation::BadPayload));
        let empty = Payload::from("");
        assert_eq!(Messages::new([].iter()), None);
        let too_long = Payload::bytes(vec![0; LEN_BITS as usize + 1]);
        assert_eq!(Messages::new([too_long].iter()), None);
        assert_eq!(Messages::new(std::iter::repeat_n(&empty, Messages::MAX + 1)), None);
    }
}
