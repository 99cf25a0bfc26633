//! The script of an attack, read from bytes of a fuzzer or of a random generator.

/// Bytes that are used up one after the other.
#[derive(Debug)]
pub(super) struct Script<'a> {
    bytes: &'a [u8],
}

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next byte, 0 at the end.
    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    /// Returns true once in `many` times.
    pub(super) fn one_in(&mut self, many: u8) -> bool {
        self.byte().is_multiple_of(many)
    }

    /// Takes a number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// Returns the `right` byte, but once in 32 times any: for fields in which nearly every mistake makes a
    /// frame unreadable.
    pub(super) fn field(&mut self, right: u8) -> u8 {
        if self.one_in(32) { self.byte() } else { right }
    }

    /// Takes the index of a stream, mostly of one that may exist.
    pub(super) fn stream(&mut self) -> u8 {
        match self.byte() {
            byte @ 248.. => byte,
            byte => (byte % 16) / 7,
        }
    }

    /// Returns mostly the `right` number, else one where mistakes are likely: near it, small, near
    /// the end, or any.
    pub(super) fn number(&mut self, right: u64) -> u64 {
        let byte = self.byte();
        let offset = u64::from(byte % 16);
        match byte / 16 {
            0..=12 => right,
            13 => right.saturating_add(offset).saturating_sub(8),
            14 if offset < 8 => offset,
            14 => u64::MAX - (offset - 8),
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }
}
