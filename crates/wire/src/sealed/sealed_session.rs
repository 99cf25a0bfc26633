//! An established session of the `sealed` encoding: frame numbers, keys, and their renewal.
//! Implements `docs/protocol.md` §4.

use std::fmt;

use bytes::{Bytes, BytesMut};
use paddington_crypto::kdf::Prk;
use paddington_crypto::sealed::{Layers, OVERHEAD};
use paddington_crypto::{OpenError, SealError, clear_stack};

use super::codec::{self, CALL_OVERHEAD, COPIED};
use super::{Exporter, Padding};
use crate::frame::{Frame, HEADER_LEN};
use crate::{ReceiveError, TransmitError, Violation};

/// The size of the blocks in which small frames are built and opened, in bytes.
const SCRATCH: usize = 4 * 1024;
/// The number of frames that are sealed with the same keys.
const REKEY_INTERVAL: u64 = 1024;
/// The limit that no frame number may reach.
const NUMBER_LIMIT: u64 = 1 << 48;

/// An established session, which seals and opens numbered frames in order.
///
/// It has no public constructor, so having one proves that the other side knows both keys.
pub struct SealedSession {
    sealer: Direction,
    opener: Direction,
    /// The secrets of the link's next keys, until somebody takes them.
    exporter: Option<Exporter>,
    padding: Padding,
    max_payload: u32,
    outgoing: BytesMut,
    incoming: BytesMut,
}

impl SealedSession {
    /// The longest frame that shares a block with others, in bytes. A longer one gets a buffer of its
    /// own, because its message may stay there.
    pub(crate) const COPIED_FRAME: usize = COPIED + HEADER_LEN + OVERHEAD;

    pub(super) fn new(
        outgoing: Chain,
        incoming: Chain,
        exporter: Exporter,
        max_payload: u32,
    ) -> Self {
        Self {
            sealer: Direction::new(outgoing),
            opener: Direction::new(incoming),
            exporter: Some(exporter),
            padding: Padding::default(),
            max_payload,
            outgoing: BytesMut::with_capacity(SCRATCH),
            incoming: BytesMut::with_capacity(SCRATCH),
        }
    }

    /// Sets how frames are padded.
    pub(super) fn set_padding(&mut self, padding: Padding) {
        self.padding = padding;
    }

    /// Sets the longest message that is accepted, in bytes.
    pub(super) fn set_max_payload(&mut self, max_payload: u32) {
        self.max_payload = max_payload;
    }

    /// Takes the secrets from which the link's next keys are derived (`docs/protocol.md` §5.5). There
    /// is one set of them for each session.
    pub fn take_exporter(&mut self) -> Option<Exporter> {
        self.exporter.take()
    }

    /// Seals the next frame.
    ///
    /// # Errors
    ///
    /// [`TransmitError`] if no frame numbers are left or the frame is one of the `hex` encoding.
    pub fn encode(&mut self, frame: &Frame) -> Result<Bytes, TransmitError> {
        self.seal_in(|| None, frame).map(BytesMut::freeze)
    }

    /// Does the same, for a caller that changes the bytes where they are, and that may have a buffer for a
    /// long frame.
    pub(crate) fn seal_in(
        &mut self,
        used: impl FnOnce() -> Option<BytesMut>,
        frame: &Frame,
    ) -> Result<BytesMut, TransmitError> {
        if codec::payload_len(frame) > self.outgoing.capacity().max(SCRATCH)
            && let Some(used) = used()
        {
            self.outgoing = used;
        }
        codec::encode(frame, self.padding, OVERHEAD, &mut self.outgoing)?;
        let mut sealed = self.outgoing.split();
        self.sealer.seal(&mut sealed)?;
        Ok(sealed)
    }

    /// Opens the next frame.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] if it does not open or breaks the protocol. The session must then end.
    pub fn decode(&mut self, sealed: &[u8]) -> Result<Frame, ReceiveError> {
        let frame = self.open(sealed)?;
        ready_is_over(frame)
    }

    /// Does the same with a frame that the caller does not need any more.
    pub(crate) fn decode_in_place(&mut self, sealed: BytesMut) -> Result<Frame, ReceiveError> {
        let frame = if sealed.len() > Self::COPIED_FRAME {
            self.open_in(sealed)?
        } else {
            self.open(&sealed)?
        };
        ready_is_over(frame)
    }

    #[cfg(feature = "fuzzing")]
    pub(super) fn seal_raw(&mut self, frame: &mut [u8]) -> Result<(), TransmitError> {
        self.sealer.seal(frame)
    }

    /// Returns the maximum length of a frame from the other side, in bytes.
    #[must_use]
    pub fn max_frame_len(max_payload: u32) -> usize {
        Padding::Padme.padded_len(HEADER_LEN + CALL_OVERHEAD + max_payload as usize) + OVERHEAD
    }

    /// Opens the next frame, of any kind.
    pub(super) fn open(&mut self, sealed: &[u8]) -> Result<Frame, ReceiveError> {
        if sealed.len() > Self::COPIED_FRAME {
            return self.open_in(BytesMut::from(sealed));
        }
        self.incoming.extend_from_slice(sealed);
        let sealed = self.incoming.split();
        self.open_in(sealed)
    }

    fn open_in(&mut self, mut frame: BytesMut) -> Result<Frame, ReceiveError> {
        let len = self.opener.open(&mut frame)?;
        frame.truncate(len);
        Ok(codec::decode(frame.freeze(), self.max_payload)?)
    }
}

/// Refuses a READY, which comes first and only once.
fn ready_is_over(frame: Frame) -> Result<Frame, ReceiveError> {
    match frame {
        Frame::Ready(_) => Err(Violation::ReadyOutOfPlace.into()),
        frame => Ok(frame),
    }
}

impl fmt::Debug for SealedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSession(..)")
    }
}

/// The two secrets from which the keys of one direction are derived.
pub(super) struct Chain {
    inner: Prk,
    outer: Prk,
}

impl Chain {
    pub(super) fn new(inner: Prk, outer: Prk) -> Self {
        Self { inner, outer }
    }

    fn layers(&self) -> Layers {
        Layers::new(&self.inner.derive_key("key", &[]), &self.outer.derive_key("key", &[]))
    }

    /// Returns the secrets after a rekey. The old ones are wiped when they are dropped.
    fn next(&self) -> Self {
        Self {
            inner: self.inner.derive_prk("next", &[]),
            outer: self.outer.derive_prk("next", &[]),
        }
    }
}

/// The secrets and keys of one direction of a session, and the number of its next frame.
struct Direction {
    chain: Chain,
    layers: Layers,
    number: u64,
}

impl Direction {
    fn new(chain: Chain) -> Self {
        Self { layers: chain.layers(), chain, number: 0 }
    }

    /// Seals the next frame in place. `buffer` ends with the room that the layers need.
    fn seal(&mut self, buffer: &mut [u8]) -> Result<(), TransmitError> {
        let number = self.advance().ok_or(TransmitError::Exhausted)?;
        self.layers.seal(number, &[], buffer).map_err(|SealError| TransmitError::Seal(SealError))
    }

    /// Opens the next frame in place and returns the length of its plaintext at the front of
    /// `buffer`.
    fn open(&mut self, buffer: &mut [u8]) -> Result<usize, OpenError> {
        let number = self.advance().ok_or(OpenError)?;
        self.layers.open(number, &[], buffer).map(|plaintext| plaintext.len())
    }

    /// Returns the number of the next frame, after a rekey if one is due. The number is used up
    /// even if sealing or opening then fails, because a failure ends the session.
    fn advance(&mut self) -> Option<u64> {
        let number = self.number;
        if number >= NUMBER_LIMIT {
            return None;
        }
        if number > 0 && number.is_multiple_of(REKEY_INTERVAL) {
            self.chain = self.chain.next();
            self.layers = self.chain.layers();
        }
        self.number = number + 1;
        Some(number)
    }
}

impl Drop for Direction {
    /// Clears the stack too, where the cipher left its key.
    fn drop(&mut self) {
        clear_stack();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction() -> Direction {
        Direction::new(Chain::new(Prk::extract(b"", &[b"inner"]), Prk::extract(b"", &[b"outer"])))
    }

    #[test]
    fn both_sides_agree_across_rekeys() {
        let (mut sealer, mut opener) = (direction(), direction());
        for number in 0..2 * REKEY_INTERVAL + 10 {
            let mut buffer = vec![number as u8; 3 + OVERHEAD];
            sealer.seal(&mut buffer).unwrap();
            let len = opener.open(&mut buffer).unwrap();
            assert_eq!(buffer[..len], [number as u8; 3], "{number}");
        }
    }

    #[test]
    fn no_key_is_used_twice_with_the_same_number() {
        let mut pairs = std::collections::HashSet::new();
        for label in ["c2s", "s2c"] {
            let mut chain = Chain::new(
                Prk::extract(b"", &[b"inner"]).derive_prk(label, &[]),
                Prk::extract(b"", &[b"outer"]).derive_prk(label, &[]),
            );
            for number in 0..5_000_u64 {
                if number > 0 && number.is_multiple_of(REKEY_INTERVAL) {
                    chain = chain.next();
                }
                for secret in [&chain.inner, &chain.outer] {
                    let key = secret.derive_key("key", &[]).expose_bytes().to_vec();
                    assert!(pairs.insert((key, number)), "{label} {number}");
                }
            }
        }
        let keys: std::collections::HashSet<_> = pairs.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 2 * 2 * 5, "two directions, two layers, five sets of keys");
    }

    #[test]
    fn a_skipped_or_repeated_frame_does_not_open() {
        let (mut sealer, mut opener) = (direction(), direction());
        let mut frames = Vec::new();
        for _ in 0..3 {
            let mut buffer = vec![0; 1 + OVERHEAD];
            sealer.seal(&mut buffer).unwrap();
            frames.push(buffer);
        }
        opener.open(&mut frames[0].clone()).unwrap();
        assert!(opener.open(&mut frames[2].clone()).is_err(), "skipped");
        let mut opener = direction();
        opener.open(&mut frames[0].clone()).unwrap();
        assert!(opener.open(&mut frames[0].clone()).is_err(), "repeated");
    }

    #[test]
    fn the_last_number_ends_the_session_cleanly() {
        let mut sealer = direction();
        sealer.number = NUMBER_LIMIT - 1;
        sealer.seal(&mut [0; OVERHEAD]).unwrap();
        for _ in 0..2 {
            assert_eq!(sealer.seal(&mut [0; OVERHEAD]), Err(TransmitError::Exhausted));
        }
        let mut opener = direction();
        opener.number = NUMBER_LIMIT;
        assert_eq!(opener.open(&mut [0; OVERHEAD]), Err(OpenError));
    }
}
